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
	row, err := t.in.row(r.Node)
	if err != nil {
		return nil, err
	}
	s := &Service{Row: row, Token: t.Token, Raw: t.Raw, mesh: t.in.mesh()}
	for i, in := range t.in.Checks {
		c, err := r.check(in, file)
		if err != nil {
			return nil, at(in.place, err)
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
	return s, nil
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
	c, err := r.check(t.in, "")
	if err != nil {
		return nil, err
	}
	s.bind(c, t.in, id)
	return c, nil
}

// Check makes a check that is registered by itself: the node's, or that of a service it names, which the caller looks for.
// It may wait like Service.
func (r Rules) Check(t *CheckText, file string) (*Check, error) {
	in := t.in
	if in.Name == "" {
		return nil, fault.New(fault.Invalid, "Missing check name")
	}
	switch in.Status {
	case "", catalog.Passing, catalog.Warning, catalog.Critical:
	default:
		return nil, fault.New(fault.Invalid, "Bad check status")
	}
	c, err := r.check(in, file)
	if err != nil {
		return nil, err
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

// check makes a check; its ID and service are the caller's to set.
func (r Rules) check(in *checkInput, file string) (*Check, error) {
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
		if err := r.mayRunScript(file); err != nil {
			return nil, at(in.script(), err)
		}
	case check.OSService:
		if err := findSystemd(); err != nil {
			return nil, at("os_service", err)
		}
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
