package main

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// groupDNSMany asks for services by turns, among few and among many of five instances each: what a question costs must not
// depend on how many there are. cpu_many_by_few is the ratio.
func groupDNSMany(c *Ctx) error {
	const few, many, instances = 10, 10_000, 5
	s, err := startSingle(c, Opts{})
	if err != nil {
		return err
	}
	defer s.cleanup()
	var cpu [2]float64
	for i, n := range []int{few, many} {
		name := []string{"dns-services-10", "dns-services-10k"}[i]
		if err := registerMany(s.HTTP, n, instances); err != nil {
			return err
		}
		before := s.RSS()
		load := func(d time.Duration) *Result {
			return udpLoadEach(s.DNS, 64, d, dnsQuery("s00000.service.consul", 1, 0), func(q []byte) {
				copy(q[13:], fmt.Appendf(nil, "s%05d", rand.IntN(n)))
				q[len(q)-3] = []byte{1, 33}[rand.IntN(2)]
			}, func(b, q []byte, id uint16) error {
				_, _, err := checkDNS(b, id, uint16(q[len(q)-3]), instances, 3)
				return err
			})
		}
		for range 30 { // every answer is made once
			if load(c.warm + time.Second); counters(s.HTTP)["dns.cache.entries"] >= float64(2*n) {
				break
			}
		}
		stop := c.startProfile(name, s.HTTP)
		r, cu, share := c.attempt(s.CPU, func(int) *Result { return load(c.dur) }, nil)
		stop()
		c.rec.loop(name, r, cu, 1, fmt.Sprintf("A or SRV of one of %d services", n)+share)
		if r.Ops > 0 {
			cpu[i] = cu / float64(r.Ops)
		}
		counted := counters(s.HTTP)
		c.rec.fig(name, "answers", counted["dns.cache.bytes"]/(1<<20), "MiB", "lower", r.Ops, r.Errs,
			fmt.Sprintf("%.0f answers kept, %.0f evicted; RSS %.0f MiB, %.0f before the first question", counted["dns.cache.entries"], counted["dns.cache.evicted"], s.RSS(), before))
	}
	c.rec.fig("dns-services-10k", "cpu_many_by_few", cpu[1]/cpu[0], "ratio", "lower", 1, 0, "server CPU per query, 10,000 services against 10")
	return nil
}

// registerMany registers services s00000… with instances on as many nodes, all passing.
func registerMany(addr string, services, instances int) error {
	var next atomic.Int64
	total := int64(services * instances)
	r := closedLoop(64, 5*time.Minute, total, func(int) (func(int64) error, func(), error) {
		h, err := dialH(addr)
		if err != nil {
			return nil, nil, err
		}
		h.Timeout(60 * time.Second)
		var b []byte
		return func(int64) error {
			i := int(next.Add(1) - 1)
			svc, k := fmt.Sprintf("s%05d", i/instances), i%instances
			b = regBody(b, fmt.Sprintf("many-n%d", k), instAddr(k), svc, fmt.Sprintf("%s-%d", svc, k), 8000+k, "passing")
			st, ans, err := h.do("PUT", "/v1/catalog/register", b)
			if err != nil || st != 200 {
				return fmt.Errorf("register: %d %.100s %v", st, ans, err)
			}
			return nil
		}, h.Close, nil
	})
	if r.Errs > 0 || r.Ops != total {
		return fmt.Errorf("registered %d of %d: %v", r.Ops, total, r.FirstErr)
	}
	return nil
}
