package room

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"sync"
	"testing"
)

// counted is a value that counts how often it is encoded.
type counted struct {
	mu sync.Mutex // guards n
	n  int
}

func (c *counted) AppendJSON(b []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return append(b, strings.Repeat(`"x"`, 1000)...)
}

// TestShared: one encoding and one compression for all readers (law 3).
func TestShared(t *testing.T) {
	value := &counted{}
	s := NewShared(value)
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			zip, err := gzip.NewReader(bytes.NewReader(s.Gzip()))
			if err != nil {
				t.Error(err)
				return
			}
			if plain, err := io.ReadAll(zip); err != nil || !bytes.Equal(plain, s.JSON()) {
				t.Errorf("the two encodings differ: %v", err)
			}
		})
	}
	wait.Wait()
	if value.n != 1 {
		t.Errorf("encoded %d times", value.n)
	}
	if s.Unwrap() != value {
		t.Error("it is another value")
	}
}

func TestReply(t *testing.T) {
	shared := NewShared([]string{"a"})
	if r := (Answer{Value: 1, Shared: shared}).Reply(Meta{Index: 3}); r.Value != shared || r.Meta.Index != 3 {
		t.Errorf("reply %+v", r)
	}
	if r := (Answer{Value: 1}).Reply(Meta{}); r.Value != 1 {
		t.Errorf("reply %+v", r)
	}
}
