package server

import (
	"fmt"
	"testing"

	"rostra/engine/consensus"
)

// TestQuorate: leader and asker are a majority of up to three voters, never of more; who does not vote does not count.
func TestQuorate(t *testing.T) {
	for voters := 1; voters <= 7; voters++ {
		var peers []consensus.Peer
		for i := range voters {
			peers = append(peers, consensus.Peer{ID: fmt.Sprint("s", i), Voter: true})
		}
		peers = append(peers, consensus.Peer{ID: "replica"})
		for _, c := range []struct {
			from string
			want bool
		}{{"s1", voters <= 3 && voters > 1 || voters == 1}, {"replica", voters == 1}, {"stranger", voters == 1}} {
			if got := quorate(peers, "s0", c.from); got != c.want {
				t.Errorf("%d voters, asked by %s: %v", voters, c.from, got)
			}
		}
	}
	if quorate([]consensus.Peer{{ID: "s0"}}, "s0") {
		t.Error("nobody votes")
	}
}
