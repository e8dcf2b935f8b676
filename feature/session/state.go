package session

import (
	"strings"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/authz"
	"rostra/kit/store"
)

//go:generate go tool msgp -file state.go -o state_gen.go -tests=false -io=false

// changed is the subject of every answer about sessions: the table (spec http/conventions.md §8).
var changed = store.Subject{Kind: "sessions"}

var checksEndSessions = store.OnChange("checks → sessions", catalog.Checks, func(tx *store.Tx, before, after *catalog.Check) {
	if after == nil {
		endAll(tx, "check", catalog.Key(before.Node, before.CheckID))
	} else if after.Status == catalog.Critical {
		endAll(tx, "check", catalog.Key(after.Node, after.CheckID))
	}
})

var nodesEndSessions = store.OnChange("nodes → sessions", catalog.Nodes, func(tx *store.Tx, before, after *catalog.Node) {
	if after == nil {
		endAll(tx, "node", strings.ToLower(before.Node))
	}
})

func endAll(tx *store.Tx, index, key string) {
	for s := range Sessions.By(tx, index, key) {
		end(tx, s)
	}
}

// end removes a session; what hangs on it follows by triggers.
func end(tx *store.Tx, s *Session) {
	Sessions.Delete(tx, s.ID)
	renewals.Delete(tx, s.ID)
	tx.Touch(changed)
	if s.Shows {
		show(tx, s, heir(tx, s))
	}
}

// show sets the checks that follow sessions of that name on the node: passing while there is one, whose ID is given, and
// critical when there is none ("").
func show(tx *store.Tx, s *Session, id string) {
	status, output := catalog.Critical, "There is no session of this name"
	if id != "" {
		status, output = catalog.Passing, "Session "+id+" is held"
	}
	for c := range catalog.Checks.Prefix(tx, catalog.Key(s.Node, "")) {
		if c.SessionName() == s.Name {
			c.Turn(tx, status, output)
		}
	}
}

// heir returns the ID of another session of the node with the same name, "" if there is none.
func heir(tx *store.Tx, gone *Session) string {
	for s := range Sessions.By(tx, "node", strings.ToLower(gone.Node)) {
		if s.Shows && s.Name == gone.Name {
			return s.ID
		}
	}
	return ""
}

// open is embedded by Queries that anybody may ask; what the caller may not see is filtered from the answer.
type open struct{}

// Allowed is always nil.
func (open) Allowed(authz.Decider) error { return nil }

// Subjects is the table of sessions.
func (open) Subjects() []store.Subject { return []store.Subject{changed} }

// ListQuery asks for all sessions. Its Value is a List.
type ListQuery struct {
	open `msg:"-"`
}

// Run lists them by ID.
func (q ListQuery) Run(r store.Reader) room.Answer {
	list := List{}
	for s := range Sessions.All(r) {
		list = append(list, s)
	}
	return room.Answer{Value: list, Index: r.Touched(changed)}
}

// NodeQuery asks for the sessions of one node. Its Value is a List.
type NodeQuery struct {
	open `msg:"-"`
	Node string `msg:"Node"` // lower-case
}

// Run lists them by ID.
func (q NodeQuery) Run(r store.Reader) room.Answer {
	list := List{}
	for s := range Sessions.By(r, "node", q.Node) {
		list = append(list, s)
	}
	return room.Answer{Value: list, Index: r.Touched(changed)}
}

// InfoQuery asks for one session. Its Value is a List of one or none.
type InfoQuery struct {
	open `msg:"-"`
	ID   string `msg:"ID"` // lower-case
}

// Point: it is one row.
func (q InfoQuery) Point() {}

// Run finds the session.
func (q InfoQuery) Run(r store.Reader) room.Answer {
	a := room.Answer{Value: List{}, Index: r.Touched(changed)}
	if s := Sessions.Get(r, q.ID); s != nil {
		a.Value = List{s}
	} else {
		a.Missing = true
	}
	return a
}

// renewalsQuery asks for the renewals of all sessions that expire; only the leader's loop does, and it does not travel.
// Its Value is a []*renewal. It is a Point because renewals touch no subject: a shared answer would not notice them.
type renewalsQuery struct{ open }

// Point: see there.
func (q renewalsQuery) Point() {}

// Run lists them by ID.
func (q renewalsQuery) Run(r store.Reader) room.Answer {
	var list []*renewal
	for row := range renewals.All(r) {
		list = append(list, row)
	}
	return room.Answer{Value: list}
}
