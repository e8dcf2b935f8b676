package local

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"rostra/engine/room"
	"rostra/feature/local/definition"
	"rostra/kit/fault"
)

// load puts in place what the files define and what was registered over HTTP; of two with one ID the configuration's
// wins, and the other's file goes. It runs before anything else can change the registrations.
func (k *keeper) load(services []*definition.Service, checks []*definition.Check) error {
	for _, d := range services {
		r := newRegistration(d, fromFile)
		k.remark(r.service)
		k.bring(r)
	}
	own := map[string]bool{}
	for _, d := range checks {
		own[d.Row.CheckID] = true
	}
	if err := k.loadServices(own); err != nil {
		return err
	}
	for _, d := range checks {
		d.Warn(k.log)
		k.bringCheck(newChecked(d, fromFile, nil))
	}
	if err := k.loadChecks(); err != nil {
		return err
	}
	k.dropStates()
	return nil
}

// bring puts a registration in place at a start.
func (k *keeper) bring(r registration) {
	r.service.claimed = false // tags that were set through the catalog stick
	for _, c := range r.checks {
		k.restoreState(c)
	}
	k.putService(r, nil)
}

func (k *keeper) bringCheck(c *checked) {
	if id := c.row.ServiceID; id != "" && k.services[id] == nil {
		k.log.Error(fmt.Sprintf("cannot register a check: ServiceID %q does not exist", id), "check", c.row.CheckID)
		return
	}
	k.restoreState(c)
	k.putCheck(c)
}

// loadServices puts in place the services kept on disk, but for what the configuration defines.
func (k *keeper) loadServices(checks map[string]bool) error {
	return k.files.each(servicesDir, func(b []byte) error {
		var saved savedService
		if err := json.Unmarshal(b, &saved); err != nil {
			return err
		}
		text, err := definition.ReadService(saved.Service)
		if err != nil {
			return err
		}
		if text.Name == "" {
			return errors.New("it holds no service")
		}
		if k.services[text.ID] != nil {
			return k.files.remove(servicesDir, text.ID)
		}
		r, err := k.retake(text, saved, checks)
		if err != nil {
			k.log.Error("cannot take over a service registered earlier", "service", text.Name, "error", err)
			return nil
		}
		r.service.kept = sha256.Sum256(b)
		k.bring(r)
		return nil
	})
}

// retake makes the registration of a service's file, with the token and the checks that the file says, without those the
// configuration defines.
func (k *keeper) retake(text *definition.ServiceText, saved savedService, defined map[string]bool) (registration, error) {
	d, err := k.rules().Service(text, "")
	if err != nil {
		return registration{}, err
	}
	r := newRegistration(d, fromHTTP)
	r.useToken(saved.Token)
	gone := map[string]bool{}
	for _, id := range saved.Without {
		gone[id] = true
	}
	var kept []*checked
	for _, c := range r.checks {
		have := k.checks[c.row.CheckID]
		if !gone[c.row.CheckID] && !defined[c.row.CheckID] && (have == nil || have.source != fromFile) {
			kept = append(kept, c)
		}
	}
	r.checks = kept
	for _, part := range saved.Also {
		text, err := definition.ReadCheck(part.Check)
		if err != nil {
			return r, err
		}
		also, err := k.rules().CheckOf(d, text, part.ID)
		if err != nil {
			return r, err
		}
		if have := k.checks[part.ID]; defined[part.ID] || have != nil && have.source == fromFile {
			continue
		}
		c := newChecked(also, fromHTTP, &service{}) // an earlier registration's
		c.token = part.Token
		r.checks = append(r.checks, c)
	}
	return r, nil
}

// loadChecks puts in place the single checks and maintenance modes kept on disk, but for what the configuration defines.
// One whose service is gone goes too.
func (k *keeper) loadChecks() error {
	return k.files.each(checksDir, func(b []byte) error {
		var saved savedCheck
		if err := json.Unmarshal(b, &saved); err != nil {
			return err
		}
		var c *checked
		switch m := saved.Maintenance; {
		case m != nil:
			c = k.modeCheck(m.ServiceID, m.Reason)
		case len(saved.Check) == 0:
			return errors.New("it holds no check")
		default:
			text, err := definition.ReadCheck(saved.Check)
			if err != nil {
				return err
			}
			d, err := k.rules().Check(text, "")
			if err != nil {
				k.log.Error("cannot take over a check registered earlier", "check", text.Name, "error", err)
				return nil
			}
			c = newChecked(d, fromHTTP, nil)
		}
		c.token = saved.Token
		id, owner := c.row.CheckID, c.row.ServiceID
		if have := k.checks[id]; have != nil && have.source == fromFile {
			return k.files.remove(checksDir, id)
		}
		if owner != "" && k.services[owner] == nil {
			k.log.Warn("a check registered earlier is dropped, because its service is gone", "check", id, "service", owner)
			return k.files.remove(checksDir, id)
		}
		k.bringCheck(c)
		return nil
	})
}

// reload replaces what the files defined before by what they define now. What is defined as before is left alone, and
// checks that are defined anew keep their status. It is not called twice at once.
func (k *keeper) reload(defs []room.Definition) error {
	services, checks, err := k.rules().Read(defs, k.log)
	if err != nil {
		return err
	}
	ofService, ofCheck := map[string]bool{}, map[string]bool{}
	for _, d := range services {
		ofService[d.Row.ID] = true
		for _, c := range d.Checks {
			ofCheck[c.Row.CheckID] = true
		}
	}
	for _, d := range checks {
		ofCheck[d.Row.CheckID] = true
	}
	if err := k.dropUndefined(ofService, ofCheck); err != nil {
		return err
	}
	for _, d := range services {
		if k.unchanged(d) {
			continue
		}
		r := newRegistration(d, fromFile)
		if err := k.register(r); err != nil {
			return err
		}
		k.hasten(r)
	}
	for _, d := range checks {
		if k.unchangedCheck(d) {
			continue
		}
		c := newChecked(d, fromFile, nil)
		if err := k.registerCheck(c); err != nil {
			k.log.Error("cannot register a check", "check", c.row.CheckID, "error", err)
			continue
		}
		k.mu.Lock()
		k.hurry(item{true, c.row.CheckID})
		k.mu.Unlock()
	}
	return nil
}

func isGone(err error) bool { return fault.Is(err, fault.NotFound) }

// hasten has the syncer send a registration.
func (k *keeper) hasten(r registration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hurry(item{id: r.service.row.ID})
	for _, id := range r.service.ids {
		k.hurry(item{true, id})
	}
}

// dropUndefined removes what files defined and define no more.
func (k *keeper) dropUndefined(services, checks map[string]bool) error {
	k.mu.Lock()
	var oldServices, oldChecks []string
	for id, s := range k.services {
		if s.source == fromFile && !services[id] {
			oldServices = append(oldServices, id)
		}
	}
	for id, c := range k.checks {
		if c.source == fromFile && !checks[id] {
			oldChecks = append(oldChecks, id)
		}
	}
	k.mu.Unlock()
	for _, id := range oldServices {
		err := k.deregister(id, func(s *service) bool { return s.source == fromFile })
		if err != nil && !isGone(err) {
			return err
		}
		k.mu.Lock()
		k.hurry(item{id: id})
		k.mu.Unlock()
	}
	for _, id := range oldChecks {
		err := k.deregisterCheck(id, func(c *checked) bool { return c.source == fromFile })
		if err != nil && !isGone(err) {
			return err
		}
		k.mu.Lock()
		k.hurry(item{true, id})
		k.mu.Unlock()
	}
	return nil
}

// unchanged reports whether the service is in place just so already, with its checks.
func (k *keeper) unchanged(d *definition.Service) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.services[d.Row.ID]
	if s == nil || s.source != fromFile || !bytes.Equal(s.def.Raw, d.Raw) {
		return false
	}
	for _, id := range s.ids {
		if c := k.checks[id]; c == nil || c.source != fromFile || c.home != s {
			return false
		}
	}
	return true
}

func (k *keeper) unchangedCheck(d *definition.Check) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	have := k.checks[d.Row.CheckID]
	return have != nil && have.source == fromFile && have.home == nil && have.def != nil && bytes.Equal(have.def.Raw, d.Raw)
}
