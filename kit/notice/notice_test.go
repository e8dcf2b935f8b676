package notice

import (
	"bytes"
	"fmt"
	"log/slog"
	"regexp"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnceAMinute(t *testing.T) {
	var b Board
	now := time.Now()
	for i, c := range []struct {
		kind, peer string
		after      time.Duration
		silent     int
		due        bool
	}{
		{"a", "x", 0, 0, true}, {"a", "x", 0, 0, false}, {"a", "x", every - 1, 0, false}, {"a", "y", 0, 0, true},
		{"b", "x", 0, 0, true}, {"a", "x", every, 2, true}, {"a", "x", 2*every - 1, 0, false}, {"a", "x", 2 * every, 1, true},
	} {
		if silent, due := b.due(c.kind, c.peer, now.Add(c.after)); silent != c.silent || due != c.due {
			t.Errorf("%d: %d, %v", i, silent, due)
		}
	}
}

func TestTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		var b Board
		for range 3 {
			b.Tell(log, slog.LevelWarn, "a", "x", "refused", "counter", "c")
		}
		time.Sleep(every)
		b.Tell(log, slog.LevelError, "a", "x", "refused")
		const want = "level=WARN msg=refused peer=x counter=c\nlevel=ERROR msg=refused peer=x unlogged=2\n"
		if got := regexp.MustCompile(`time=\S+ `).ReplaceAllString(out.String(), ""); got != want {
			t.Errorf("%s", got)
		}
	})
}

// TestManyPeers: those beyond the limit share one line of each kind, and places are free again after a minute.
func TestManyPeers(t *testing.T) {
	var b Board
	now := time.Now()
	lines := 0
	for i := range 3 * Most {
		if _, due := b.due("a", fmt.Sprint(i), now); due {
			lines++
		}
	}
	if lines != Most+1 || len(b.told) != Most+1 {
		t.Errorf("%d lines, %d remembered", lines, len(b.told))
	}
	if _, due := b.due("b", "new", now); !due {
		t.Error("nothing is told of another kind")
	}
	if silent, due := b.due("a", "new", now.Add(every)); silent != 0 || !due || len(b.told) != 1 {
		t.Errorf("a minute later: %d, %v, %d remembered", silent, due, len(b.told))
	}
}
