package kv

import (
	"rostra/feature/session"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

//go:generate go tool msgp -file op.go -o op_gen.go -tests=false -io=false

// The verbs of operations, in the words of transactions (spec http/txn.md).
const (
	Set            = "set"
	CAS            = "cas"
	Lock           = "lock"
	Unlock         = "unlock"
	Get            = "get"
	GetOrEmpty     = "get-or-empty"
	GetTree        = "get-tree"
	CheckIndex     = "check-index"
	CheckSession   = "check-session"
	CheckNotExists = "check-not-exists"
	DeleteKey      = "delete"
	DeleteTree     = "delete-tree"
	DeleteCAS      = "delete-cas"
)

// Op is one operation on a key, or on the keys with a prefix. It travels in Put and Delete and in transactions.
type Op struct {
	Verb    string `msg:"Verb"`
	Key     string `msg:"Key"`
	Value   []byte `msg:"Value"`
	Flags   uint64 `msg:"Flags"`
	Index   uint64 `msg:"Index"`
	Session string `msg:"Session"`
}

// Result is what an operation has to say about one entry.
type Result struct {
	Entry *Entry
	Whole bool // with its value
}

// AppendJSON appends the entry, its value null unless Whole.
func (r Result) AppendJSON(b []byte) []byte {
	if r.Whole {
		return r.Entry.AppendJSON(b)
	}
	return r.Entry.append(b, nil)
}

// Writes reports whether the verb may change the state. Unknown verbs do not.
func (o *Op) Writes() bool {
	switch o.Verb {
	case Set, CAS, Lock, Unlock, DeleteKey, DeleteTree, DeleteCAS:
		return true
	}
	return false
}

// Check refuses an operation that could never be: no key, or an unknown verb.
func (o *Op) Check() error {
	if o == nil || o.Key == "" && o.Verb != DeleteTree {
		return refuse("Must provide key")
	}
	switch o.Verb {
	case Get, GetOrEmpty, GetTree, CheckIndex, CheckSession, CheckNotExists:
		return nil
	}
	if !o.Writes() {
		return refuse("unknown KV operation: %s", o.Verb)
	}
	return nil
}

// Delayed refuses to lock a key while a lock-delay lasts at the reader's time.
func (o *Op) Delayed(r store.Reader) error {
	if o.Verb == Lock && delayed(r, o.Key) {
		return refuse("failed to lock key %q due to lock delay", o.Key)
	}
	return nil
}

// Allowed asks for the right the verb needs. Reads of entries need none: what may not be read is dropped.
func (o *Op) Allowed(d authz.Decider) error {
	switch o.Verb {
	case Get, GetOrEmpty, GetTree:
		return nil
	case CheckIndex, CheckSession:
		return authz.Require(d, authz.Key, authz.Read, o.Key)
	case DeleteTree:
		if d.Allowed(authz.Key, authz.Write, o.Key, true) {
			return nil
		}
		return fault.New(fault.Denied, "Permission denied: token lacks permission 'key:write' on %q", o.Key)
	}
	return authz.Require(d, authz.Key, authz.Write, o.Key)
}

// Run performs the operation for a transaction, after Check. An error is the text of what failed.
func (o *Op) Run(tx *store.Tx) ([]Result, error) {
	if !o.Writes() {
		return o.Read(tx)
	}
	e, done, err := o.write(tx)
	switch {
	case err != nil:
		return nil, err
	case done && e != nil:
		return []Result{{Entry: e}}, nil
	case done:
		return nil, nil
	}
	switch o.Verb {
	case Lock:
		return nil, refuse("failed to lock key %q, lock is already held", o.Key)
	case Unlock:
		return nil, refuse("failed to unlock key %q, lock isn't held, or is held by another session", o.Key)
	case DeleteCAS:
		return nil, refuse("failed to delete key %q, index is stale", o.Key)
	}
	return nil, refuse("failed to set key %q, index is stale", o.Key)
}

// Read performs an operation that changes nothing, after Check. An error is the text of what failed.
func (o *Op) Read(r store.Reader) ([]Result, error) {
	if o.Verb == GetTree {
		var all []Result
		for e := range Entries.Prefix(r, o.Key) {
			all = append(all, Result{e, true})
		}
		return all, nil
	}
	e := Entries.Get(r, o.Key)
	switch o.Verb {
	case GetOrEmpty:
		if e == nil {
			e = &Entry{Key: o.Key}
		}
		return []Result{{e, true}}, nil
	case Get:
		if e == nil {
			return nil, refuse("key %q doesn't exist", o.Key)
		}
		return []Result{{e, true}}, nil
	case CheckNotExists:
		if e != nil {
			return nil, refuse("key %q exists", o.Key)
		}
		return nil, nil
	case CheckIndex:
		switch {
		case e == nil:
			return nil, refuse("failed to check index, key %q doesn't exist", o.Key)
		case e.ModifyIndex != o.Index:
			return nil, refuse("failed index check for key %q, current modify index %d != %d", o.Key, e.ModifyIndex, o.Index)
		}
		return []Result{{Entry: e}}, nil
	case CheckSession:
		switch {
		case e == nil:
			return nil, refuse("failed to check session, key %q doesn't exist", o.Key)
		case e.Session != o.Session:
			return nil, refuse("failed session check for key %q, current session %q != %q", o.Key, e.Session, o.Session)
		}
		return []Result{{Entry: e}}, nil
	}
	return nil, o.Check()
}

// write performs a writing operation. done false says that the state forbids it: a stale index, a lock held.
func (o *Op) write(tx *store.Tx) (e *Entry, done bool, err error) {
	have := Entries.Get(tx, o.Key)
	switch o.Verb {
	case Set:
		return o.store(tx, have), true, nil
	case CAS:
		if o.Index == 0 && have != nil || o.Index != 0 && (have == nil || have.ModifyIndex != o.Index) {
			return nil, false, nil
		}
		return o.store(tx, have), true, nil
	case Lock:
		return o.lock(tx, have)
	case Unlock:
		switch {
		case o.Session == "":
			return nil, false, refuse("missing session")
		case have == nil || have.Session != holder(tx, o.Session):
			return nil, false, nil
		}
		return o.replace(tx, have, "", have.LockIndex), true, nil
	case DeleteCAS:
		if have != nil && have.ModifyIndex != o.Index {
			return nil, false, nil
		}
		fallthrough
	case DeleteKey:
		if have != nil {
			remove(tx, o.Key)
		}
	case DeleteTree:
		removeTree(tx, o.Key)
	}
	return nil, true, nil
}

func (o *Op) lock(tx *store.Tx, have *Entry) (e *Entry, done bool, err error) {
	if o.Session == "" {
		return nil, false, refuse("missing session")
	}
	s := session.Find(tx, o.Session)
	switch {
	case s == nil:
		return nil, false, refuse("invalid session %q", o.Session)
	case have == nil:
		return o.replace(tx, nil, s.ID, 1), true, nil
	case have.Session == "":
		return o.replace(tx, have, s.ID, have.LockIndex+1), true, nil
	case have.Session == s.ID:
		return o.replace(tx, have, s.ID, have.LockIndex), true, nil
	}
	return nil, false, nil
}

// holder returns the ID under which a session holds locks.
func holder(r store.Reader, id string) string {
	if s := session.Find(r, id); s != nil {
		return s.ID
	}
	return id
}

// store writes value and flags, and leaves the lock as it is.
func (o *Op) store(tx *store.Tx, have *Entry) *Entry {
	if have == nil {
		return o.replace(tx, nil, "", 0)
	}
	return o.replace(tx, have, have.Session, have.LockIndex)
}

// replace writes the entry, unless it is so already, and returns the row.
func (o *Op) replace(tx *store.Tx, have *Entry, session string, lockIndex uint64) *Entry {
	e := &Entry{Key: o.Key, Value: o.Value, Flags: o.Flags, Session: session, LockIndex: lockIndex}
	if have != nil {
		if have.same(e) {
			return have
		}
		e.CreateIndex = have.CreateIndex
	}
	put(tx, e)
	return e
}

// refuse is an error that the state or the operation itself gives rise to.
func refuse(format string, args ...any) error { return fault.New(fault.Refused, format, args...) }
