package local

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"rostra/engine/room"
	"rostra/kit/fault"
)

// defined is what the configuration files define.
type defined struct {
	services []registration
	checks   []*checked
}

// read makes registrations of the files' definitions. Errors, all of them, name file, line and key. Of two definitions of one ID
// the last counts, as in Consul, which does not say so.
func (k *keeper) read(defs []room.Definition) (defined, error) {
	var out defined
	var wrong []error
	services, checks := map[string]int{}, map[string]int{}
	for _, d := range defs {
		kind := strings.TrimSuffix(d.Key, "s")
		var id string
		var twice bool
		raw, err := json.Marshal(d.Value)
		if err != nil {
			wrong = append(wrong, located(d, kind, err))
			continue
		}
		if kind == "service" {
			id, twice, err = k.readService(&out, services, raw, d.File)
		} else {
			id, twice, err = k.readCheck(&out, checks, raw, d.File)
		}
		if err != nil {
			wrong = append(wrong, located(d, kind, err))
			continue
		}
		if twice {
			k.log.Warn("the configuration defines this twice; this definition counts", kind, id, "at", place(d, ""))
		}
	}
	return out, errors.Join(wrong...)
}

func (k *keeper) readService(out *defined, seen map[string]int, raw []byte, file string) (id string, twice bool, err error) {
	in, err := readService(raw)
	if err != nil {
		return "", false, err
	}
	r, err := k.prepare(in, fromFile, file)
	if err != nil {
		return "", false, err
	}
	id = r.service.row.ID
	i, twice := seen[id]
	if twice {
		out.services[i] = r
		return id, true, nil
	}
	seen[id] = len(out.services)
	out.services = append(out.services, r)
	return id, false, nil
}

func (k *keeper) readCheck(out *defined, seen map[string]int, raw []byte, file string) (id string, twice bool, err error) {
	in, err := readCheck(raw)
	if err != nil {
		return "", false, err
	}
	c, err := k.prepareSingle(in, fromFile, file)
	if err != nil {
		return "", false, err
	}
	id = c.row.CheckID
	i, twice := seen[id]
	if twice {
		out.checks[i] = c
		return id, true, nil
	}
	seen[id] = len(out.checks)
	out.checks = append(out.checks, c)
	return id, false, nil
}

// place names where a definition, or the key at path in it, stands.
func place(d room.Definition, path string) string {
	if strings.HasPrefix(d.File, fromFlag) {
		return d.File
	}
	return fmt.Sprintf("%s:%d", d.File, d.LineOf(path))
}

// located puts an error's place before it, and says what to do if the cause does not.
func located(d room.Definition, kind string, err error) error {
	path, what := misread(kind, err)
	return fmt.Errorf("%s: %w", place(d, path), what)
}

// misread says what is wrong with a definition of a kind, in words for people, and where in it: a dotted path.
func misread(kind string, err error) (path string, what error) {
	key := kind
	var inner *memberError
	if errors.As(err, &inner) {
		path = inner.path
		key += "." + path
	}
	var unknown unknownMember
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &unknown):
		return path, fmt.Errorf("invalid config key %s: remove it or correct its spelling", key)
	case errors.As(err, &wrong):
		return path, fmt.Errorf("%s must be %s, not %s", key, wanted(wrong.Type), wrong.Value)
	}
	return path, fmt.Errorf("%s: %w", key, err)
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	}
	return "a " + t.String()
}

// load puts in place what the files define and what was registered over HTTP; of two with one ID the configuration's
// wins, and the other's file goes. It runs before anything else can change the registrations.
func (k *keeper) load(d defined) error {
	for _, r := range d.services {
		k.remark(r.service.input, r.service.row)
		k.bring(r)
	}
	own := map[string]bool{}
	for _, c := range d.checks {
		own[c.row.CheckID] = true
	}
	if err := k.loadServices(own); err != nil {
		return err
	}
	for _, c := range d.checks {
		k.remarkCheck(c.input, "check", c.row.CheckID)
		k.bringCheck(c)
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
		k.log.Error("cannot register a check: its service does not exist", "check", c.row.CheckID, "service", id)
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
		in, err := readService(saved.Service)
		if err != nil {
			return err
		}
		if in.Name == "" {
			return errors.New("it holds no service")
		}
		if id := in.id(); k.services[id] != nil {
			return k.files.remove(servicesDir, id)
		}
		r, err := k.prepare(in, fromHTTP, "")
		if err == nil {
			err = k.amend(&r, saved, checks)
		}
		if err != nil {
			k.log.Error("cannot take over a service registered earlier", "service", in.Name, "error", err)
			return nil
		}
		r.service.kept = sha256.Sum256(b)
		k.bring(r)
		return nil
	})
}

// amend gives a registration the token and checks that its file says, without those the configuration defines.
func (k *keeper) amend(r *registration, saved savedService, defined map[string]bool) error {
	r.service.token = saved.Token
	gone := map[string]bool{}
	for _, id := range saved.Without {
		gone[id] = true
	}
	var kept []*checked
	for _, c := range r.checks {
		have := k.checks[c.row.CheckID]
		if c.token = saved.Token; !gone[c.row.CheckID] && !defined[c.row.CheckID] && (have == nil || have.source != fromFile) {
			kept = append(kept, c)
		}
	}
	r.checks = kept
	for _, part := range saved.Also {
		in, err := readCheck(part.Check)
		if err != nil {
			return err
		}
		c, err := k.prepareCheck(in, fromHTTP, "")
		if err != nil {
			return err
		}
		if have := k.checks[part.ID]; defined[part.ID] || have != nil && have.source == fromFile {
			continue
		}
		r.service.bind(c, part.ID)
		r.checks = append(r.checks, c)
		c.home = &service{} // an earlier registration's
		c.token = part.Token
	}
	return nil
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
			in, err := readCheck(saved.Check)
			if err != nil {
				return err
			}
			if c, err = k.prepareSingle(in, fromHTTP, ""); err != nil {
				k.log.Error("cannot take over a check registered earlier", "check", in.Name, "error", err)
				return nil
			}
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
	d, err := k.read(defs)
	if err != nil {
		return err
	}
	services, checks := map[string]bool{}, map[string]bool{}
	for _, r := range d.services {
		services[r.service.row.ID] = true
		for _, id := range r.service.ids {
			checks[id] = true
		}
	}
	for _, c := range d.checks {
		checks[c.row.CheckID] = true
	}
	if err := k.dropUndefined(services, checks); err != nil {
		return err
	}
	for _, r := range d.services {
		if k.unchanged(r) {
			continue
		}
		if err := k.register(r); err != nil {
			return err
		}
		k.hasten(r)
	}
	for _, c := range d.checks {
		if k.unchangedCheck(c) {
			continue
		}
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
func (k *keeper) unchanged(r registration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.services[r.service.row.ID]
	if s == nil || s.source != fromFile || string(s.input.raw) != string(r.service.input.raw) {
		return false
	}
	for _, id := range s.ids {
		if c := k.checks[id]; c == nil || c.source != fromFile || c.home != s {
			return false
		}
	}
	return true
}

func (k *keeper) unchangedCheck(c *checked) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	have := k.checks[c.row.CheckID]
	return have != nil && have.source == fromFile && have.home == nil && have.input != nil &&
		string(have.input.raw) == string(c.input.raw)
}
