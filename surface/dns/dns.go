// Package dns answers questions about the catalog over UDP and TCP: nodes, services (with tags, and in the form of
// RFC 2782), prepared queries, literal addresses, reverse names and the zone itself. Answers are packed once per change of
// what they are made of, and copied, shuffled and cut to size per question; prepared queries are run for each. One encoder
// makes all of them.
package dns

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"rostra/engine/room"
	"rostra/kit/metric"
	"rostra/kit/notice"
)

// Settings are the settings of the DNS interface, as config fills them from their tags.
type Settings struct {
	Domain          string                   `key:"domain" flag:"domain" default:"consul." help:"DNS domain that is answered"`
	Translate       bool                     `key:"translate_wan_addrs" help:"answer about other datacenters with the addresses that their nodes and services have for that: tagged wan"`
	AltDomain       string                   `key:"alt_domain" flag:"alt-domain" help:"a second one, answered alike"`
	Recursors       []string                 `key:"recursors" flag:"recursor" sockaddr:"many" reload:"yes" help:"DNS servers that are asked for all other names, address or address:port"`
	Strategy        string                   `key:"dns_config.recursor_strategy" default:"sequential" reload:"yes" help:"the order in which they are asked: sequential or random"`
	RecursorTimeout time.Duration            `key:"dns_config.recursor_timeout" default:"2s" reload:"yes" help:"how long one of them may take"`
	NodeTTL         time.Duration            `key:"dns_config.node_ttl" reload:"yes" help:"TTL of node, addr and NS records"`
	ServiceTTL      map[string]time.Duration `key:"dns_config.service_ttl" reload:"yes" help:"TTLs by service name, prefix* or *"`
	OnlyPassing     bool                     `key:"dns_config.only_passing" reload:"yes" help:"leave out instances with warnings"`
	EnableTruncate  bool                     `key:"dns_config.enable_truncate" reload:"yes" help:"set TC on answers that were cut"`
	UDPAnswerLimit  int                      `key:"dns_config.udp_answer_limit" default:"3" reload:"yes" help:"answers in a UDP reply without EDNS, at most 8"`
	ARecordLimit    int                      `key:"dns_config.a_record_limit" reload:"yes" help:"addresses of a service in one reply; 0 for all"`
	DisableCompress bool                     `key:"dns_config.disable_compression" reload:"yes" help:"write every name in full"`
	AllowStale      bool                     `key:"dns_config.allow_stale" default:"true" reload:"yes" help:"let any server answer, not only the leader"`
	MaxStale        time.Duration            `key:"dns_config.max_stale" default:"87600h" reload:"yes" help:"how old such an answer may be"`
	UseCache        bool                     `key:"dns_config.use_cache" reload:"yes" help:"bound the age of what is answered without a server by cache_max_age; all answers come from what the agent keeps up to date"`
	CacheMaxAge     time.Duration            `key:"dns_config.cache_max_age" reload:"yes" help:"with use_cache, how old that may be before a server is asked; 0 for no bound"`
	NodeMetaTXT     bool                     `key:"dns_config.enable_additional_node_meta_txt" default:"true" reload:"yes" help:"add node metadata as TXT records"`
	SOARefresh      int                      `key:"dns_config.soa.refresh" default:"3600" reload:"yes" help:"SOA refresh, seconds"`
	SOARetry        int                      `key:"dns_config.soa.retry" default:"600" reload:"yes" help:"SOA retry, seconds"`
	SOAExpire       int                      `key:"dns_config.soa.expire" default:"86400" reload:"yes" help:"SOA expire, seconds"`
	SOAMinTTL       int                      `key:"dns_config.soa.min_ttl" reload:"yes" help:"SOA TTL and minimum, seconds: how long absence is believed"`
}

// mover is a Door that can tell that nothing has happened at all. Moved returns another number after any of its Watches may
// have another answer. Read before Latest, it tells that what Latest returned stays for as long as it does.
type mover interface{ Moved() uint64 }

// Server answers DNS questions from the state behind a Door. Its methods are safe for concurrent use.
type Server struct {
	door  room.Door
	mover mover // the door; nil if it cannot tell
	self  room.Identity
	log   *slog.Logger
	conf  atomic.Pointer[conf]
	cache cache
	far   far
	aged  atomic.Bool  // what is kept is older than the settings allow
	clock atomic.Int64 // Unix seconds, about
	quiet atomic.Int64 // no complaint before that second
	stats stats
	told  notice.Board // whose refusal was logged lately

	inside, outside crew // for UDP questions that may have to wait: for a state, for recursors

	domain, ptr *metric.Sample // how long questions take, by kind
	types       [len(timedTypes)]*metric.Sample
	old         *metric.Counter // as stats.stale
}

// stats count since the start.
type stats struct {
	udp, tcp, junk, failed, full, packed, opened, evicted, refused, forwarded, unforwarded, lost, stale atomic.Uint64
}

// New returns a server of the domain in s, or in self if s names none. It keeps s no longer than the call.
func New(door room.Door, self room.Identity, s *Settings, log *slog.Logger) *Server {
	srv := &Server{door: door, self: self, log: log}
	srv.mover, _ = door.(mover)
	srv.inside = crew{most: pool, do: srv.answerInside, dropped: &srv.stats.full, life: context.Background()}
	srv.outside = crew{most: outsiders, do: srv.answerOutside, dropped: &srv.stats.full, life: context.Background()}
	srv.Measure(nil)
	srv.clock.Store(time.Now().Unix())
	srv.cache.init(srv)
	srv.far.kept = map[foreign]*kept{}
	srv.conf.Store(newConf(s, self))
	return srv
}

// Measure makes a registry take how long questions take and how many were answered from an old state, under Consul's names. It comes before Serve.
func (s *Server) Measure(m *metric.Registry) {
	node := metric.Label{Name: "node", Value: s.self.Node}
	s.domain, s.ptr = m.Sample("dns.domain_query", node), m.Sample("dns.ptr_query", node)
	for i, t := range timedTypes {
		s.types[i] = m.Sample("dns.query", node, metric.Label{Name: "type", Value: t.name})
	}
	s.old = m.Counter("dns.stale_queries")
}

// Reload takes changed settings over; the domains stay what they were. Answers sent after it returns obey them.
func (s *Server) Reload(next *Settings) {
	old := s.conf.Load()
	settings := *next
	settings.Domain, settings.AltDomain = old.Domain, old.AltDomain
	c := newConf(&settings, s.self)
	s.conf.Store(c)
	if c.options != old.options {
		s.cache.clear() // the watches were opened with the old ones
	}
}

// Counters returns what was counted since the start: questions by transport, packets that were no questions, answers
// that failed for want of a leader or recursor, questions dropped because too many waited or they waited too long, packets
// that nobody read in time, questions answered from a state more than 5 s old, questions sent on to recursors, connections refused, and the work of the cache with its present
// size.
func (s *Server) Counters() map[string]uint64 {
	t := &s.stats
	return map[string]uint64{
		"dns.questions.udp": t.udp.Load(), "dns.questions.tcp": t.tcp.Load(), "dns.junk": t.junk.Load(),
		"dns.failed": t.failed.Load(), "dns.overload": t.full.Load(), "dns.udp.lost": t.lost.Load(), "dns.stale_queries": t.stale.Load(), "dns.forwarded": t.forwarded.Load(), "dns.forwarded.failed": t.unforwarded.Load(), "dns.tcp.refused": t.refused.Load(),
		"dns.cache.packed": t.packed.Load(), "dns.cache.watched": t.opened.Load(), "dns.cache.evicted": t.evicted.Load(),
		"dns.cache.entries": uint64(max(0, s.cache.count.Load())), "dns.cache.bytes": uint64(max(0, s.cache.bytes.Load())),
		"dns.cache.watches": uint64(s.cache.watches()),
	}
}

// fail notes that a question could not be answered.
func (s *Server) fail(err error) {
	s.stats.failed.Add(1)
	s.complain("DNS questions cannot be answered", "error", err)
}

// refuse counts what a peer sent and is not answered, and logs it unless that peer's were logged lately.
func (s *Server) refuse(count *atomic.Uint64, name, peer, what string) {
	count.Add(1)
	s.told.Tell(s.log, slog.LevelWarn, "", peer, "refused on the DNS port: "+what+"; more from there within a minute are only counted", "counter", name)
}

// complain writes to the log, at most once a minute; false: it has just done so.
func (s *Server) complain(what string, args ...any) bool {
	now, quiet := s.clock.Load(), s.quiet.Load()
	if now < quiet || !s.quiet.CompareAndSwap(quiet, now+60) {
		return false
	}
	s.log.Warn(what, args...)
	return true
}

// tick keeps the coarse clock, sweeps the cache and looks what was lost, until ctx ends.
func (s *Server) tick(ctx context.Context, udp []net.PacketConn) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	told, asked := uint64(0), uint64(0)
	for n := 1; ; n++ {
		select {
		case now := <-t.C:
			s.clock.Store(now.Unix())
			s.stats.lost.Store(lostOf(udp))
			if n := s.stats.lost.Load() + s.stats.full.Load(); n > told &&
				s.complain("more DNS questions come than can be answered; those that waited longest are dropped", "dropped", n-told) {
				told = n
			}
			all := s.stats.udp.Load() + s.stats.tcp.Load()
			s.lookAge(ctx, all-asked)
			if asked = all; n%10 == 0 {
				s.cache.sweep()
			}
		case <-ctx.Done():
			return
		}
	}
}

// lostOf returns how many packets the kernel has dropped.
func lostOf(udp []net.PacketConn) uint64 {
	n := uint64(0)
	for _, c := range udp {
		n += lost(c)
	}
	return n
}
