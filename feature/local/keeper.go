package local

import (
	"bytes"
	"context"
	"crypto/tls"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"rostra/engine/check"
	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/local/definition"
	"rostra/kit/fault"
	"rostra/kit/wire"
)

// source says where a registration came from: files are read anew at every start, what came over HTTP is kept on disk.
type source string

const (
	fromFile source = "local"
	fromHTTP source = "remote"

	fromAgent source = "agent" // a report of the agent's own
)

// progress tells when an item last changed and when the catalog was last written, by the keeper's clock.
type progress struct {
	revision uint64 // changed here
	settled  uint64 // a write of it to the catalog ended
}

// service is an instance registered on this agent.
type service struct {
	row    *catalog.Service    // replaced, never changed
	def    *definition.Service // what was registered
	token  string
	source source
	ids    []string // of the checks that its definition holds
	kept   [32]byte // the SHA-256 of what its file surely holds, or zero; the edit lock guards it

	progress
	claimed bool          // its tags were set here since the catalog had it; then they win over the catalog's
	changed chan struct{} // closed when it is replaced or removed; nil while nobody waits for that
}

// checked is a check registered on this agent.
type checked struct {
	row    *catalog.Check    // replaced at every result, never changed
	def    *definition.Check // nil for maintenance and the agent's reports
	token  string
	source source
	home   *service // the registration that it came with and in whose file it is kept; nil for one of its own

	progress
	runner  *check.Runner // nil for maintenance
	stop    func()        // ends the runner and waits for it; nil if there is none
	expires time.Time     // ttl: when the last update stops counting
	since   time.Time     // when it turned critical; zero otherwise
	defers  *time.Timer   // an output waiting to be sent
}

// ttl is how long an update of a TTL check counts; 0 for other checks.
func (c *checked) ttl() time.Duration {
	if c.def == nil {
		return 0
	}
	return c.def.Spec.TTL
}

// bundled reports whether the check is kept in its service's file.
func (c *checked) bundled() bool { return c.home != nil && c.source == fromHTTP }

// company is checks that go along with a service.
type company struct {
	checks  map[string]map[string]bool // by service
	service map[string]string          // by check
}

func (c company) add(check, service string) {
	if c.checks[service] == nil {
		c.checks[service] = map[string]bool{}
	}
	c.checks[service][check] = true
	c.service[check] = service
}

func (c company) drop(check string) {
	service, ok := c.service[check]
	if !ok {
		return
	}
	delete(c.service, check)
	delete(c.checks[service], check)
	if len(c.checks[service]) == 0 {
		delete(c.checks, service)
	}
}

// keeper is what this agent runs: the truth about its own services and checks. Safe for concurrent use.
type keeper struct {
	host     *room.Host
	log      *slog.Logger
	files    files
	crew     *check.Crew
	settings *Settings // but for DiscardOutput, which mu guards, never changed

	edits   locks // who changes an item and its file holds its lock; taken before mu and never together with flights
	flights locks // who writes an item to the catalog holds its lock; taken before mu

	mu       sync.Mutex // guards all below; never held over I/O or a runner's end
	clock    uint64     // counts changes and writes
	services map[string]*service
	checks   map[string]*checked
	bound    map[string]map[string]*checked // the checks of each service, the node's own under ""
	aliases  watchers
	dirty    map[item]bool // what differs from the catalog, and what must be removed there
	flying   map[item]bool // what is just being written there
	along    company       // of dirty: removed checks that the catalog drops with their removed service
	queue    map[item]bool // of dirty: what the syncer has to send now
	signals                // to the syncer
	nodeSent bool          // the catalog has our node's row
	foreign  wire.Pairs    // tagged addresses of the row that are not ours to change
}

// signals tell the syncer what it does not see by itself.
type signals struct {
	wake   chan struct{} // queue has grown
	retry  chan struct{} // a write failed
	leader chan struct{} // another server leads
}

func newKeeper(h *room.Host, s *Settings) *keeper {
	own := *s
	k := &keeper{host: h, log: h.Log, settings: &own, crew: check.NewCrew(),
		services: map[string]*service{}, checks: map[string]*checked{}, bound: map[string]map[string]*checked{}, aliases: watchers{},
		dirty: map[item]bool{}, flying: map[item]bool{}, queue: map[item]bool{},
		along:   company{map[string]map[string]bool{}, map[string]string{}},
		signals: signals{wake: make(chan struct{}, 1), retry: make(chan struct{}, 1), leader: make(chan struct{}, 1)}}
	k.edits.seed, k.flights.seed = maphash.MakeSeed(), maphash.MakeSeed()
	return k
}

// close ends the runners and timers.
func (k *keeper) close() {
	k.crew.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.checks {
		c.settle()
	}
}

// touch notes that the item changed here. mu is held; who does not send it soon calls hurry.
func (k *keeper) touch(i item) {
	k.clock++
	if p := k.progressOf(i); p != nil {
		p.revision = k.clock
	}
	k.dirty[i] = true
}

// hurry has the syncer send the item now. mu is held.
func (k *keeper) hurry(i item) {
	k.queue[i] = true
	nudge(k.wake)
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (k *keeper) progressOf(i item) *progress {
	if i.check {
		if c := k.checks[i.id]; c != nil {
			return &c.progress
		}
	} else if s := k.services[i.id]; s != nil {
		return &s.progress
	}
	return nil
}

// claim locks a service, its checks, the given checks and the services they belong to now, for a change of them.
func (k *keeper) claim(service string, checks ...string) (release func()) {
	return k.edits.takeAll(func() map[item]bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		items := map[item]bool{}
		if service != "" {
			items[item{id: service}] = true
			for id := range k.bound[service] {
				items[item{true, id}] = true
			}
		}
		for _, id := range checks {
			items[item{true, id}] = true
			if c := k.checks[id]; c != nil && c.row.ServiceID != "" {
				items[item{id: c.row.ServiceID}] = true
			}
		}
		return items
	})
}

// setCheck files a check under its ID and its service. mu is held.
func (k *keeper) setCheck(c *checked) {
	id, owner := c.row.CheckID, c.row.ServiceID
	if old := k.checks[id]; old != nil {
		k.unsetCheck(old)
	}
	k.along.drop(id)
	k.checks[id] = c
	k.aliases.stir(owner)
	if k.bound[owner] == nil {
		k.bound[owner] = map[string]*checked{}
	}
	k.bound[owner][id] = c
}

// unsetCheck undoes setCheck. mu is held.
func (k *keeper) unsetCheck(c *checked) {
	id, owner := c.row.CheckID, c.row.ServiceID
	delete(k.checks, id)
	k.aliases.stir(owner)
	delete(k.bound[owner], id)
	if len(k.bound[owner]) == 0 {
		delete(k.bound, owner)
	}
}

// putService puts a registration in place: the service replaces one of the same ID, checks of the same ID keep their
// status, those in gone go. The claim is held.
func (k *keeper) putService(r registration, gone []*checked) {
	s := r.service
	id := s.row.ID
	var stops []func()
	k.mu.Lock()
	if old := k.services[id]; old != nil {
		s.settled = old.settled
		old.leave()
	}
	k.services[id] = s
	k.aliases.stir(id)
	k.touch(item{id: id})
	for cid := range k.along.checks[id] { // the service stays, so they have to go by themselves
		k.hurry(item{true, cid})
	}
	for _, c := range gone {
		stops = append(stops, k.dropCheck(c))
		k.hurry(item{true, c.row.CheckID})
	}
	for _, c := range r.checks {
		stops = append(stops, k.placeCheck(c))
	}
	for _, c := range k.bound[id] {
		k.nameCheck(c, s)
	}
	k.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	for _, c := range r.checks {
		k.start(c)
	}
}

// leave tells who waits for a change of the service. mu is held.
func (s *service) leave() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// nameCheck gives a check its service's present name and tags. mu is held.
func (k *keeper) nameCheck(c *checked, s *service) {
	if c.row.ServiceName == s.row.Service && slices.Equal(c.row.ServiceTags, s.row.Tags) {
		return
	}
	row := c.row.Copy()
	row.ServiceName, row.ServiceTags = s.row.Service, s.row.Tags
	c.row = row
	k.touch(item{true, row.CheckID})
	k.hurry(item{true, row.CheckID})
}

// placeCheck puts a check in place and returns what stops the one it replaces. One that would run as before goes on
// running. mu is held; the caller starts it.
func (k *keeper) placeCheck(c *checked) (stop func()) {
	stop = func() {}
	id := c.row.CheckID
	if old := k.checks[id]; old != nil {
		row := c.row.Copy()
		row.Status, row.Output = old.row.Status, old.row.Output
		c.row, c.settled, c.since = row, old.settled, old.since
		if old.stop != nil && c.def != nil && c.ttl() == 0 && old.ttl() == 0 && bytes.Equal(old.def.Raw, c.def.Raw) && old.token == c.token {
			k.unsetCheck(old)
			old.row, old.token, old.source, old.home, old.def = c.row, c.token, c.source, c.home, c.def
			old.settle()
			c = old
		} else {
			stop = old.retire()
		}
	} else if c.row.Status == catalog.Critical {
		c.since = time.Now()
	}
	k.setCheck(c)
	k.touch(item{true, id})
	return stop
}

// dropCheck takes a check out and returns what stops it. mu is held.
func (k *keeper) dropCheck(c *checked) (stop func()) {
	k.unsetCheck(c)
	k.touch(item{true, c.row.CheckID})
	return c.retire()
}

// settle ends the wait of an output: it is sent with what happens to the check now. mu is held.
func (c *checked) settle() {
	if c.defers != nil {
		c.defers.Stop()
		c.defers = nil
	}
}

// retire ends the check's timer and returns what ends its runner, to be called without mu: a runner that is just
// reporting waits for it. mu is held.
func (c *checked) retire() (stop func()) {
	c.settle()
	if c.stop == nil {
		return func() {}
	}
	return c.stop
}

// putCheck puts a single check in place. The claim is held, and its service exists.
func (k *keeper) putCheck(c *checked) {
	k.mu.Lock()
	if s := k.services[c.row.ServiceID]; s != nil {
		row := c.row.Copy()
		row.ServiceName, row.ServiceTags = s.row.Service, s.row.Tags
		c.row = row
	}
	stop := k.placeCheck(c)
	k.mu.Unlock()
	stop()
	k.start(c)
}

// removeService takes a service and its checks out. The claim is held.
func (k *keeper) removeService(id string, s *service) {
	var stops []func()
	k.mu.Lock()
	for cid, c := range k.bound[id] {
		i := item{true, cid}
		settled := !k.dirty[i] && !k.flying[i] // then the catalog has it with this service
		stops = append(stops, k.dropCheck(c))
		if settled {
			k.along.add(cid, id)
		} else {
			k.hurry(i)
		}
	}
	delete(k.services, id)
	k.aliases.stir(id)
	s.leave()
	k.touch(item{id: id})
	k.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// removeCheck takes a check out. The claim is held.
func (k *keeper) removeCheck(c *checked) {
	k.mu.Lock()
	stop := k.dropCheck(c)
	k.mu.Unlock()
	stop()
}

func unknownCheck(id string) error {
	return fault.New(fault.NotFound, "Unknown check ID %q. Ensure that the check ID is passed, not the check name.", id)
}

func unknownService(id string) error {
	return fault.New(fault.NotFound, "Unknown service ID %q. Ensure that the service ID is passed, not the service name.", id)
}

// start runs the check's runner until it is halted or the agent ends. The claim is held.
func (k *keeper) start(c *checked) {
	k.mu.Lock()
	current, row := k.checks[c.row.CheckID] == c, c.row
	left := time.Until(c.expires)
	k.mu.Unlock()
	if !current || c.def == nil {
		return // one that ran before goes on in its place; maintenance does not run
	}
	spec := c.def.Spec
	if limit := k.settings.OutputMaxSize; spec.OutputMaxSize == 0 || spec.OutputMaxSize > limit {
		spec.OutputMaxSize = limit
	}
	if spec.Kind == check.TTL && left > 0 {
		spec.Remaining = left
	}
	initial := check.Result{Status: check.Status(row.Status), Output: row.Output}
	runner, err := check.New(spec, initial, func(r check.Result) { k.result(c, r) }, k.env(c, row))
	if err != nil { // the definition's spec is valid
		k.log.Error("cannot run a check", "check", row.CheckID, "error", err)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if spec.Kind == check.TTL && left <= 0 {
		c.expires = time.Now().Add(spec.TTL)
	}
	c.runner, c.stop = runner, k.crew.Launch(runner)
}

// env is what the check's runner takes from this agent.
func (k *keeper) env(c *checked, row *catalog.Check) check.Env {
	return check.Env{Logger: k.log.With("check", row.CheckID), TLS: k.clientTLS,
		Follow: func(ctx context.Context, tell func(check.Result)) { k.followAlias(ctx, c, tell) }}
}

// clientTLS is what checks present and trust if the operator wants them to speak as the agent; nil otherwise.
func (k *keeper) clientTLS() *tls.Config {
	if !k.settings.AgentTLS || k.host.Certs == nil {
		return nil
	}
	return k.host.Certs.Now().Client()
}

// result takes a check's result over. A new status is sent at once; a new output alone after a while, so that chatty
// checks do not write to the log all day (spec agent.md §5).
func (k *keeper) result(c *checked, r check.Result) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.settings.DiscardOutput {
		r.Output = ""
	}
	id := c.row.CheckID
	if k.checks[id] != c {
		return
	}
	status, turned := string(r.Status), c.row.Status != string(r.Status)
	if !turned && c.row.Output == r.Output {
		return
	}
	row := c.row.Copy()
	row.Status, row.Output = status, r.Output
	c.row = row
	k.aliases.stir(row.ServiceID)
	if turned {
		c.since = time.Time{}
		if status == catalog.Critical {
			c.since = time.Now()
		}
	}
	d := k.settings.UpdateInterval
	if turned || d <= 0 || k.dirty[item{true, id}] {
		c.settle()
		k.touch(item{true, id})
		k.hurry(item{true, id})
		return
	}
	if c.defers == nil {
		k.postpone(c, d/2+rand.N(d))
	}
}

// postpone sends the check's output later, unless it is sent with something else by then. mu is held.
func (k *keeper) postpone(c *checked, d time.Duration) {
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if c.defers != timer {
			return
		}
		c.defers = nil
		if i := (item{true, c.row.CheckID}); k.checks[i.id] == c {
			k.touch(i)
			k.hurry(i)
		}
	})
	c.defers = timer
}
