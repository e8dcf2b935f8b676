package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// groupOverload asks five times as many questions as the server can answer, whether answers come or not. Those that come must be
// young, as many as without the overload, and what is not answered must be counted.
//
// dns-overload: the server has a fifth of a processor, so that two processors suffice for those who ask. dns-overload-recursor:
// questions wait for a recursor that takes 200 ms, and the server asks 512 at a time.
func groupOverload(c *Ctx) error {
	for name, run := range map[string]func(*Ctx, string) error{"dns-overload": overloadInside, "dns-overload-recursor": overloadRecursor} {
		if c.want(name) {
			if err := run(c, name); err != nil {
				c.rec.fail(name, err)
			}
		}
	}
	return nil
}

const times = 5

func overloadInside(c *Ctx, name string) error {
	s, err := startSingle(c, Opts{})
	if err != nil {
		return err
	}
	defer s.cleanup()
	if err := registerN(s.HTTP, "web3", 3); err != nil {
		return err
	}
	q := dnsQuery("web3.service.consul", 1, 0)
	check := func(b []byte, id uint16) error { _, _, err := checkDNS(b, id, 1, 3, 3); return err }
	udpLoad(s.DNS, 16, c.warm, q, check)
	free, err := bound(s.Pid, 2000, 10_000)
	if err != nil {
		return err
	}
	defer free()
	capacity := udpLoad(s.DNS, 64, c.dur, q, check)
	if capacity.Errs > capacity.Lost {
		return fmt.Errorf("without overload: %v", capacity.FirstErr)
	}
	before := counters(s.HTTP)
	o := openLoop(s.DNS, capacity.Rate()*times, 2*c.dur, q, check)
	free()
	c.overload(name, s, before, o, capacity.Rate(), "2 ms of each 10 ms of one processor")
	return nil
}

func overloadRecursor(c *Ctx, name string) error {
	const delay, atOnce = 200 * time.Millisecond, 512
	recursor, err := slowRecursor(delay)
	if err != nil {
		return err
	}
	defer recursor.Close()
	s, err := startSingle(c, Opts{Recursor: recursor.LocalAddr().String()})
	if err != nil {
		return err
	}
	defer s.cleanup()
	q := dnsQuery("www.example.com", 1, 0)
	check := func(b []byte, id uint16) error {
		if len(b) < 12 || b[3]&15 != 0 || binary.BigEndian.Uint16(b[6:]) != 1 {
			return fmt.Errorf("no answer of the recursor: %x", b)
		}
		return nil
	}
	capacity := udpLoad(s.DNS, atOnce, c.dur, q, check) // what is lost of its beginning is of no account
	if capacity.Errs > capacity.Lost {
		return fmt.Errorf("without overload: %v", capacity.FirstErr)
	}
	before := counters(s.HTTP)
	o := openLoop(s.DNS, capacity.Rate()*times, 2*c.dur, q, check)
	c.overload(name, s, before, o, capacity.Rate(), fmt.Sprintf("a recursor that takes %v", delay))
	return nil
}

// overload emits the figures of an overload.
func (c *Ctx) overload(name string, s *Server, before map[string]float64, o *open, capacity float64, how string) {
	time.Sleep(1500 * time.Millisecond) // the server looks once a second what was lost
	after := counters(s.HTTP)
	d := func(k string) float64 { return after[k] - before[k] }
	lost, dropped, missing := d("dns.udp.lost"), d("dns.overload"), float64(o.sent-int64(len(o.lat))-o.failed)
	errs := o.errs
	if o.sent == 0 || len(o.lat) == 0 {
		errs++
	}
	r := &Result{Ops: int64(len(o.lat)), Errs: errs, Lat: o.lat, Elapsed: o.elapsed}
	note := fmt.Sprintf("%s; %.0f/s asked, %.1f times of what it can do; %d of %d answered, %d with SERVFAIL; lost in the socket %.0f, dropped %.0f", how,
		float64(o.sent)/o.elapsed.Seconds(), float64(o.sent)/o.elapsed.Seconds()/capacity, len(o.lat), o.sent, o.failed, lost, dropped)
	c.rec.fig(name, "capacity", capacity, "op/s", "higher", 0, errs, "one question in flight on each of many sockets")
	c.rec.loop(name, r, 0, 1, note)
	c.rec.fig(name, "max", r.Pct(1), "ms", "lower", r.Ops, errs, "the oldest answer")
	c.rec.fig(name, "answered", r.Rate()/capacity, "ratio", "higher", r.Ops, errs, "answers a second under overload against without")
	c.rec.fig(name, "counted", (lost+dropped)/(missing+float64(o.failed)), "ratio", "info", r.Ops, errs, "questions that the server counted as lost or dropped, against those without an answer")
}

// open is what came of questions that were sent on time, whether others were answered or not.
type open struct {
	sent, failed, errs int64 // failed: SERVFAIL
	elapsed            time.Duration
	lat                []int64 // ns, sorted
}

// openLoop sends rate questions a second.
func openLoop(addr string, rate float64, dur time.Duration, q []byte, check func(b []byte, id uint16) error) *open {
	const sockets = 16
	o := &open{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed, errs atomic.Int64
	conns := make([]*net.UDPConn, sockets)
	stamps := make([][]atomic.Int64, sockets) // when the question with an ID was sent
	for i := range conns {
		conn, err := net.Dial("udp", addr)
		if err != nil {
			o.errs++
			return o
		}
		conns[i], stamps[i] = conn.(*net.UDPConn), make([]atomic.Int64, 1<<16)
		conns[i].SetReadBuffer(4 << 20)
		wg.Add(1)
		go func() {
			defer wg.Done()
			var lat []int64
			b := make([]byte, 65536)
			for {
				n, err := conns[i].Read(b)
				if err != nil {
					break
				}
				now := time.Now().UnixNano()
				id := binary.BigEndian.Uint16(b)
				at := stamps[i][id].Swap(0)
				switch {
				case n < 12 || at == 0:
					errs.Add(1)
				case b[3]&15 == 2:
					failed.Add(1)
				case check(b[:n], id) != nil:
					errs.Add(1)
				default:
					lat = append(lat, now-at)
				}
			}
			mu.Lock()
			o.lat = append(o.lat, lat...)
			mu.Unlock()
		}()
	}
	begin := time.Now()
	qq := slices.Clone(q)
	for now := begin; now.Sub(begin) < dur; now = time.Now() {
		for due := int64(rate * now.Sub(begin).Seconds()); o.sent < due; o.sent++ {
			i, id := o.sent%sockets, uint16(o.sent/sockets)
			binary.BigEndian.PutUint16(qq, id)
			stamps[i][id].Store(time.Now().UnixNano())
			conns[i].Write(qq)
		}
		time.Sleep(500 * time.Microsecond)
	}
	o.elapsed = time.Since(begin)
	time.Sleep(3500 * time.Millisecond) // nobody waits for an answer longer
	for _, conn := range conns {
		conn.Close()
	}
	wg.Wait()
	o.failed, o.errs = failed.Load(), o.errs+errs.Load()
	sortInt64(o.lat)
	return o
}

// slowRecursor answers each question with one address after a time.
func slowRecursor(delay time.Duration) (net.PacketConn, error) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	pc.(*net.UDPConn).SetReadBuffer(4 << 20)
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			a := append(slices.Clone(b[:n]), 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1)
			a[2], a[3], a[7] = a[2]|0x80, 0x80, 1
			time.AfterFunc(delay, func() { pc.WriteTo(a, from) })
		}
	}()
	return pc, nil
}

// bound lets a process have no more than quota of each period (µs) of one processor, until free is called. It needs root and
// control groups.
func bound(pid, quota, period int) (free func(), err error) {
	name := fmt.Sprintf("rbench-%d", os.Getpid())
	write := func(dir, file, text string) {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644)
		}
	}
	v1, v2 := "/sys/fs/cgroup/cpu", "/sys/fs/cgroup"
	dir := filepath.Join(v1, name)
	if _, gone := os.Stat(filepath.Join(v1, "cpu.cfs_quota_us")); gone == nil {
		err = os.MkdirAll(dir, 0o755)
		write(dir, "cpu.cfs_period_us", fmt.Sprint(period))
		write(dir, "cpu.cfs_quota_us", fmt.Sprint(quota))
		write(dir, "cpu.shares", "100000") // what it may have it gets, whoever else works
	} else {
		v1, dir = v2, filepath.Join(v2, name)
		err = os.MkdirAll(dir, 0o755)
		write(dir, "cpu.max", fmt.Sprintf("%d %d", quota, period))
		write(dir, "cpu.weight", "10000")
	}
	write(dir, "cgroup.procs", fmt.Sprint(pid))
	if err != nil {
		os.Remove(dir)
		return func() {}, fmt.Errorf("cannot bound the server's processor (it needs root and control groups): %w", err)
	}
	return sync.OnceFunc(func() {
		os.WriteFile(filepath.Join(v1, "cgroup.procs"), []byte(fmt.Sprint(pid)), 0o644)
		for range 100 {
			if os.Remove(dir) == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}), nil
}
