package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"rostra/engine/room"
)

// defined is what the configuration files define.
type defined struct {
	services []registration
	checks   []*checked
}

// read makes registrations of the files' definitions. An error names file and line.
func (k *keeper) read(defs []room.Definition) (defined, error) {
	var out defined
	for _, d := range defs {
		where := fmt.Sprintf("%s:%d", d.File, d.Line)
		kind := strings.TrimSuffix(d.Key, "s")
		b, err := json.Marshal(d.Value)
		if err != nil {
			return out, fmt.Errorf("%s: cannot read this %s: %w", where, kind, err)
		}
		if kind == "service" {
			err = k.readService(&out, b, d.File)
		} else {
			err = k.readCheck(&out, b, d.File)
		}
		if err != nil {
			return out, located(where, kind, err)
		}
	}
	return out, nil
}

func (k *keeper) readService(out *defined, b []byte, file string) error {
	in, err := readService(b)
	if err != nil {
		return err
	}
	r, err := k.prepare(in, fromFile, file)
	r.replace = true
	out.services = append(out.services, r)
	return err
}

func (k *keeper) readCheck(out *defined, b []byte, file string) error {
	in, err := readCheck(b)
	if err != nil {
		return err
	}
	c, err := k.prepareSingle(in, fromFile, file)
	out.checks = append(out.checks, c)
	return err
}

// located puts an error's place before it.
func located(where, key string, err error) error {
	var unknown unknownMember
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("%s: invalid config key %s.%s; remove it or correct its spelling", where, key, string(unknown))
	case errors.As(err, &wrong):
		return fmt.Errorf("%s: %s.%s must be of type %s, not %s", where, key, wrong.Field, wrong.Type, wrong.Value)
	}
	return fmt.Errorf("%s: %s: %w", where, key, err)
}

// load puts in place what the files define and then what was registered over HTTP; of two with one ID the file's wins,
// and the other's file goes.
func (k *keeper) load(d defined) error {
	k.place(d)
	if err := k.loadServices(); err != nil {
		return err
	}
	return k.loadChecks()
}

func (k *keeper) place(d defined) {
	for _, r := range d.services {
		for _, c := range r.checks {
			k.restoreState(c)
		}
		k.putService(r)
	}
	for _, c := range d.checks {
		k.restoreState(c)
		if err := k.putCheck(c); err != nil {
			k.log.Error("cannot register a check", "check", c.row.CheckID, "error", err)
		}
	}
}

func (k *keeper) loadServices() error {
	return k.files.each(servicesDir, func(b []byte) error {
		var saved savedService
		if err := json.Unmarshal(b, &saved); err != nil {
			return err
		}
		if saved.Service == nil {
			return errors.New("it holds no service")
		}
		r, err := k.prepare(saved.Service, fromHTTP, "")
		if err != nil {
			k.log.Error("cannot take over a service registered earlier", "service", saved.Service.Name, "error", err)
			return nil
		}
		r.service.token = saved.Token
		k.mu.Lock()
		have := k.services[r.service.row.ID]
		k.mu.Unlock()
		if have != nil {
			return k.files.remove(servicesDir, r.service.row.ID)
		}
		for _, c := range r.checks {
			k.restoreState(c)
		}
		k.putService(r)
		return nil
	})
}

func (k *keeper) loadChecks() error {
	return k.files.each(checksDir, func(b []byte) error {
		var saved savedCheck
		if err := json.Unmarshal(b, &saved); err != nil {
			return err
		}
		if m := saved.Maintenance; m != nil {
			if err := k.maintain(m.ServiceID, true, m.Reason); err != nil {
				k.log.Warn("maintenance mode of a service that is gone", "service", m.ServiceID)
			}
			return nil
		}
		if saved.Check == nil {
			return errors.New("it holds no check")
		}
		c, err := k.prepareSingle(saved.Check, fromHTTP, "")
		if err == nil {
			c.token = saved.Token
			k.restoreState(c)
			k.mu.Lock()
			have := k.checks[c.row.CheckID]
			k.mu.Unlock()
			if have != nil {
				return k.files.remove(checksDir, c.row.CheckID)
			}
			err = k.putCheck(c)
		}
		if err != nil {
			k.log.Error("cannot take over a check registered earlier", "check", saved.Check.Name, "error", err)
		}
		return nil
	})
}

// reload replaces what the files defined before by what they define now. Checks keep their state.
func (k *keeper) reload(defs []room.Definition) error {
	d, err := k.read(defs)
	if err != nil {
		return err
	}
	services, checks := map[string]bool{}, map[string]bool{}
	for _, r := range d.services {
		services[r.service.row.ID] = true
		for _, c := range r.checks {
			checks[c.row.CheckID] = true
		}
	}
	for _, c := range d.checks {
		checks[c.row.CheckID] = true
	}
	k.mu.Lock()
	var oldServices, oldChecks []string
	for id, s := range k.services {
		if s.source == fromFile && !services[id] {
			oldServices = append(oldServices, id)
		}
	}
	for id, c := range k.checks {
		if c.source == fromFile && !checks[id] && services[c.row.ServiceID] == (c.row.ServiceID != "") {
			oldChecks = append(oldChecks, id)
		}
	}
	k.mu.Unlock()
	k.place(d)
	for _, id := range oldServices {
		if _, err := k.removeService(id); err != nil {
			k.log.Warn("cannot remove a service that its file no longer defines", "service", id, "error", err)
		}
	}
	for _, id := range oldChecks {
		if err := k.removeCheck(id); err != nil {
			k.log.Debug("check is gone already", "check", id)
		}
	}
	return nil
}
