package local

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"rostra/engine/check"
	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/fault"
	"rostra/kit/wire"
)

func dur(d wire.Duration) time.Duration { return time.Duration(d) }

// source says where a registration came from: files are read anew at every start, what came over HTTP is kept on disk.
type source string

const (
	fromFile source = "local"
	fromHTTP source = "remote"
)

// service is an instance registered on this agent.
type service struct {
	row    *catalog.Service // replaced, never changed
	input  *serviceInput    // as defined, for the file
	token  string
	source source
	sync   progress
}

// checked is a check registered on this agent.
type checked struct {
	row     *catalog.Check // replaced at every result, never changed
	input   *checkInput
	token   string
	source  source
	sync    progress
	runner  *check.Runner // nil for maintenance
	stop    func()        // ends the runner and waits for it; nil if there is none
	expires time.Time     // ttl: when the last update stops counting
	since   time.Time     // when it turned critical; zero otherwise
	defers  *time.Timer   // an output waiting to be sent
}

// progress tells whether the catalog has what is here.
type progress struct {
	revision uint64 // of what is here
	sent     uint64 // of what the catalog has
}

func (p progress) clean() bool { return p.revision == p.sent }

// item names something whose state in the catalog may differ.
type item struct {
	check bool
	id    string
}

// keeper is what this agent runs: the truth about its own services and checks. Safe for concurrent use.
type keeper struct {
	host     *room.Host
	log      *slog.Logger
	files    files
	crew     *crew
	settings *Settings

	mu       sync.Mutex // guards all below; never held over I/O or a runner's end
	services map[string]*service
	checks   map[string]*checked
	dirty    map[item]bool // what differs from the catalog, and what must be removed there
	changed  chan struct{} // closed and replaced at every change of a service
	wake     chan struct{} // tells the syncer that dirty has grown
	nodeSent bool          // the catalog has our node's row
}

func newKeeper(h *room.Host, s *Settings) *keeper {
	return &keeper{host: h, log: h.Log, settings: s, crew: newCrew(),
		services: map[string]*service{}, checks: map[string]*checked{}, dirty: map[item]bool{},
		changed: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// mark notes that the item differs from the catalog. mu is held.
func (k *keeper) mark(i item) {
	if i.check {
		if c := k.checks[i.id]; c != nil {
			c.sync.revision++
		}
	} else if s := k.services[i.id]; s != nil {
		s.sync.revision++
	}
	k.dirty[i] = true
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) announce() {
	close(k.changed)
	k.changed = make(chan struct{})
}

// registration is a service with its checks, ready to be put in place.
type registration struct {
	service *service
	checks  []*checked
	replace bool // checks of the service that are not mentioned go
}

// putService puts a registration in place: the service replaces one of the same ID, checks of the same ID keep their
// status. It returns the IDs of the checks that went.
func (k *keeper) putService(r registration) []string {
	id := r.service.row.ID
	var stops []func()
	var gone []string
	k.mu.Lock()
	if old := k.services[id]; old != nil {
		r.service.sync = old.sync
	}
	k.services[id] = r.service
	k.mark(item{id: id})
	mentioned := map[string]bool{}
	for _, c := range r.checks {
		mentioned[c.row.CheckID] = true
		stops = append(stops, k.placeCheck(c))
	}
	for cid, c := range k.checks {
		if c.row.ServiceID != id || mentioned[cid] {
			continue
		}
		if r.replace && c.row.Type != maintenance {
			stops = append(stops, k.dropCheck(cid))
			gone = append(gone, cid)
			continue
		}
		row := c.row.Copy()
		row.ServiceName, row.ServiceTags = r.service.row.Service, r.service.row.Tags
		c.row = row
		k.mark(item{true, cid})
	}
	k.announce()
	k.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	for _, c := range r.checks {
		k.start(c)
	}
	return gone
}

// placeCheck puts a check in place and returns what stops the one it replaces. mu is held; the caller starts it.
func (k *keeper) placeCheck(c *checked) (stop func()) {
	stop = func() {}
	if old := k.checks[c.row.CheckID]; old != nil {
		row := c.row.Copy()
		row.Status, row.Output = old.row.Status, old.row.Output
		c.row, c.sync, c.expires, c.since = row, old.sync, old.expires, old.since
		stop = old.retire()
	} else if c.row.Status == catalog.Critical {
		c.since = time.Now()
	}
	k.checks[c.row.CheckID] = c
	k.mark(item{true, c.row.CheckID})
	return stop
}

// dropCheck takes a check out and returns what stops it. mu is held.
func (k *keeper) dropCheck(id string) (stop func()) {
	c := k.checks[id]
	delete(k.checks, id)
	k.mark(item{true, id})
	return c.retire()
}

// retire ends the check's timer and returns what ends its runner, to be called without mu: a runner that is just
// reporting waits for it. mu is held.
func (c *checked) retire() (stop func()) {
	if c.defers != nil {
		c.defers.Stop()
	}
	if c.stop == nil {
		return func() {}
	}
	return c.stop
}

// putCheck puts a single check in place.
func (k *keeper) putCheck(c *checked) error {
	k.mu.Lock()
	if id := c.row.ServiceID; id != "" {
		s := k.services[id]
		if s == nil {
			k.mu.Unlock()
			return fault.New(fault.NotFound, "ServiceID %q does not exist", id)
		}
		row := c.row.Copy()
		row.ServiceName, row.ServiceTags = s.row.Service, s.row.Tags
		c.row = row
	}
	stop := k.placeCheck(c)
	k.mu.Unlock()
	stop()
	k.start(c)
	return nil
}

// removeService takes a service and its checks out and returns the checks' IDs.
func (k *keeper) removeService(id string) (checks []string, err error) {
	k.mu.Lock()
	if k.services[id] == nil {
		k.mu.Unlock()
		return nil, fault.New(fault.NotFound, "Unknown service ID %q. Ensure that the service ID is passed, not the service name.", id)
	}
	var stops []func()
	for cid, c := range k.checks {
		if c.row.ServiceID == id {
			stops = append(stops, k.dropCheck(cid))
			delete(k.dirty, item{true, cid}) // goes with its service
			checks = append(checks, cid)
		}
	}
	delete(k.services, id)
	k.mark(item{id: id})
	k.announce()
	k.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	return checks, nil
}

func (k *keeper) removeCheck(id string) error {
	k.mu.Lock()
	if k.checks[id] == nil {
		k.mu.Unlock()
		return unknownCheck(id)
	}
	stop := k.dropCheck(id)
	k.mu.Unlock()
	stop()
	return nil
}

func unknownCheck(id string) error {
	return fault.New(fault.NotFound, "Unknown check ID %q. Ensure that the check ID is passed, not the check name.", id)
}

// start runs the check's runner until it is halted or the agent ends.
func (k *keeper) start(c *checked) {
	if c.input == nil {
		return
	}
	spec, err := c.input.spec()
	if err != nil {
		k.log.Error("cannot run a check", "check", c.row.CheckID, "error", err)
		return
	}
	if limit := k.settings.OutputMaxSize; spec.OutputMaxSize == 0 || spec.OutputMaxSize > limit {
		spec.OutputMaxSize = limit
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.checks[c.row.CheckID] != c {
		return // replaced or removed meanwhile
	}
	if left := time.Until(c.expires); spec.Kind == check.TTL && left > 0 {
		spec.Remaining = left
	}
	initial := check.Result{Status: check.Status(c.row.Status), Output: c.row.Output}
	c.runner, err = check.New(spec, initial, func(r check.Result) { k.result(c, r) },
		check.Env{Logger: k.log.With("check", c.row.CheckID)})
	if err != nil {
		k.log.Error("cannot run a check", "check", c.row.CheckID, "error", err)
		return
	}
	c.stop = k.crew.launch(c.runner.Run)
}

// result takes a check's result over. A new status is sent at once; a new output alone after a while, so that chatty
// checks do not write to the log all day (spec agent.md §5).
func (k *keeper) result(c *checked, r check.Result) {
	if k.settings.DiscardOutput {
		r.Output = ""
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	id := c.row.CheckID
	if k.checks[id] != c {
		return
	}
	if ttl := dur(c.input.TTL); ttl > 0 {
		c.expires = time.Now().Add(ttl)
		k.files.noteTTL(id)
	}
	status, turned := string(r.Status), c.row.Status != string(r.Status)
	if !turned && c.row.Output == r.Output {
		return
	}
	row := c.row.Copy()
	row.Status, row.Output = status, r.Output
	c.row = row
	if turned {
		c.since = time.Time{}
		if status == catalog.Critical {
			c.since = time.Now()
		}
		k.log.Info("check status changed", "check", id, "status", status)
	}
	d := k.settings.UpdateInterval
	if turned || d == 0 {
		k.mark(item{true, id})
		return
	}
	if c.defers == nil {
		c.defers = time.AfterFunc(d/2+rand.N(d), func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			c.defers = nil
			if k.checks[id] == c {
				k.mark(item{true, id})
			}
		})
	}
}
