package txn

import (
	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/store"
)

// readQuery is a transaction that changes nothing: it does not go through the log. Its Value is an outcome. No two are
// equal, so that none is shared.
type readQuery struct{ txn *Txn }

// outcome is what a read-only transaction comes to.
type outcome struct {
	results Results
	err     error // a conflict
	vetoed  bool  // before the list was begun
}

// Allowed asks the rights of all operations.
func (q readQuery) Allowed(d authz.Decider) error { return q.txn.Allowed(nil, d) }

// Subjects is empty: nobody waits for it.
func (q readQuery) Subjects() []store.Subject { return nil }

// Point: it is evaluated for each caller.
func (q readQuery) Point() {}

// Run performs the operations.
func (q readQuery) Run(r store.Reader) room.Answer {
	if err := q.txn.vet(r); err != nil {
		return room.Answer{Value: outcome{err: err, vetoed: true}}
	}
	results, err := q.txn.each(r, nil)
	return room.Answer{Value: outcome{results: results, err: err}}
}
