package kv

import (
	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/store"
)

// reapBatch bounds what one Reap collects of each kind.
const reapBatch = 2048

// Name is the Command's name in the log.
func (c *Put) Name() string { return "kv.put" }

// Allowed asks key:write.
func (c *Put) Allowed(_ store.Reader, d authz.Decider) error { return c.Op.Allowed(d) }

// Run writes the key.
func (c *Put) Run(tx *store.Tx) (room.Result, error) { return c.Op.alone(tx) }

// Name is the Command's name in the log.
func (c *Delete) Name() string { return "kv.delete" }

// Allowed asks key:write, for a tree on every key in it.
func (c *Delete) Allowed(_ store.Reader, d authz.Decider) error { return c.Op.Allowed(d) }

// Run deletes the key or the tree.
func (c *Delete) Run(tx *store.Tx) (room.Result, error) { return c.Op.alone(tx) }

// alone performs an operation that is a Command of its own; a lock-delay and a lock that is held give the same false.
func (o *Op) alone(tx *store.Tx) (room.Result, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Verb == Lock && delayed(tx, o.Key) {
		return false, nil
	}
	_, done, err := o.write(tx)
	if err != nil {
		return nil, refuse("raft apply failed: %v", err)
	}
	return done, nil
}

// Name is the Command's name in the log.
func (c *Reap) Name() string { return "kv.reap" }

// Allowed is always nil: only the leader proposes it.
func (c *Reap) Allowed(store.Reader, authz.Decider) error { return nil }

// Run collects; no index of an entry or of the table moves.
func (c *Reap) Run(tx *store.Tx) (room.Result, error) {
	more := reap(tx, tombstones, c.Before)
	more = reap(tx, trees, c.Before) || more
	left := reapBatch
	for d := range delays.All(tx) {
		if !d.over(tx.Time()) {
			continue
		}
		if left--; left < 0 {
			return true, nil
		}
		delays.Delete(tx, d.Key)
	}
	return more, nil
}

func reap(tx *store.Tx, t *store.Table[tombstone, *tombstone], before int64) (more bool) {
	var keys []string
	for at := range t.Keys(tx, "age") {
		if at >= age(before) || len(keys) > reapBatch {
			break
		}
		for row := range t.By(tx, "age", at) {
			if keys = append(keys, row.Key); len(keys) > reapBatch {
				break
			}
		}
	}
	more = len(keys) > reapBatch
	for _, key := range keys[:min(len(keys), reapBatch)] {
		t.Delete(tx, key)
	}
	return more
}
