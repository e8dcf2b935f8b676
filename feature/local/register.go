package local

import (
	"fmt"

	"rostra/engine/check"
	"rostra/feature/catalog"
	"rostra/kit/fault"
	"rostra/kit/wire"
)

// prepare makes a registration of a definition. where names its place in a file; "" means that it came over HTTP.
func (k *keeper) prepare(in *serviceInput, from source, where string) (registration, error) {
	row, err := in.row(k.host.Self.Node)
	if err != nil {
		return registration{}, err
	}
	r := registration{service: &service{row: row, input: in, token: in.Token, source: from}}
	all := in.all()
	for i, c := range all {
		ready, err := k.prepareCheck(c, from, where)
		if err != nil {
			return r, err
		}
		id := c.CheckID
		if id == "" {
			id = c.ID
		}
		if id == "" {
			if id = "service:" + row.ID; len(all) > 1 {
				id = fmt.Sprintf("service:%s:%d", row.ID, i+1)
			}
		}
		ready.row.CheckID, ready.row.ServiceID = id, row.ID
		ready.row.ServiceName, ready.row.ServiceTags = row.Service, row.Tags
		if ready.row.Name == "" {
			ready.row.Name = fmt.Sprintf("Service '%s' check", row.Service)
		}
		ready.row.Interval, ready.row.Timeout = text(c.Interval, ""), text(c.Timeout, "")
		r.checks = append(r.checks, ready)
	}
	return r, nil
}

// prepareCheck makes a check of a definition; its ID and service are the caller's to set.
func (k *keeper) prepareCheck(in *checkInput, from source, where string) (*checked, error) {
	switch in.Status {
	case "", catalog.Passing, catalog.Warning, catalog.Critical:
	default:
		return nil, fault.New(fault.Invalid, "Status for checks must 'passing', 'warning', 'critical'")
	}
	spec, err := in.spec()
	if err != nil {
		return nil, err
	}
	if spec.Kind == check.Script {
		if err := k.settings.mayRunScript(from, where); err != nil {
			return nil, err
		}
	}
	row := &catalog.Check{Node: k.host.Self.Node, Name: in.Name, Status: in.Status, Notes: in.Notes,
		Type: string(spec.Kind), Interval: text(in.Interval, "0s"), Timeout: text(in.Timeout, "0s"), ServiceTags: []string{}}
	if row.Status == "" {
		row.Status = catalog.Critical
	}
	return &checked{row: row, input: in, token: in.Token, source: from}, nil
}

func text(d wire.Duration, unset string) string {
	if d == 0 {
		return unset
	}
	return d.String()
}

// prepareSingle makes a check that is registered by itself.
func (k *keeper) prepareSingle(in *checkInput, from source, where string) (*checked, error) {
	if in.Name == "" {
		return nil, fault.New(fault.Invalid, "Missing check name")
	}
	switch in.Status {
	case "", catalog.Passing, catalog.Warning, catalog.Critical:
	default:
		return nil, fault.New(fault.Invalid, "Bad check status")
	}
	c, err := k.prepareCheck(in, from, where)
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

// The checks that maintenance mode consists of.
const (
	maintenance        = "maintenance"
	nodeMaintenance    = "_node_maintenance"
	serviceMaintenance = "_service_maintenance:"
)

// maintain switches maintenance mode of a service, or of the node for serviceID "", on or off. It is idempotent: who
// switches it on twice keeps the first reason.
func (k *keeper) maintain(serviceID string, on bool, reason string) error {
	row := &catalog.Check{Node: k.host.Self.Node, CheckID: nodeMaintenance, Name: "Node Maintenance Mode",
		Status: catalog.Critical, Type: maintenance, Notes: reason, ServiceTags: []string{}, Interval: "", Timeout: ""}
	kind := "node"
	if serviceID != "" {
		kind = "service"
		row.CheckID, row.Name, row.ServiceID = serviceMaintenance+serviceID, "Service Maintenance Mode", serviceID
	}
	if row.Notes == "" {
		row.Notes = "Maintenance mode is enabled for this " + kind + ", but no reason was provided. This is a default message."
	}
	k.mu.Lock()
	svc, have := k.services[serviceID], k.checks[row.CheckID]
	k.mu.Unlock()
	if serviceID != "" && svc == nil {
		return fault.New(fault.NotFound, "Unknown service ID %q. Ensure that the service ID is passed, not the service name.", serviceID)
	}
	if on == (have != nil) {
		return nil
	}
	if !on {
		if err := k.removeCheck(row.CheckID); err != nil {
			return err
		}
		return k.files.remove(checksDir, row.CheckID)
	}
	c := &checked{row: row, source: fromHTTP}
	if err := k.files.saveCheck(c); err != nil {
		return err
	}
	return k.putCheck(c)
}
