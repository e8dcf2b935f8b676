package session

import (
	"strings"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

// Name is the Command's name in the log.
func (c *Create) Name() string { return "session.create" }

// Under notes the version of the rules: by the second, the node's checks of type session follow the session; by the third, its
// TTL counts when its node is taken out.
func (c *Create) Under(rules int) error {
	c.rules = rules
	if c.Session.Shows || c.Session.Outlasts {
		return fault.New(fault.Refused, "a new session does not say by which rules it was made")
	}
	return nil
}

// Allowed asks session:write on the node.
func (c *Create) Allowed(_ store.Reader, d authz.Decider) error {
	return authz.Require(d, authz.Session, authz.Write, c.Session.Node)
}

// Run stores the session if its node exists and all bound checks do and are not critical.
func (c *Create) Run(tx *store.Tx) (room.Result, error) {
	s := c.Session
	if Find(tx, s.ID) != nil {
		return nil, refuse("Session %q already exists", s.ID)
	}
	if catalog.Nodes.Get(tx, strings.ToLower(s.Node)) == nil {
		return nil, refuse("Missing node registration")
	}
	for _, id := range s.bound() {
		switch check := catalog.Checks.Get(tx, catalog.Key(s.Node, id)); {
		case check == nil:
			return nil, refuse("Missing check '%s' registration", id)
		case check.Status == catalog.Critical:
			return nil, refuse("Check '%s' is in critical state", id)
		}
	}
	s.CreateIndex, s.ModifyIndex = tx.Index(), tx.Index()
	s.Shows = c.rules >= 2 && s.Name != ""
	s.Outlasts = c.rules >= 3 && s.Life > 0
	Sessions.Put(tx, &s)
	if s.Shows {
		show(tx, &s, s.ID)
	}
	if s.Life > 0 {
		renewals.Put(tx, &renewal{ID: s.ID, Renewed: tx.Time(), Life: s.Life})
	}
	tx.Touch(changed)
	return s.ID, nil
}

func refuse(format string, args ...any) error {
	return fault.New(fault.Refused, "apply failed: "+format, args...)
}

// Name is the Command's name in the log.
func (c *Destroy) Name() string { return "session.destroy" }

// Allowed asks session:write on the session's node, if there is the session.
func (c *Destroy) Allowed(r store.Reader, d authz.Decider) error { return writable(r, d, c.ID) }

func writable(r store.Reader, d authz.Decider, id string) error {
	if s := Find(r, id); s != nil {
		return authz.Require(d, authz.Session, authz.Write, s.Node)
	}
	return nil
}

// Run ends the session.
func (c *Destroy) Run(tx *store.Tx) (room.Result, error) {
	if s := Find(tx, c.ID); s != nil {
		end(tx, s)
	}
	return true, nil
}

// Name is the Command's name in the log.
func (c *Renew) Name() string { return "session.renew" }

// Allowed asks session:write on the session's node, if there is the session.
func (c *Renew) Allowed(r store.Reader, d authz.Decider) error { return writable(r, d, c.ID) }

// Run notes the renewal; nobody's view of the session changes.
func (c *Renew) Run(tx *store.Tx) (room.Result, error) {
	s := Find(tx, c.ID)
	if s == nil {
		return nil, fault.New(fault.NotFound, "Session id '%s' not found", c.ID)
	}
	if s.Life > 0 {
		renewals.Put(tx, &renewal{ID: s.ID, Renewed: tx.Time(), Life: s.Life})
	}
	return s, nil
}

// Name is the Command's name in the log.
func (c *Expire) Name() string { return "session.expire" }

// Allowed is always nil: only the leader proposes it.
func (c *Expire) Allowed(store.Reader, authz.Decider) error { return nil }

// Run ends the sessions that are as they were seen.
func (c *Expire) Run(tx *store.Tx) (room.Result, error) {
	ended := 0
	for _, seen := range c.Seen {
		if row := renewals.Get(tx, seen.ID); row != nil && row.Renewed == seen.Renewed {
			end(tx, Sessions.Get(tx, seen.ID))
			ended++
		}
	}
	return ended, nil
}
