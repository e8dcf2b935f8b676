package local

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"rostra/engine/check"
	"rostra/feature/catalog"
	"rostra/kit/fault"
	"rostra/kit/wire"
)

// registration is a service with its checks, ready to be put in place.
type registration struct {
	service *service
	checks  []*checked
	replace bool // checks of the service that are not mentioned go
}

// prepare makes a registration of a definition. file is where it stands; "" means that it came over HTTP.
func (k *keeper) prepare(in *serviceInput, from source, file string) (registration, error) {
	row, err := in.row(k.host.Self.Node)
	if err != nil {
		return registration{}, err
	}
	r := registration{service: &service{row: row, input: in, token: in.Token, source: from, claimed: true}}
	for i, c := range in.Checks {
		ready, err := k.prepareCheck(c, from, file)
		if err != nil {
			return r, at(c.place, err)
		}
		id := c.CheckID
		if id == "" {
			id = c.ID
		}
		if id == "" {
			if id = "service:" + row.ID; len(in.Checks) > 1 {
				id = fmt.Sprintf("service:%s:%d", row.ID, i+1)
			}
		}
		r.add(ready, id)
	}
	return r, nil
}

// add gives the registration a check of its definition. Of two with one ID the last counts.
func (r *registration) add(c *checked, id string) {
	r.service.bind(c, id)
	for i, have := range r.service.ids {
		if have == id {
			r.checks[i] = c
			return
		}
	}
	r.service.ids = append(r.service.ids, id)
	r.checks = append(r.checks, c)
}

// bind makes a check the service's, under the ID.
func (s *service) bind(c *checked, id string) {
	c.row.CheckID, c.row.ServiceID = id, s.row.ID
	c.row.ServiceName, c.row.ServiceTags = s.row.Service, s.row.Tags
	if c.row.Name == "" {
		c.row.Name = fmt.Sprintf("Service '%s' check", s.row.Service)
	}
	c.row.Interval, c.row.Timeout = text(c.input.Interval, ""), text(c.input.Timeout, "")
	if c.token == "" {
		c.token = s.token
	}
	c.home = s
}

// prepareCheck makes a check of a definition; its ID and service are the caller's to set.
func (k *keeper) prepareCheck(in *checkInput, from source, file string) (*checked, error) {
	switch in.Status {
	case "", catalog.Passing, catalog.Warning, catalog.Critical:
	default:
		return nil, fault.New(fault.Invalid, "Status for checks must 'passing', 'warning', 'critical'")
	}
	spec, err := in.spec()
	if err != nil {
		return nil, err
	}
	switch spec.Kind {
	case check.Script, check.Docker:
		if err := k.settings.mayRunScript(from, file); err != nil {
			return nil, at(in.script(), err)
		}
	case check.OSService:
		if err := findSystemd(); err != nil {
			return nil, at("os_service", err)
		}
	}
	row := &catalog.Check{Node: k.host.Self.Node, Name: in.Name, Status: in.Status, Notes: in.Notes,
		Type: string(spec.Kind), Interval: text(in.Interval, "0s"), Timeout: text(in.Timeout, "0s"), ServiceTags: []string{}}
	if row.Status == "" {
		row.Status = catalog.Critical
	}
	return &checked{row: row, input: in, token: in.Token, source: from}, nil
}

// systemdWait bounds the question whether systemd is there; it is on this machine or nowhere.
const systemdWait = 2 * time.Second

// findSystemd refuses a check that could never be anything but critical.
func findSystemd() error {
	ctx, cancel := context.WithTimeout(context.Background(), systemdWait)
	defer cancel()
	if err := check.FindSystemd(ctx); err != nil {
		return fault.New(fault.Invalid, "Invalid check: os_service needs systemd, which does not answer on this machine's message bus: %s; define the check of another type, or run the agent where the bus's socket is (DBUS_SYSTEM_BUS_ADDRESS)", err)
	}
	return nil
}

func text(d wire.Duration, unset string) string {
	if d == 0 {
		return unset
	}
	return d.String()
}

// prepareSingle makes a check that is registered by itself.
func (k *keeper) prepareSingle(in *checkInput, from source, file string) (*checked, error) {
	if in.Name == "" {
		return nil, fault.New(fault.Invalid, "Missing check name")
	}
	switch in.Status {
	case "", catalog.Passing, catalog.Warning, catalog.Critical:
	default:
		return nil, fault.New(fault.Invalid, "Bad check status")
	}
	c, err := k.prepareCheck(in, from, file)
	if err != nil {
		return nil, err
	}
	c.row.ServiceID, c.row.CheckID = in.ServiceID, in.ID
	if c.row.CheckID == "" {
		c.row.CheckID = in.CheckID
	}
	if c.row.CheckID == "" {
		c.row.CheckID = in.Name
	}
	return c, nil
}

// noMesh is what is said of a service that asks for a part in the mesh: in the log, and in the answer's header.
const noMesh = "service mesh is not built yet: kind, proxy, connect and locality of this service have no effect, and no sidecar was registered"

// remark warns of what is accepted and has no effect, or not the one expected, unless the same was registered before.
func (k *keeper) remark(in *serviceInput, s *catalog.Service) {
	k.mu.Lock()
	old := k.services[s.ID]
	k.mu.Unlock()
	if in.mesh() && (old == nil || !old.input.mesh()) {
		k.log.Warn(noMesh, "service", s.ID)
	}
	if strings.ContainsFunc(s.Service, notInNames) && (old == nil || old.input.Name != s.Service) {
		k.log.Warn("service cannot be found by DNS, because its name holds other characters than letters, digits and dashes", "service", s.Service)
	}
	for _, c := range in.Checks {
		if old == nil {
			k.remarkCheck(c, "service", s.ID)
		}
	}
}

// remarkCheck does the same for one check.
func (k *keeper) remarkCheck(in *checkInput, kind, id string) {
	if in.Script != "" {
		k.log.Warn("script is the old way to define a check; write args, a list of the program and its arguments", kind, id)
	}
	if in.Shell != "" && len(in.Args) > 0 {
		k.log.Warn("shell has no effect beside args, which are run without one", kind, id)
	}
	if d := dur(in.DeregisterCriticalServiceAfter); d > 0 && d < minReap {
		k.log.Warn("deregister_critical_service_after is below the minimum, which counts instead", kind, id, "minimum", minReap)
	}
}

func notInNames(r rune) bool {
	return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

// register keeps a registration on disk and puts it in place. Nothing has changed if its file cannot be written.
func (k *keeper) register(r registration) error {
	s := r.service
	id := s.input.id()
	defer k.claim(id, s.ids...)()
	k.remark(s.input, s.row)
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
	if len(was) == 0 && c.input != nil {
		k.remarkCheck(c.input, "check", id)
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
