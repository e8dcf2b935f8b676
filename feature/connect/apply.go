package connect

import (
	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/store"
)

// Name is the Command's name in the log.
func (c *SetRoot) Name() string { return "connect.root" }

// Allowed is always nil: only the leader proposes it.
func (c *SetRoot) Allowed(store.Reader, authz.Decider) error { return nil }

// Run stores the root, unless there is one: two leaders may have made one each.
func (c *SetRoot) Run(tx *store.Tx) (room.Result, error) {
	for range roots.All(tx) {
		return false, nil
	}
	root := c.Root
	root.CreateIndex, root.ModifyIndex = tx.Index(), tx.Index()
	roots.Put(tx, &root)
	tx.Touch(changed)
	return true, nil
}
