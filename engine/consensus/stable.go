package consensus

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// stableStore keeps Raft's term and vote. Raft panics if its term cannot be saved; this store stops the node instead:
// it fails it, holds Raft's main loop until the node is closed, and lets it change nothing more.
type stableStore struct {
	raft.StableStore
	node *Node
}

// Set implements raft.StableStore.
func (s stableStore) Set(key, value []byte) error {
	if err := s.node.failure(); err != nil {
		return err
	}
	return s.StableStore.Set(key, value)
}

// SetUint64 implements raft.StableStore.
func (s stableStore) SetUint64(key []byte, value uint64) error {
	err := s.node.failure()
	if err == nil {
		err = s.StableStore.SetUint64(key, value)
	}
	if err == nil || s.node.log.opening.Load() || string(key) != "CurrentTerm" {
		return err
	}
	s.node.fail(fmt.Errorf("cannot save Raft's term: %w", err))
	<-s.node.stopping
	return nil // Raft is shutting down; without a saved vote it cannot win this term
}
