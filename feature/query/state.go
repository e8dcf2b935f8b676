package query

import (
	"strings"

	"rostra/engine/room"
	"rostra/feature/session"
	"rostra/kit/authz"
	"rostra/kit/store"
)

//go:generate go tool msgp -file state.go -o state_gen.go -tests=false -io=false
//msgp:ignore open

// changed is the subject of every answer about queries: the table (spec http/conventions.md §8).
var changed = store.Subject{Kind: "queries"}

var sessionsEndQueries = store.OnChange("sessions → queries", session.Sessions, func(tx *store.Tx, before, after *session.Session) {
	if after != nil {
		return
	}
	for d := range queries.By(tx, "session", strings.ToLower(before.ID)) {
		queries.Delete(tx, d.ID)
		tx.Touch(changed)
	}
})

// open is embedded by Queries that anybody may ask; what the caller may not see is filtered from the answer.
type open struct{}

// Allowed is always nil.
func (open) Allowed(authz.Decider) error { return nil }

// Subjects is the table of queries.
func (open) Subjects() []store.Subject { return []store.Subject{changed} }

// ListQuery asks for all queries. Its Value is a List.
type ListQuery struct {
	open `msg:"-"`
}

// Run lists them by ID.
func (q ListQuery) Run(r store.Reader) room.Answer {
	list := List{}
	for d := range queries.All(r) {
		list = append(list, d)
	}
	return room.Answer{Value: list, Index: r.Touched(changed)}
}

// GetQuery asks for one query. Its Value is a List of one or none.
type GetQuery struct {
	open `msg:"-"`
	ID   string `msg:"ID"` // lower-case
}

// Run finds it. Its index is the query's own.
func (q GetQuery) Run(r store.Reader) room.Answer {
	if d := queries.Get(r, q.ID); d != nil {
		return room.Answer{Value: List{d}, Index: d.ModifyIndex}
	}
	return room.Answer{Value: List{}, Index: r.Touched(changed)}
}

// FindQuery asks which query is meant by an ID or a name. Its Value is a *Definition, nil if none is.
type FindQuery struct {
	open `msg:"-"`
	Name string `msg:"Name"` // lower-case
}

// Point: it is one row, or one of a few templates.
func (q FindQuery) Point() {}

// Run looks for an ID, then for a name, then for the template with the longest prefix of the name.
func (q FindQuery) Run(r store.Reader) room.Answer {
	return room.Answer{Value: find(r, q.Name), Index: r.Touched(changed)}
}

func find(r store.Reader, name string) *Definition {
	if d := queries.Get(r, name); d != nil {
		return d
	}
	if name != "" {
		for d := range queries.By(r, "name", name) {
			return d
		}
	}
	var best *Definition
	for d := range queries.By(r, "template", PrefixMatch) {
		if strings.HasPrefix(name, strings.ToLower(d.Name)) && (best == nil || len(d.Name) > len(best.Name)) {
			best = d
		}
	}
	return best
}

// NamesQuery asks for what leads to queries. Its Value is a Names. DNS watches it, so that names that lead nowhere cost
// nothing.
type NamesQuery struct {
	open `msg:"-"`
}

// Names are in lower case.
type Names struct {
	Exact    []string `msg:"Exact"`    // IDs and names of what is no template
	Prefixes []string `msg:"Prefixes"` // of templates
}

// Run gathers them by ID.
func (q NamesQuery) Run(r store.Reader) room.Answer {
	var names Names
	for d := range queries.All(r) {
		if d.template() {
			names.Prefixes = append(names.Prefixes, strings.ToLower(d.Name))
			continue
		}
		names.Exact = append(names.Exact, d.ID)
		names.Exact = append(names.Exact, some(strings.ToLower(d.Name))...)
	}
	return room.Answer{Value: names, Index: r.Touched(changed)}
}
