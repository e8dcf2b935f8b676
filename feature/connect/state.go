package connect

import (
	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/store"
)

//go:generate go tool msgp -file state.go -o state_gen.go -tests=false -io=false -unexported

// changed is the subject of the table of roots.
var changed = store.Subject{Kind: "connect.roots"}

// rootsQuery asks for the root. Its Value is an answer.
type rootsQuery struct{}

// Allowed is always nil: roots are public.
func (rootsQuery) Allowed(authz.Decider) error { return nil }

// Subjects is the table of roots.
func (rootsQuery) Subjects() []store.Subject { return []store.Subject{changed} }

// Run finds the root.
func (rootsQuery) Run(r store.Reader) room.Answer {
	for root := range roots.All(r) {
		return room.Answer{Value: answer{root}, Index: r.Touched(changed)}
	}
	return room.Answer{Value: answer{}, Index: r.Touched(changed), Missing: true}
}
