package query

import (
	"bytes"
	"strings"

	"rostra/engine/room"
	"rostra/feature/session"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

// Name is the Command's name in the log.
func (c *Set) Name() string { return "query.set" }

// Allowed asks query:write on the name, and on the one that the query has had.
func (c *Set) Allowed(r store.Reader, d authz.Decider) error {
	if err := writable(r, d, c.Definition.ID); err != nil {
		return err
	}
	return c.Definition.writable(d)
}

func (d *Definition) writable(by authz.Decider) error {
	if d.Name == "" && !d.template() {
		return nil // who knows its ID may
	}
	return authz.Require(by, authz.Query, authz.Write, d.Name)
}

func writable(r store.Reader, by authz.Decider, id string) error {
	if old := queries.Get(r, strings.ToLower(id)); old != nil {
		return old.writable(by)
	}
	return nil
}

// Run stores the definition, if its name is free and its session is there. What is wrong with a definition in itself was
// found before: what counts as a regular expression is no matter of the state.
func (c *Set) Run(tx *store.Tx) (room.Result, error) {
	d := c.Definition
	d.ID, d.CreateIndex, d.ModifyIndex = strings.ToLower(d.ID), 0, 0
	old := queries.Get(tx, d.ID)
	switch {
	case c.New && old != nil:
		return nil, refuse("a query with the ID '%s' exists", d.ID)
	case !c.New && old == nil:
		return nil, missing(c.Definition.ID)
	}
	if err := d.free(tx); err != nil {
		return nil, err
	}
	if d.Session != "" && session.Find(tx, d.Session) == nil {
		return nil, refuse("invalid session %q", d.Session)
	}
	d.CreateIndex, d.ModifyIndex = tx.Index(), tx.Index()
	if old != nil {
		d.CreateIndex, d.ModifyIndex = old.CreateIndex, old.ModifyIndex
		if d.same(old) {
			return nil, nil
		}
		d.ModifyIndex = tx.Index()
	}
	queries.Put(tx, &d)
	tx.Touch(changed)
	return nil, nil
}

// free refuses a name that leads to another query.
func (d *Definition) free(r store.Reader) error {
	name := strings.ToLower(d.Name)
	if name == "" {
		for other := range queries.By(r, "template", d.Template.Type) {
			if d.template() && other.Name == "" && other.ID != d.ID {
				return refuse("a query template with an empty name already exists")
			}
		}
		return nil
	}
	for other := range queries.By(r, "name", name) {
		if other.ID != d.ID {
			return refuse("name '%s' aliases an existing query name", d.Name)
		}
	}
	if queries.Get(r, name) != nil {
		return refuse("name '%s' aliases an existing query ID", d.Name)
	}
	return nil
}

// same reports whether both have the same bytes.
func (d *Definition) same(o *Definition) bool {
	a, errA := d.MarshalMsg(nil)
	b, errB := o.MarshalMsg(nil)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

func refuse(format string, args ...any) error {
	return fault.New(fault.Refused, "raft apply failed: "+format, args...)
}

func missing(id string) error {
	return fault.New(fault.Refused, "Cannot modify non-existent prepared query: '%s'", id)
}

// Name is the Command's name in the log.
func (c *Delete) Name() string { return "query.delete" }

// Allowed asks query:write on the query's name.
func (c *Delete) Allowed(r store.Reader, d authz.Decider) error { return writable(r, d, c.ID) }

// Run removes the query.
func (c *Delete) Run(tx *store.Tx) (room.Result, error) {
	id := strings.ToLower(c.ID)
	if queries.Get(tx, id) == nil {
		return nil, missing(c.ID)
	}
	queries.Delete(tx, id)
	tx.Touch(changed)
	return nil, nil
}
