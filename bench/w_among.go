package main

import (
	"fmt"
	"sync/atomic"
	"time"
)

// amongChanges is how many changes one figure of watch-svc-among is the mean of.
const amongChanges = 400

// watchAmong measures what one change of one watched service costs when there are 10 other services, and when there are
// 10,000: nothing about it should depend on them.
func (c *Ctx) watchAmong() error {
	name := "watch-svc-among"
	s, err := startSingle(c, Opts{})
	if err != nil {
		return err
	}
	defer s.cleanup()
	if err := registerN(s.HTTP, "web", 3); err != nil {
		return err
	}
	f, err := startFan(s.HTTP, 10, func(int) string { return "/v1/health/service/web?passing" })
	if err != nil {
		return err
	}
	defer f.close()
	gen := int64(0)
	cost := func(n int) (float64, error) {
		c0 := s.CPU()
		for k := range n {
			gen++
			mark := fmt.Appendf(nil, "among-%d-", gen)
			_, _, err := f.change(gen, func(int) []byte { return mark }, seq(10), func() error {
				body := regBody(nil, "web-among", instAddr(700), "web", string(mark), 8000+k, "passing")
				_, err := mustPut(s.HTTP, "/v1/catalog/register", body)
				return err
			})
			if err != nil {
				return 0, err
			}
			if _, err := mustPut(s.HTTP, "/v1/catalog/deregister", fmt.Appendf(nil, `{"Node":"web-among","ServiceID":"%s"}`, mark)); err != nil {
				return 0, err
			}
		}
		return (s.CPU() - c0) / float64(n) * 1e6, nil
	}
	if err := registerOthers(s.HTTP, 0, 10); err != nil {
		return err
	}
	if _, err := cost(amongChanges / 4); err != nil { // warm
		return err
	}
	few, err := cost(amongChanges)
	if err != nil {
		return err
	}
	if err := registerOthers(s.HTTP, 10, 10000); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	if _, err := cost(amongChanges / 4); err != nil {
		return err
	}
	many, err := cost(amongChanges)
	if err != nil {
		return err
	}
	note := fmt.Sprintf("server CPU for one instance of a service coming and going, 10 watchers; mean of %d", amongChanges)
	c.rec.fig(name, "cpu_10_others", few, "us", "lower", amongChanges, f.errs.Load(), note)
	c.rec.fig(name, "cpu_10000_others", many, "us", "lower", amongChanges, f.errs.Load(), note)
	c.rec.fig(name, "ratio", many/few, "", "lower", amongChanges, f.errs.Load(), "10,000 others against 10")
	return nil
}

// registerOthers registers the services other-<from> up to other-<to - 1>, one instance each.
func registerOthers(addr string, from, to int) error {
	var next atomic.Int64
	r := closedLoop(16, 120*time.Second, int64(to-from), func(int) (func(int64) error, func(), error) {
		h, err := dialH(addr)
		if err != nil {
			return nil, nil, err
		}
		h.Timeout(120 * time.Second)
		var b []byte
		return func(int64) error {
			i := from + int(next.Add(1)) - 1
			id := fmt.Sprintf("other-%d", i)
			b = regBody(b, "node-"+id, instAddr(i), id, id, 9000, "passing")
			st, answer, err := h.do("PUT", "/v1/catalog/register", b)
			if err == nil && st != 200 {
				err = fmt.Errorf("register: %d %.100s", st, answer)
			}
			return err
		}, h.Close, nil
	})
	if r.Errs > 0 || r.Ops != int64(to-from) {
		return fmt.Errorf("registered %d of %d: %v", r.Ops, to-from, r.FirstErr)
	}
	return nil
}
