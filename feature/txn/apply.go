package txn

import (
	"slices"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/kv"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

// Name is the Command's name in the log.
func (t *Txn) Name() string { return "txn" }

// Under refuses operations on the catalog under the first version of the rules, which knew keys only.
func (t *Txn) Under(rules int) error {
	for i, op := range t.Ops {
		if op.Catalog != nil && rules < 2 {
			return fault.New(fault.Refused, "operation %d is on a %s: not all servers of the datacenter know such transactions yet, upgrade them",
				i, op.Catalog.Record.Kind())
		}
	}
	return nil
}

// Allowed asks the rights of all operations. Who lacks one is told about every operation that is refused before the
// list is begun. Of a list that only reads, r is not used.
func (t *Txn) Allowed(r store.Reader, d authz.Decider) error {
	var failures []failure
	denied := false
	for i, op := range t.Ops {
		err := op.check()
		if err == nil {
			err = op.allowed(r, d)
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

// check refuses an operation that could never be.
func (o Op) check() error {
	if o.Catalog != nil {
		return o.Catalog.Check()
	}
	return o.KV.Check()
}

func (o Op) allowed(r store.Reader, d authz.Decider) error {
	if o.Catalog != nil {
		return o.Catalog.Allowed(r, d)
	}
	return o.KV.Allowed(d)
}

// writes reports whether the operation may change the state.
func (o Op) writes() bool {
	if o.Catalog != nil {
		return o.Catalog.Writes()
	}
	return o.KV.Writes()
}

// vet returns the conflict of the operations that are refused before the list is begun.
func (t *Txn) vet(r store.Reader) error {
	var failures []failure
	for i, op := range t.Ops {
		err := op.check()
		if err == nil && op.KV != nil {
			err = op.KV.Delayed(r)
		}
		if err != nil {
			failures = append(failures, failure{i, err.Error()})
		}
	}
	return conflict(failures)
}

// each performs the operations in order and gathers what they say, or every failure. tx is nil where all of them read.
func (t *Txn) each(r store.Reader, tx *store.Tx) (Results, error) {
	results := Results{}
	var failures []failure
	for i, op := range t.Ops {
		var err error
		if results, err = op.perform(results, r, tx); err != nil {
			failures = append(failures, failure{i, err.Error()})
		}
	}
	if err := conflict(failures); err != nil {
		return nil, err
	}
	return results, nil
}

// perform performs the operation and appends what it says.
func (o Op) perform(to Results, r store.Reader, tx *store.Tx) (Results, error) {
	var err error
	if o.Catalog != nil {
		var row catalog.Record
		if tx != nil {
			row, err = o.Catalog.Run(tx)
		} else {
			row, err = o.Catalog.Read(r)
		}
		if err == nil && row != (catalog.Record{}) {
			to = append(to, Result{Catalog: row})
		}
		return to, err
	}
	var found []kv.Result
	if tx != nil {
		found, err = o.KV.Run(tx)
	} else {
		found, err = o.KV.Read(r)
	}
	for _, f := range found {
		to = append(to, Result{KV: f})
	}
	return to, err
}

// Run performs the operations; an error undoes them all.
func (t *Txn) Run(tx *store.Tx) (room.Result, error) {
	if err := t.vet(tx); err != nil {
		return nil, err
	}
	results, err := t.each(tx, tx)
	if err != nil {
		return nil, err
	}
	return results, nil
}

// writes reports whether some operation may change the state.
func (t *Txn) writes() bool { return slices.ContainsFunc(t.Ops, Op.writes) }
