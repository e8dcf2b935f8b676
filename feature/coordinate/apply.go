package coordinate

import (
	"strings"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

// batchSize is how many places one Command may carry.
const batchSize = 128

var errInvalid = fault.New(fault.Refused, "invalid coordinate")

// Name is the Command's name in the log.
func (c *Update) Name() string { return "coordinate.update" }

// Allowed asks node:write on every node.
func (c *Update) Allowed(_ store.Reader, d authz.Decider) error {
	for i := range c.Entries {
		if err := authz.Require(d, authz.Node, authz.Write, c.Entries[i].Node); err != nil {
			return err
		}
	}
	return nil
}

// Run writes the places that differ, under the catalog's spelling of the nodes' names.
func (c *Update) Run(tx *store.Tx) (room.Result, error) {
	if len(c.Entries) > batchSize {
		return nil, fault.New(fault.Refused, "%d coordinates at once are more than %d", len(c.Entries), batchSize)
	}
	for i := range c.Entries {
		if !c.Entries[i].Coord.Finite() {
			return nil, errInvalid
		}
	}
	moved := false
	for i := range c.Entries {
		key := strings.ToLower(c.Entries[i].Node)
		node := catalog.Nodes.Get(tx, key)
		if node == nil {
			continue
		}
		row := Entry{Node: node.Node, Coord: c.Entries[i].Coord}
		if old := places.Get(tx, key); old == nil || *old != row {
			places.Put(tx, &row)
			moved = true
		}
	}
	if moved {
		tx.Touch(changed)
	}
	return nil, nil
}
