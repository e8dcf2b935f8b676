package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

var crashes = flag.Int("crashes", 5, "how often TestCrash kills the agent")

// writer puts ever higher numbers under its own key and knows how far it is sure to have come.
type writer struct {
	key            string
	sent, answered int           // the number last sent, and the last one that was acknowledged
	pause          time.Duration // the longest between two acknowledgements
}

// TestCrash kills the real process with SIGKILL amid 64 writers, again and again, and looks for every acknowledged write
// after each restart. What was sent but not acknowledged may be there or not.
func TestCrash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	writers := make([]*writer, 64)
	for i := range writers {
		writers[i] = &writer{key: fmt.Sprintf("crash/%d", i)}
	}
	for round := range *crashes {
		p := startAgent(t, "-server", "-bootstrap-expect=1", "-data-dir="+dir)
		verify(t, p.client(t), writers)
		var wait sync.WaitGroup
		for _, w := range writers {
			wait.Go(func() { w.write(p.client(t)) })
		}
		<-time.After(200*time.Millisecond + rand.N(400*time.Millisecond))
		p.stop(t, syscall.SIGKILL)
		wait.Wait()
		if t.Failed() {
			t.Fatalf("failed in round %d", round)
		}
	}
	p := startAgent(t, "-server", "-bootstrap-expect=1", "-data-dir="+dir)
	verify(t, p.client(t), writers)
	total := 0
	for _, w := range writers {
		total += w.answered
	}
	t.Logf("%d acknowledged writes over %d crashes", total, *crashes)
}

// write puts until the agent dies.
func (w *writer) write(c *api.Client) {
	for {
		w.sent++
		if _, err := c.KV().Put(&api.KVPair{Key: w.key, Value: []byte(strconv.Itoa(w.sent))}, nil); err != nil {
			return
		}
		w.answered = w.sent
	}
}

func verify(t *testing.T, c *api.Client, writers []*writer) {
	t.Helper()
	for _, w := range writers {
		pair, _, err := c.KV().Get(w.key, nil)
		if err != nil {
			t.Fatal(err)
		}
		have := 0
		if pair != nil {
			if have, err = strconv.Atoi(string(pair.Value)); err != nil {
				t.Fatal(err)
			}
		}
		if have < w.answered || have > w.sent {
			t.Errorf("%s holds %d; %d was acknowledged and %d sent", w.key, have, w.answered, w.sent)
		}
	}
}
