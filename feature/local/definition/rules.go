package definition

import (
	"context"
	"fmt"
	"time"

	"rostra/engine/check"
	"rostra/feature/catalog"
	"rostra/kit/fault"
	"rostra/kit/wire"
)

// Rules are what the meaning of a definition depends on besides its text: the agent that it is for. A definition's origin
// is the file that it stands in, "flag -…" for one of the command line, "" for one that came over HTTP, now or earlier.
// Errors are faults with Consul's text, and hold the place in the definition for Read to find.
type Rules struct {
	Node string // the agent's

	// The settings enable_script_checks and enable_local_script_checks; nil where they are unset.
	EnableScripts, EnableLocalScripts *bool
}

// Service makes a service of its text. It may ask the machine's message bus for systemd, and waits 2 s for it at most.
func (r Rules) Service(t *ServiceText, file string) (*Service, error) {
	s, wrong := r.service(t, file)
	if len(wrong) > 0 {
		return nil, wrong
	}
	return s, nil
}

// service makes what can be made of a service's text, and returns all that is wrong with it.
func (r Rules) service(t *ServiceText, file string) (*Service, mistakes) {
	row, wrong := t.in.row(r.Node)
	s := &Service{Row: row, Token: t.Token, Raw: t.Raw, mesh: t.in.mesh()}
	for i, in := range t.in.Checks {
		c, inner := r.check(in, file)
		if len(inner) > 0 {
			wrong = append(wrong, inner.within(in.place)...)
			continue
		}
		id := in.CheckID
		if id == "" {
			id = in.ID
		}
		if id == "" {
			if id = "service:" + row.ID; len(t.in.Checks) > 1 {
				id = fmt.Sprintf("service:%s:%d", row.ID, i+1)
			}
		}
		s.bind(c, in, id)
		s.add(c)
	}
	return s, wrong
}

// add gives the service a check. Of two with one ID the last counts.
func (s *Service) add(c *Check) {
	s.remarks = append(s.remarks, c.remarks...)
	for i, have := range s.Checks {
		if have.Row.CheckID == c.Row.CheckID {
			s.Checks[i] = c
			return
		}
	}
	s.Checks = append(s.Checks, c)
}

// bind makes a check the service's, under the ID.
func (s *Service) bind(c *Check, in *checkInput, id string) {
	c.Row.CheckID, c.Row.ServiceID = id, s.Row.ID
	c.Row.ServiceName, c.Row.ServiceTags = s.Row.Service, s.Row.Tags
	if c.Row.Name == "" {
		c.Row.Name = fmt.Sprintf("Service '%s' check", s.Row.Service)
	}
	c.Row.Interval, c.Row.Timeout = text(in.Interval, ""), text(in.Timeout, "")
	if c.Token == "" {
		c.Token = s.Token
	}
}

// CheckOf makes a check of a service, under the ID, that is not in the service's own definition: it came over HTTP with an
// earlier one, and stayed. The service is left as it is.
func (r Rules) CheckOf(s *Service, t *CheckText, id string) (*Check, error) {
	c, wrong := r.check(t.in, "")
	if len(wrong) > 0 {
		return nil, wrong
	}
	s.bind(c, t.in, id)
	return c, nil
}

// Check makes a check that is registered by itself: the node's, or that of a service it names, which the caller looks for.
// It may wait like Service.
func (r Rules) Check(t *CheckText, file string) (*Check, error) {
	c, wrong := r.alone(t.in, file)
	if len(wrong) > 0 {
		return nil, wrong
	}
	return c, nil
}

// alone makes a check that is registered by itself, or returns all that is wrong with it.
func (r Rules) alone(in *checkInput, file string) (*Check, mistakes) {
	var wrong mistakes
	if in.Name == "" {
		wrong = of("", mended{fault.New(fault.Invalid, "Missing check name"), "add a name"})
	}
	if err := in.statusKnown("Bad check status"); err != nil {
		return nil, append(wrong, err...)
	}
	c, more := r.check(in, file)
	if wrong = append(wrong, more...); len(wrong) > 0 {
		return nil, wrong
	}
	c.Row.ServiceID, c.Row.CheckID = in.ServiceID, in.ID
	if c.Row.CheckID == "" {
		c.Row.CheckID = in.CheckID
	}
	if c.Row.CheckID == "" {
		c.Row.CheckID = in.Name
	}
	return c, nil
}

// statusKnown refuses a first status that is none, with the text.
func (in *checkInput) statusKnown(text string) mistakes {
	switch in.Status {
	case "", catalog.Passing, catalog.Warning, catalog.Critical:
		return nil
	}
	return of(in.key("Status"), mended{fault.New(fault.Invalid, "%s", text), fmt.Sprintf("write passing, warning or critical, not %q", in.Status)})
}

// check makes a check, or returns all that is wrong with it; its ID and service are the caller's to set.
func (r Rules) check(in *checkInput, file string) (*Check, mistakes) {
	wrong := in.statusKnown("Status for checks must 'passing', 'warning', 'critical'")
	spec, err := in.spec()
	if err != nil {
		wrong = append(wrong, mistake{"", err})
	}
	switch spec.Kind {
	case check.Script, check.Docker:
		if err := r.mayRunScript(file); err != nil {
			wrong = append(wrong, mistake{in.script(), err})
		}
	case check.OSService:
		if err := findSystemd(); err != nil {
			wrong = append(wrong, mistake{in.key("OSService"), err})
		}
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	row := &catalog.Check{Node: r.Node, Name: in.Name, Status: in.Status, Notes: in.Notes,
		Type: string(spec.Kind), Interval: text(in.Interval, "0s"), Timeout: text(in.Timeout, "0s"), ServiceTags: []string{}}
	if row.Status == "" {
		row.Status = catalog.Critical
	}
	c := &Check{Row: row, Spec: spec, Token: in.Token, Raw: in.raw, AliasService: in.AliasService, AliasNode: in.AliasNode, remarks: in.remarks()}
	if d := dur(in.DeregisterCriticalServiceAfter); d > 0 {
		c.ReapAfter = max(d, minReap)
	}
	return c, nil
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

func dur(d wire.Duration) time.Duration { return time.Duration(d) }

func text(d wire.Duration, unset string) string {
	if d == 0 {
		return unset
	}
	return d.String()
}
