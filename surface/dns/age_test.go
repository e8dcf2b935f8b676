package dns

import (
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// TestAge: what is kept answers only as long as the settings allow (spec dns.md §5: allow_stale, max_stale, use_cache,
// cache_max_age); after that a server that knows a leader must, and without one the answer is SERVFAIL.
func TestAge(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Settings)
		age    time.Duration
		strict bool
	}{
		{"the default", func(s *Settings) { s.MaxStale = 87600 * time.Hour }, time.Hour, false},
		{"never stale", func(s *Settings) { s.AllowStale = false }, 0, true},
		{"young enough", func(s *Settings) { s.MaxStale = 5 * time.Second }, 4 * time.Second, false},
		{"too old", func(s *Settings) { s.MaxStale = 5 * time.Second }, 6 * time.Second, true},
		{"no bound without use_cache", func(s *Settings) { s.CacheMaxAge = time.Second }, time.Minute, false},
		{"too old for the cache", func(s *Settings) { s.UseCache, s.CacheMaxAge = true, time.Second }, time.Minute, true},
		{"no bound with max age 0", func(s *Settings) { s.UseCache = true }, time.Minute, false},
	} {
		set := settings()
		c.change(set)
		s, d := newServer(t, set, example()...)
		w := s.worker(1)
		ask := func(name string) string {
			out, _ := w.answer(t.Context(), packed1(t, name, mdns.TypeA, 0), false, time.Now().Add(patience))
			var r mdns.Msg
			if err := r.Unpack(out[lead:]); err != nil {
				t.Fatal(err)
			}
			return mdns.RcodeToString[r.Rcode]
		}
		names := []string{"web.service.consul.", "nope.service.consul.", "srv1.node.consul.", "1.0.0.127.in-addr.arpa.", "consul."}
		for _, name := range names[:4] {
			if got := ask(name); got == "SERVFAIL" {
				t.Fatalf("%s: %s while all is well: %s", c.name, name, got)
			}
		}
		d.age.Store(int64(c.age))
		s.lookAge(t.Context(), 7)
		before := d.asked.Load()
		for _, name := range names[:4] {
			if got := ask(name); got == "SERVFAIL" {
				t.Errorf("%s: %s: %s with a leader", c.name, name, got)
			}
		}
		if asked := d.asked.Load() > before; asked != c.strict {
			t.Errorf("%s: servers were asked: %v, want %v", c.name, asked, c.strict)
		}
		if n := s.Counters()["dns.stale_queries"]; (n == 7) != (c.age > ageStale) {
			t.Errorf("%s: %d stale queries are counted", c.name, n)
		}
		if d.lose(true); c.strict {
			for _, name := range names[:4] {
				if got := ask(name); got != "SERVFAIL" {
					t.Errorf("%s: %s without a leader: %s", c.name, name, got)
				}
			}
		}
		d.age.Store(0)
		d.lose(false)
		if s.lookAge(t.Context(), 1); s.aged.Load() || strings.Contains(ask(names[0]), "FAIL") {
			t.Errorf("%s: not forgiven", c.name)
		}
		s.cache.clear()
	}
}
