package txn

import (
	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/store"
)

// Name is the Command's name in the log.
func (t *Txn) Name() string { return "txn" }

// Allowed asks the rights of all operations. Who lacks one is told about every operation that is refused before the
// list is begun.
func (t *Txn) Allowed(_ store.Reader, d authz.Decider) error {
	var failures []failure
	denied := false
	for i, op := range t.Ops {
		err := op.KV.Check()
		if err == nil {
			err = op.KV.Allowed(d)
			denied = denied || err != nil
		}
		if err != nil {
			failures = append(failures, failure{i, err.Error()})
		}
	}
	if !denied {
		return nil // what is otherwise wrong Run finds
	}
	return conflict(failures)
}

// vet returns the conflict of the operations that are refused before the list is begun.
func (t *Txn) vet(r store.Reader) error {
	var failures []failure
	for i, op := range t.Ops {
		err := op.KV.Check()
		if err == nil {
			err = op.KV.Delayed(r)
		}
		if err != nil {
			failures = append(failures, failure{i, err.Error()})
		}
	}
	return conflict(failures)
}

// each performs the operations in order and gathers what they say, or every failure.
func (t *Txn) each(run func(Op) (Results, error)) (Results, error) {
	results := Results{}
	var failures []failure
	for i, op := range t.Ops {
		found, err := run(op)
		if err != nil {
			failures = append(failures, failure{i, err.Error()})
		}
		results = append(results, found...)
	}
	if err := conflict(failures); err != nil {
		return nil, err
	}
	return results, nil
}

// Run performs the operations; an error undoes them all.
func (t *Txn) Run(tx *store.Tx) (room.Result, error) {
	if err := t.vet(tx); err != nil {
		return nil, err
	}
	results, err := t.each(func(op Op) (Results, error) { return op.KV.Run(tx) })
	if err != nil {
		return nil, err
	}
	return results, nil
}

// writes reports whether some operation may change the state.
func (t *Txn) writes() bool {
	for _, op := range t.Ops {
		if op.KV.Writes() {
			return true
		}
	}
	return false
}
