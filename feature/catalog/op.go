package catalog

import (
	"fmt"
	"strings"

	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

//go:generate go tool msgp -file op.go -o op_gen.go -tests=false -io=false

// The verbs of operations, in the words of transactions (spec http/txn.md).
const (
	opGet       = "get"
	opSet       = "set"
	opCAS       = "cas"
	opDelete    = "delete"
	opDeleteCAS = "delete-cas"
)

// Op is one operation of a transaction on a node, an instance or a check.
type Op struct {
	Verb   string `msg:"Verb"`
	Record Record `msg:"Record"` // which one, and with set and cas what it is to be; cas and delete-cas compare its ModifyIndex
}

// Record is a row of one of the catalog's tables: one field is set. The zero Record stands for none.
type Record struct {
	Node    *Node    `msg:"Node,omitempty"`
	Service *Service `msg:"Service,omitempty"`
	Check   *Check   `msg:"Check,omitempty"`
}

// AppendJSON appends an object whose one member is the row: the shape of a transaction's result.
func (rec Record) AppendJSON(b []byte) []byte {
	switch {
	case rec.Node != nil:
		b = rec.Node.AppendJSON(append(b, `{"Node":`...))
	case rec.Service != nil:
		b = rec.Service.AppendJSON(append(b, `{"Service":`...))
	case rec.Check != nil:
		b = rec.Check.AppendJSON(append(b, `{"Check":`...))
	default:
		b = append(b, '{')
	}
	return append(b, '}')
}

// Kind is the word for what kind of row it is.
func (rec Record) Kind() string {
	switch {
	case rec.Node != nil:
		return "node"
	case rec.Service != nil:
		return "service"
	}
	return "check"
}

// String names the row as the texts of failures do.
func (rec Record) String() string {
	switch {
	case rec.Node != nil:
		return fmt.Sprintf("node %q", rec.Node.Node)
	case rec.Service != nil:
		return fmt.Sprintf("service %q on node %q", rec.Service.id(), rec.Service.Node)
	case rec.Check != nil:
		return fmt.Sprintf("check %q on node %q", rec.Check.id(), rec.Check.Node)
	}
	return "nothing"
}

// Writes reports whether the operation may change the state; as in Consul, one with an unknown verb may.
func (o *Op) Writes() bool { return o.Verb != opGet }

// Check refuses an operation that could never be, in Consul's words. Reads are not looked at.
func (o *Op) Check() error {
	if o == nil || o.Record == (Record{}) {
		return refuse("Must provide node")
	}
	if o.Verb == opGet {
		return nil
	}
	var err error
	switch rec := o.Record; {
	case rec.Node != nil:
		err = rec.Node.check()
	case rec.Service != nil:
		err = rec.Service.check()
	}
	if err != nil {
		return err
	}
	switch o.Verb {
	case opSet, opCAS, opDelete, opDeleteCAS:
		return nil
	}
	return refuse("unknown %s operation: %s", o.Record.Kind(), o.Verb)
}

// Allowed asks node:write for nodes and their own checks, service:write for instances and theirs. Reads need no right:
// what may not be read is dropped. The operation has passed Check; r is not used for reads.
func (o *Op) Allowed(r store.Reader, d authz.Decider) error {
	if o.Verb == opGet {
		return nil
	}
	switch rec := o.Record; {
	case rec.Node != nil:
		return authz.Require(d, authz.Node, authz.Write, rec.Node.Node)
	case rec.Service != nil:
		return allowedService(r, d, rec.Service.Node, rec.Service)
	default:
		return allowedOwner(r, d, rec.Check)
	}
}

// allowedOwner asks for what the check belongs to, by the request and as it is now.
func allowedOwner(r store.Reader, d authz.Decider, c *Check) error {
	if err := allowedCheck(r, d, c.Node, nil, c.ServiceID); err != nil {
		return err
	}
	if have := Checks.Get(r, Key(c.Node, c.id())); have != nil && !sameName(have.ServiceID, c.ServiceID) {
		return allowedCheck(r, d, c.Node, nil, have.ServiceID)
	}
	return nil
}

// Run performs the operation, after Check. It returns the row that it read or wrote, the zero Record after a deletion. An
// error is the text of what failed.
func (o *Op) Run(tx *store.Tx) (Record, error) {
	have := o.Record.find(tx)
	none := have == Record{}
	index := o.Record.modified()
	switch o.Verb {
	case opGet:
		return o.Read(tx)
	case opCAS:
		if index == 0 && !none || index != 0 && have.modified() != index {
			return Record{}, refuse("failed to set %s, index is stale", o.Record)
		}
	case opDeleteCAS:
		if none || have.modified() != index {
			return Record{}, refuse("failed to delete %s, index is stale", o.Record)
		}
	}
	if o.Verb == opDelete || o.Verb == opDeleteCAS {
		have.drop(tx)
		return Record{}, nil
	}
	if err := o.Record.put(tx); err != nil {
		return Record{}, err
	}
	return o.Record.find(tx), nil
}

// Read performs an operation that changes nothing. A node is looked for by its ID if one is given.
func (o *Op) Read(r store.Reader) (Record, error) {
	have := o.Record.find(r)
	if n := o.Record.Node; n != nil && n.ID != "" {
		have = Record{}
		for found := range Nodes.By(r, "id", n.ID) {
			have.Node = found
		}
	}
	if have == (Record{}) {
		return have, refuse("%s doesn't exist", o.Record)
	}
	return have, nil
}

// find returns the stored row of the same key.
func (rec Record) find(r store.Reader) Record {
	switch {
	case rec.Node != nil:
		return Record{Node: Nodes.Get(r, strings.ToLower(rec.Node.Node))}
	case rec.Service != nil:
		return Record{Service: Services.Get(r, Key(rec.Service.Node, rec.Service.id()))}
	case rec.Check != nil:
		return Record{Check: Checks.Get(r, Key(rec.Check.Node, rec.Check.id()))}
	}
	return Record{}
}

// modified returns the row's ModifyIndex, 0 for none.
func (rec Record) modified() uint64 {
	switch {
	case rec.Node != nil:
		return rec.Node.ModifyIndex
	case rec.Service != nil:
		return rec.Service.ModifyIndex
	case rec.Check != nil:
		return rec.Check.ModifyIndex
	}
	return 0
}

// put writes the row. Instances and checks need their node, checks of an instance the instance.
func (rec Record) put(tx *store.Tx) error {
	if rec.Node != nil {
		return putNode(tx, rec.Node, false)
	}
	var node string
	if rec.Service != nil {
		node = rec.Service.Node
	} else {
		node = rec.Check.Node
	}
	n := Nodes.Get(tx, strings.ToLower(node))
	switch c := rec.Check; {
	case n == nil:
		return refuse("Missing node registration")
	case rec.Service != nil:
		putService(tx, rec.Service.row(n.Node))
		return nil
	case c.ServiceID != "" && Services.Get(tx, Key(n.Node, c.ServiceID)) == nil:
		return refuse("Missing service registration")
	default:
		return putCheck(tx, n.Node, c)
	}
}

// drop removes a stored row and what belongs to it.
func (rec Record) drop(tx *store.Tx) {
	switch {
	case rec.Node != nil:
		dropNode(tx, rec.Node)
	case rec.Service != nil:
		dropService(tx, rec.Service)
	case rec.Check != nil:
		dropCheck(tx, rec.Check)
	}
}

// refuse is an error that the request or the state gives rise to.
func refuse(format string, args ...any) error { return fault.New(fault.Refused, format, args...) }
