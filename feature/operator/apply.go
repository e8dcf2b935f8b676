package operator

import (
	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

// Name is the Command's name in the log.
func (c *setConfig) Name() string { return "autopilot.set" }

// Allowed asks for operator:write.
func (c *setConfig) Allowed(_ store.Reader, d authz.Decider) error {
	return authz.Require(d, authz.Operator, authz.Write, "")
}

// Run stores the configuration, unless it is compared with one that is not there.
func (c *setConfig) Run(tx *store.Tx) (room.Result, error) {
	if text := c.Config.problem(); text != "" {
		return nil, fault.New(fault.Invalid, "Error parsing autopilot config: %s", text)
	}
	old := configs.Get(tx, "")
	index := uint64(0)
	if old != nil {
		index = old.ModifyIndex
	}
	if c.Compare && c.Index != index {
		return false, nil
	}
	next := c.Config
	next.CreateIndex, next.ModifyIndex = tx.Index(), tx.Index()
	if old != nil {
		next.CreateIndex = old.CreateIndex
		if same := *old; sameConfig(same, next) {
			return true, nil
		}
	}
	configs.Put(tx, &next)
	tx.Touch(configChanged)
	return true, nil
}

// sameConfig reports whether two differ in their indexes only.
func sameConfig(a, b Config) bool {
	a.CreateIndex, a.ModifyIndex, b.CreateIndex, b.ModifyIndex = 0, 0, 0, 0
	return a == b
}
