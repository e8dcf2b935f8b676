package catalog

import (
	"encoding/json"
	"slices"
	"strings"

	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

// Name is the Command's name in the log.
func (c *Register) Name() string { return "catalog.register" }

// Under leaves the node's locality out under the first version of the rules, which did not know it: its agent writes it again
// once the servers do.
func (c *Register) Under(rules int) error {
	if rules < 2 && c.Row != nil && (c.Row.Region != "" || c.Row.Zone != "") {
		c.Row = c.Row.copy()
		c.Row.Region, c.Row.Zone = "", ""
	}
	return nil
}

// Allowed asks node:write if the node's row would change, and service:write for the instance or its checks.
func (c *Register) Allowed(r store.Reader, d authz.Decider) error {
	if c.Row == nil {
		return nil // Run refuses it
	}
	if have := Nodes.Get(r, strings.ToLower(c.Row.Node)); have == nil || !c.SkipNode && !have.same(c.Row) {
		if err := authz.Require(d, authz.Node, authz.Write, c.Row.Node); err != nil {
			return err
		}
	}
	if c.Service != nil {
		if err := allowedService(r, d, c.Row.Node, c.Service); err != nil {
			return err
		}
	}
	for _, k := range c.Checks {
		if k == nil { // no handler sends one, but others may
			return fault.New(fault.Refused, "Must provide check")
		}
		if err := allowedCheck(r, d, c.Row.Node, c.Service, k.ServiceID); err != nil {
			return err
		}
	}
	return nil
}

// allowedService asks for the new name and for the one that now owns the ID.
func allowedService(r store.Reader, d authz.Decider, node string, s *Service) error {
	if err := authz.Require(d, authz.Service, authz.Write, s.Service); err != nil {
		return err
	}
	if have := Services.Get(r, Key(node, s.id())); have != nil && have.Service != s.Service {
		return authz.Require(d, authz.Service, authz.Write, have.Service)
	}
	return nil
}

// allowedCheck asks for what a check on the node belongs to; with is the instance that is registered along, if there is one.
func allowedCheck(r store.Reader, d authz.Decider, node string, with *Service, serviceID string) error {
	if serviceID == "" {
		return authz.Require(d, authz.Node, authz.Write, node)
	}
	if with != nil && sameName(with.id(), serviceID) {
		return nil // asked for already
	}
	if s := Services.Get(r, Key(node, serviceID)); s != nil {
		return authz.Require(d, authz.Service, authz.Write, s.Service)
	}
	return nil // Run refuses it
}

// Run writes node, instance and checks, in this order. What is on a node carries the node's name as the node's row
// spells it, so that a request in other letters changes nothing.
func (c *Register) Run(tx *store.Tx) (room.Result, error) {
	if c.Row == nil || c.Row.Node == "" {
		return nil, fault.New(fault.Refused, "Must provide node")
	}
	if err := putNode(tx, c.Row, c.SkipNode); err != nil {
		return nil, err
	}
	node := Nodes.Get(tx, strings.ToLower(c.Row.Node)).Node
	if c.Service != nil {
		putService(tx, c.Service.row(node))
	}
	for _, k := range c.Checks {
		if err := putCheck(tx, node, k); err != nil {
			return nil, err
		}
	}
	return true, nil
}

// id returns the instance's ID, which is the service's name if none was given.
func (s *Service) id() string {
	if s.ID == "" {
		return s.Service
	}
	return s.ID
}

// id returns the check's ID, which is its name if none was given.
func (c *Check) id() string {
	if c.CheckID == "" {
		return c.Name
	}
	return c.CheckID
}

// row returns what is stored of the instance. The Command itself stays as it came.
func (s *Service) row(node string) *Service {
	row := s.Copy()
	row.Node, row.ID = node, s.id()
	if w := row.Weights; w.Passing < 1 || w.Passing > 65535 || w.Warning < 0 || w.Warning > 65535 {
		row.Weights = Weights{1, 1}
	}
	return row
}

// putNode writes the node's row under the identity rules of spec http/catalog.md: an ID is a machine, a name its label.
// With skip a row that is there stays as it is.
func putNode(tx *store.Tx, row *Node, skip bool) error {
	n := row.copy()
	owner := Nodes.Get(tx, strings.ToLower(n.Node))
	if skip && owner != nil {
		return nil
	}
	before, err := rename(tx, n, owner)
	if err != nil {
		return err
	}
	if owner != nil && owner.same(n) {
		return nil
	}
	n.CreateIndex, n.ModifyIndex = tx.Index(), tx.Index()
	if before == nil {
		before = owner
	}
	if before != nil {
		n.CreateIndex = before.CreateIndex
	}
	Nodes.Put(tx, n)
	tx.Touch(nodesChanged)
	tx.Touch(nodeSubject(n.Node))
	touchServicesOf(tx, n.Node)
	return nil
}

// rename removes the node that had n's ID under another name and returns its last row, nil if there was none. owner is
// who has n's name now: while gossip vouches for it, nobody with another ID takes the name.
func rename(tx *store.Tx, n, owner *Node) (before *Node, err error) {
	if n.ID == "" {
		return nil, nil
	}
	for old := range Nodes.By(tx, "id", n.ID) {
		if !sameName(old.Node, n.Node) {
			before = old
		}
	}
	const reserved = "Node name %s is reserved by node %s with name %s (%s)"
	taken := owner != nil && owner.ID != n.ID && alive(tx, owner)
	switch {
	case taken && before != nil:
		return nil, fault.New(fault.Refused, "failed inserting node: Error while renaming Node ID: %q (%s): "+reserved,
			n.ID, n.Address, n.Node, owner.ID, owner.Node, owner.Address)
	case taken && owner.ID != "":
		return nil, fault.New(fault.Refused, "failed inserting node: Error while renaming Node ID: %q: "+reserved,
			n.ID, n.Node, owner.ID, owner.Node, owner.Address)
	case before != nil:
		dropNode(tx, before)
	}
	return before, nil
}

// copy returns the row's content without what hangs on it.
func (n *Node) copy() *Node {
	return &Node{ID: n.ID, Node: n.Node, Address: n.Address, Datacenter: n.Datacenter,
		TaggedAddresses: n.TaggedAddresses, Meta: n.Meta, Region: n.Region, Zone: n.Zone}
}

// alive reports whether gossip vouches for the node: its name cannot be taken.
func alive(r store.Reader, n *Node) bool {
	c := Checks.Get(r, Key(n.Node, SerfHealth))
	return c != nil && c.Status != Critical
}

func putService(tx *store.Tx, s *Service) {
	have := Services.Get(tx, Key(s.Node, s.ID))
	s.CreateIndex = tx.Index()
	if have != nil {
		if have.Same(s) {
			return
		}
		s.CreateIndex = have.CreateIndex
	}
	s.ModifyIndex = tx.Index()
	Services.Put(tx, s)
	tx.Touch(servicesChanged)
	tx.Touch(nodeSubject(s.Node))
	tx.Touch(ServiceSubject(s.Service))
	if have == nil || (have.Service == s.Service && slices.Equal(have.Tags, s.Tags)) {
		return
	}
	for c := range Checks.By(tx, "instance", Key(s.Node, s.ID)) {
		k := c.Copy()
		k.ServiceName, k.ServiceTags = s.Service, s.Tags
		storeCheck(tx, k, c)
	}
	if !sameName(have.Service, s.Service) {
		left(tx, have.Service)
	}
}

// Copy returns the instance's content without what hangs on it.
func (s *Service) Copy() *Service {
	return &Service{Node: s.Node, Kind: s.Kind, ID: s.ID, Service: s.Service, Tags: s.Tags, Address: s.Address,
		TaggedAddresses: s.TaggedAddresses, Meta: s.Meta, Port: s.Port, SocketPath: s.SocketPath, Weights: s.Weights,
		EnableTagOverride: s.EnableTagOverride}
}

// left follows the loss of one instance: the service's index rises, or, with its last instance, that of extinctions.
func left(tx *store.Tx, service string) {
	for range Services.By(tx, "name", strings.ToLower(service)) {
		tx.Touch(ServiceSubject(service))
		return
	}
	tx.Forget(ServiceSubject(service))
	tx.Touch(serviceGone)
}

func putCheck(tx *store.Tx, node string, in *Check) error {
	c := in.Copy()
	if c.Node == "" {
		c.Node = node
	}
	c.CheckID = c.id()
	if !sameName(c.Node, node) {
		return fault.New(fault.Refused, "Node '%s' for check '%s' doesn't match register request node '%s'", c.Node, c.CheckID, node)
	}
	c.Node = node
	if c.CheckID == "" {
		return fault.New(fault.Refused, "failed inserting check: it has neither CheckID nor Name")
	}
	if c.Status == "" {
		c.Status = Critical
	}
	if c.ServiceID == "" {
		c.ServiceName, c.ServiceTags = "", nil
	} else {
		s := Services.Get(tx, Key(node, c.ServiceID))
		if s == nil {
			return fault.New(fault.Refused, "Unknown service ID '%s' for check ID '%s'", c.ServiceID, c.CheckID)
		}
		c.ServiceName, c.ServiceTags = s.Service, s.Tags
	}
	storeCheck(tx, c, Checks.Get(tx, Key(c.Node, c.CheckID)))
	return nil
}

// storeCheck writes the check if it differs from the one it replaces.
func storeCheck(tx *store.Tx, c, have *Check) {
	c.CreateIndex = tx.Index()
	if have != nil {
		if have.Same(c) {
			return
		}
		c.CreateIndex = have.CreateIndex
	}
	c.ModifyIndex = tx.Index()
	Checks.Put(tx, c)
	touchCheck(tx, c)
	if have != nil && have.ServiceID != c.ServiceID {
		touchCheck(tx, have)
	}
}

// Turn gives the check another status and output.
func (c *Check) Turn(tx *store.Tx, status, output string) {
	k := c.Copy()
	k.Status, k.Output = status, output
	storeCheck(tx, k, c)
}

// SessionName returns the name of the sessions that a check of type session is about, "" for all other checks.
func (c *Check) SessionName() string {
	var d struct{ SessionName string }
	if c.Type != "session" || json.Unmarshal(c.Definition, &d) != nil {
		return ""
	}
	return d.SessionName
}

// Copy returns the check's content without what hangs on it.
func (c *Check) Copy() *Check {
	return &Check{Node: c.Node, CheckID: c.CheckID, Name: c.Name, Status: c.Status, Notes: c.Notes, Output: c.Output,
		ServiceID: c.ServiceID, ServiceName: c.ServiceName, ServiceTags: c.ServiceTags, Type: c.Type,
		Interval: c.Interval, Timeout: c.Timeout, ExposedPort: c.ExposedPort, Definition: c.Definition}
}

// touchCheck touches what shows the check: its service, or, for a node's own check, every service on the node.
func touchCheck(tx *store.Tx, c *Check) {
	tx.Touch(checksChanged)
	if c.ServiceID == "" {
		touchServicesOf(tx, c.Node)
	} else {
		tx.Touch(ServiceSubject(c.ServiceName))
	}
}

func touchServicesOf(tx *store.Tx, node string) {
	for s := range Services.Prefix(tx, Key(node, "")) {
		tx.Touch(ServiceSubject(s.Service))
	}
}

// Name is the Command's name in the log.
func (c *Deregister) Name() string { return "catalog.deregister" }

// Allowed asks node:write; without it, service:write of the instance concerned suffices.
func (c *Deregister) Allowed(r store.Reader, d authz.Decider) error {
	denied := authz.Require(d, authz.Node, authz.Write, c.Node)
	if denied == nil {
		return nil
	}
	id := c.ServiceID
	if id == "" && c.CheckID != "" {
		k := Checks.Get(r, Key(c.Node, c.CheckID))
		if k == nil {
			return fault.New(fault.Refused, "Unknown check ID '%s'", c.CheckID)
		}
		id = k.ServiceID
	}
	if id == "" {
		return denied
	}
	s := Services.Get(r, Key(c.Node, id))
	if s == nil {
		return fault.New(fault.Refused, "Unknown service ID '%s'", id)
	}
	return authz.Require(d, authz.Service, authz.Write, s.Service)
}

// Run removes the instance, the check or the node.
func (c *Deregister) Run(tx *store.Tx) (room.Result, error) {
	switch {
	case c.ServiceID != "":
		if s := Services.Get(tx, Key(c.Node, c.ServiceID)); s != nil {
			dropService(tx, s)
		}
	case c.CheckID != "":
		if k := Checks.Get(tx, Key(c.Node, c.CheckID)); k != nil {
			dropCheck(tx, k)
		}
	default:
		if n := Nodes.Get(tx, strings.ToLower(c.Node)); n != nil {
			dropNode(tx, n)
		}
	}
	return true, nil
}

func dropService(tx *store.Tx, s *Service) {
	removeService(tx, s)
	tx.Touch(nodeSubject(s.Node))
	left(tx, s.Service)
}

// removeService deletes the instance and its checks; the caller touches the node and the service.
func removeService(tx *store.Tx, s *Service) {
	for k := range Checks.By(tx, "instance", Key(s.Node, s.ID)) {
		Checks.Delete(tx, Key(k.Node, k.CheckID))
		tx.Touch(checksChanged)
	}
	Services.Delete(tx, Key(s.Node, s.ID))
	tx.Touch(servicesChanged)
}

func dropCheck(tx *store.Tx, k *Check) {
	Checks.Delete(tx, Key(k.Node, k.CheckID))
	touchCheck(tx, k)
	if k.ServiceID == "" {
		tx.Touch(servicesChanged)
	}
}

// dropNode removes the node and all that is on it. Each service is judged once, after all its instances here are gone:
// what is touched cannot be forgotten in the same step.
func dropNode(tx *store.Tx, n *Node) {
	var names []string
	for s := range Services.Prefix(tx, Key(n.Node, "")) {
		removeService(tx, s)
		if name := strings.ToLower(s.Service); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		left(tx, name)
	}
	for k := range Checks.Prefix(tx, Key(n.Node, "")) {
		dropCheck(tx, k)
	}
	Nodes.Delete(tx, strings.ToLower(n.Node))
	tx.Touch(nodesChanged)
	tx.Forget(nodeSubject(n.Node))
	tx.Touch(nodeGone)
}
