package local

import (
	"context"
	"errors"

	"rostra/feature/catalog"
	"rostra/feature/local/definition"
	"rostra/kit/fault"
)

// registration is a service with its checks, ready to be put in place.
type registration struct {
	service *service
	checks  []*checked
	replace bool // checks of the service that are not mentioned go
}

// newRegistration makes a registration of a service's definition.
func newRegistration(d *definition.Service, from source) registration {
	s := &service{row: d.Row, def: d, token: d.Token, source: from, claimed: true}
	r := registration{service: s}
	for _, c := range d.Checks {
		s.ids = append(s.ids, c.Row.CheckID)
		r.checks = append(r.checks, newChecked(c, from, s))
	}
	return r
}

// newChecked makes a check of its definition; home is the registration that it came with, nil if it came by itself.
func newChecked(d *definition.Check, from source, home *service) *checked {
	return &checked{row: d.Row, def: d, token: d.Token, source: from, home: home}
}

// useToken gives the service and its checks another token.
func (r *registration) useToken(token string) {
	r.service.token = token
	for _, c := range r.checks {
		c.token = token
	}
}

// remark warns of what is accepted and has no effect, unless the same was registered before.
func (k *keeper) remark(s *service) {
	k.mu.Lock()
	var before *definition.Service
	if old := k.services[s.row.ID]; old != nil {
		before = old.def
	}
	k.mu.Unlock()
	s.def.Warn(k.log, before)
}

// register keeps a registration on disk and puts it in place. Nothing has changed if its file cannot be written.
func (k *keeper) register(r registration) error {
	s := r.service
	id := s.row.ID
	defer k.claim(id, s.ids...)()
	k.remark(s)
	k.mu.Lock()
	old := k.services[id]
	gone, stay := k.others(r)
	var replaced []checked // as they are now
	for _, cid := range s.ids {
		if c := k.checks[cid]; c != nil {
			replaced = append(replaced, *c)
		}
	}
	for _, c := range gone {
		replaced = append(replaced, *c)
	}
	k.mu.Unlock()
	if s.source == fromHTTP {
		for _, c := range r.checks {
			stay = append(stay, *c)
		}
		if old != nil && old.source == fromHTTP {
			s.kept, old.kept = old.kept, [32]byte{}
		}
		if err := k.files.saveService(s, stay); err != nil {
			k.revert(id, old)
			return err
		}
	}
	k.putService(r, gone)
	if s.source == fromFile && old != nil && old.source == fromHTTP {
		if err := k.files.remove(servicesDir, id); err != nil {
			return err
		}
	}
	return k.forget(replaced, id)
}

// others sorts the checks that the registration does not mention but the service has: those that go, and those that stay
// in the service's file. A file replaces what files and the service's former file defined. mu is held.
func (k *keeper) others(r registration) (gone []*checked, stay []checked) {
	mentioned := map[string]bool{}
	for _, id := range r.service.ids {
		mentioned[id] = true
	}
	for id, c := range k.bound[r.service.row.ID] {
		switch {
		case mentioned[id]:
		case r.service.source == fromFile && (c.source == fromFile || c.bundled()),
			r.replace && c.row.Type != maintenance:
			gone = append(gone, c)
		case c.bundled():
			stay = append(stay, *c)
		}
	}
	return gone, stay
}

// revert puts back the file of a service after another could not be written: that one may be on the disk all the same.
func (k *keeper) revert(id string, old *service) {
	var err error
	if old != nil && old.source == fromHTTP {
		err = k.files.saveService(old, k.bundledIn(id))
	} else {
		err = k.files.remove(servicesDir, id)
	}
	if err != nil {
		k.log.Warn("cannot undo a registration that could not be kept", "service", id, "error", err)
	}
}

// bundledIn lists the checks kept in a service's file.
func (k *keeper) bundledIn(id string) (list []checked) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.bound[id] {
		if c.bundled() {
			list = append(list, *c)
		}
	}
	return list
}

// forget removes what the disk holds of checks as they were before they were replaced or dropped; the file of the
// service except is right already.
func (k *keeper) forget(was []checked, except string) error {
	var own, states []string
	homes := map[string]bool{}
	for i := range was {
		c := &was[i]
		id := c.row.CheckID
		k.mu.Lock()
		now := k.checks[id]
		k.mu.Unlock()
		if c.source == fromHTTP && c.home == nil && (now == nil || now.home != nil || now.source == fromFile) {
			own = append(own, id)
		}
		if c.ttl() > 0 && (now == nil || now.ttl() == 0) {
			states = append(states, id)
		}
		if c.bundled() && c.row.ServiceID != except {
			homes[c.row.ServiceID] = true
		}
	}
	if err := errors.Join(k.files.remove(checksDir, own...), k.files.remove(statesDir, states...)); err != nil {
		return err
	}
	for id := range homes {
		k.mu.Lock()
		s := k.services[id]
		k.mu.Unlock()
		if s == nil || s.source != fromHTTP {
			continue
		}
		if err := k.files.saveService(s, k.bundledIn(id)); err != nil {
			return err
		}
	}
	return nil
}

// registerCheck keeps a single check on disk and puts it in place.
func (k *keeper) registerCheck(c *checked) error {
	id := c.row.CheckID
	defer k.claim(c.row.ServiceID, id)()
	k.mu.Lock()
	known := c.row.ServiceID == "" || k.services[c.row.ServiceID] != nil
	var was []checked
	reserved := false
	if old := k.checks[id]; old != nil {
		was = append(was, *old)
		reserved = old.source == fromAgent && c.source != fromAgent
	}
	k.mu.Unlock()
	if reserved {
		return ours(id)
	}
	if !known {
		return fault.New(fault.NotFound, "ServiceID %q does not exist", c.row.ServiceID)
	}
	if len(was) == 0 && c.def != nil {
		c.def.Warn(k.log)
	}
	if c.source == fromHTTP {
		if err := k.files.saveCheck(c); err != nil {
			k.revertCheck(id, was)
			return err
		}
	}
	k.putCheck(c)
	return k.forget(was, "")
}

// revertCheck does the same for a check.
func (k *keeper) revertCheck(id string, was []checked) {
	var err error
	if len(was) > 0 && was[0].source == fromHTTP && was[0].home == nil {
		err = k.files.saveCheck(&was[0])
	} else {
		err = k.files.remove(checksDir, id)
	}
	if err != nil {
		k.log.Warn("cannot undo a registration that could not be kept", "check", id, "error", err)
	}
}

// deregister removes a service, its checks and their files. With still, only if that says so.
func (k *keeper) deregister(id string, still func(*service) bool) error {
	defer k.claim(id)()
	k.mu.Lock()
	s := k.services[id]
	if s == nil || still != nil && !still(s) {
		k.mu.Unlock()
		return unknownService(id)
	}
	var was []checked
	for _, c := range k.bound[id] {
		was = append(was, *c)
	}
	k.mu.Unlock()
	if s.source == fromHTTP {
		if err := k.files.remove(servicesDir, id); err != nil {
			return err
		}
	}
	k.removeService(id, s)
	return k.forget(was, id)
}

// deregisterCheck removes a check and what the disk holds of it. With still, only if that says so.
func (k *keeper) deregisterCheck(id string, still func(*checked) bool) error {
	defer k.claim("", id)()
	k.mu.Lock()
	c := k.checks[id]
	if c == nil || still != nil && !still(c) {
		k.mu.Unlock()
		return unknownCheck(id)
	}
	if c.source == fromAgent && still == nil {
		k.mu.Unlock()
		return ours(id)
	}
	was := []checked{*c}
	k.mu.Unlock()
	if c.source == fromHTTP && c.home == nil {
		if err := k.files.remove(checksDir, id); err != nil {
			return err
		}
	}
	k.removeCheck(c)
	return k.forget(was, "")
}

// The checks that maintenance mode consists of.
const (
	maintenance        = "maintenance"
	nodeMaintenance    = "_node_maintenance"
	serviceMaintenance = "_service_maintenance:"
)

// modeCheck makes the check that maintenance mode of a service, or of the node for "", consists of.
func (k *keeper) modeCheck(serviceID, reason string) *checked {
	row := &catalog.Check{Node: k.host.Self.Node, CheckID: nodeMaintenance, Name: "Node Maintenance Mode",
		Status: catalog.Critical, Type: maintenance, Notes: reason, ServiceTags: []string{}}
	kind := "node"
	if serviceID != "" {
		kind = "service"
		row.CheckID, row.Name, row.ServiceID = serviceMaintenance+serviceID, "Service Maintenance Mode", serviceID
	}
	if row.Notes == "" {
		row.Notes = "Maintenance mode is enabled for this " + kind + ", but no reason was provided. This is a default message."
	}
	return &checked{row: row, source: fromHTTP}
}

// maintain switches maintenance mode of a service, or of the node for serviceID "", on or off, and writes that to the
// catalog. It is idempotent: who switches it on twice keeps the first reason.
func (k *keeper) maintain(ctx context.Context, serviceID string, on bool, reason, token string) error {
	c := k.modeCheck(serviceID, reason)
	c.token = token
	id := c.row.CheckID
	k.mu.Lock()
	svc, have := k.services[serviceID], k.checks[id] != nil
	k.mu.Unlock()
	if serviceID != "" && svc == nil {
		return unknownService(serviceID)
	}
	var err error
	switch {
	case on && !have:
		if err = k.registerCheck(c); fault.Is(err, fault.NotFound) {
			err = unknownService(serviceID)
		}
	case !on && have:
		if err = k.deregisterCheck(id, nil); fault.Is(err, fault.NotFound) {
			err = nil // somebody else was faster
		}
	}
	if err == nil {
		k.sendNow(ctx, item{true, id})
	}
	return err
}
