package metric

import (
	"context"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Dialect is a way to write a metric down.
type Dialect uint8

// The dialects: Statsd over UDP, Statsite the same lines over TCP, DogStatsd over UDP or a unix socket ("unix:///path")
// with labels as tags. The others have the values of labels at the end of the name.
const (
	Statsd Dialect = iota
	Statsite
	DogStatsd
)

const (
	queued     = 4096 // lines that wait to be written; what comes beyond is dropped and counted
	packetSize = 1400 // bytes of a packet: one that fits all usual networks
	packEvery  = 100 * time.Millisecond
	redial     = 5 * time.Second
	sendTime   = time.Second // how long a write may take
	sayAgain   = time.Minute // without a failure, before one is told
)

// Target is one that metrics are sent to.
type Target struct {
	Dialect Dialect
	Address string
	Tags    []string // "name:value", of every metric; DogStatsd only
	// Failed is told of a failure if there was none in the minute before. It is called by the function that Push returns.
	Failed func(error)
}

// target is one at work.
type target struct {
	Target
	registry *Registry
	lines    chan line
	dropped  atomic.Uint64
	conn     net.Conn
	pending  []byte
	failed   time.Time // last
	dialed   time.Time
}

// line is something to be sent: n times the same value.
type line struct {
	*series
	value float64
	n     uint32
}

// Push sends what is measured to the targets for as long as the returned function runs. Samples are sent one by one, counters
// every second, gauges with each interval. With eager a target that cannot be reached now is an error.
func (r *Registry) Push(list []Target, eager bool) (run func(context.Context) error, err error) {
	var all []*target
	for _, t := range list {
		one := &target{Target: t, registry: r, lines: make(chan line, queued)}
		if eager {
			if err := one.dial(); err != nil {
				return nil, err
			}
		}
		all = append(all, one)
	}
	r.targets.Store(&all)
	r.Collect(func(a *Asked) {
		n := uint64(0)
		for _, t := range all {
			n += t.dropped.Load()
		}
		a.Counter(".rostra.telemetry.dropped", n)
	})
	return func(ctx context.Context) error {
		done := make(chan struct{})
		for _, t := range all {
			go func() {
				t.run(ctx)
				done <- struct{}{}
			}()
		}
		for range all {
			<-done
		}
		return nil
	}, nil
}

// send hands a line to all targets.
func (r *Registry) send(l line) {
	if list := r.targets.Load(); list != nil {
		for _, t := range *list {
			t.put(l)
		}
	}
}

// sendCounters sends what was counted since the last time.
func (r *Registry) sendCounters() {
	if r.targets.Load() == nil {
		return
	}
	r.cutting.Lock()
	defer r.cutting.Unlock()
	for _, s := range r.all() {
		if s.kind != kindCounter {
			continue
		}
		if n := s.counter.n.Load(); n > s.pushed {
			r.send(line{s, float64(n - s.pushed), 1})
			s.pushed = n
		}
	}
}

func (t *target) put(l line) {
	select {
	case t.lines <- l:
	default:
		t.dropped.Add(1)
	}
}

func (t *target) run(ctx context.Context) {
	tick := time.NewTicker(packEvery)
	defer tick.Stop()
	defer func() {
		t.flush()
		if t.conn != nil {
			_ = t.conn.Close()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-t.lines:
			for range max(l.n, 1) {
				t.write(l)
			}
		case <-tick.C:
			t.flush()
		}
	}
}

// write adds a line to the packet; a full one is sent.
func (t *target) write(l line) {
	before := len(t.pending)
	t.pending = t.format(t.pending, l)
	if before == 0 || len(t.pending) <= packetSize {
		return
	}
	last := append([]byte(nil), t.pending[before:]...)
	t.pending = t.pending[:before]
	t.flush()
	t.pending = append(t.pending, last...)
}

// flush sends the packet. What cannot be sent is lost: metrics of the past are of little use, and must not pile up.
func (t *target) flush() {
	if len(t.pending) == 0 {
		return
	}
	defer func() { t.pending = t.pending[:0] }()
	if t.conn == nil {
		if !t.dialed.IsZero() && time.Since(t.dialed) < redial {
			return
		}
		if err := t.dial(); err != nil {
			t.fail(err)
			return
		}
	}
	_ = t.conn.SetWriteDeadline(time.Now().Add(sendTime))
	if _, err := t.conn.Write(t.pending); err != nil {
		_ = t.conn.Close()
		t.conn = nil
		if t.Dialect != Statsite {
			t.dialed = time.Time{} // a packet that was refused says nothing about the next
		}
		t.fail(fmt.Errorf("cannot send metrics to %s: %w", t.Address, err))
	}
}

// fail tells of a failure. A packet that was sent is no sign that all is well: where nobody listens every second one is refused.
func (t *target) fail(err error) {
	if t.Failed != nil && time.Since(t.failed) > sayAgain {
		t.Failed(err)
	}
	t.failed = time.Now()
}

func (t *target) dial() error {
	t.dialed = time.Now()
	network, addr := "udp", t.Address
	if t.Dialect == Statsite {
		network = "tcp"
	}
	if path, ok := strings.CutPrefix(addr, "unix://"); ok && t.Dialect == DogStatsd {
		network, addr = "unixgram", path
	}
	conn, err := net.DialTimeout(network, addr, sendTime)
	if err != nil {
		return fmt.Errorf("cannot send metrics to %s: %w", t.Address, err)
	}
	t.conn = conn
	return nil
}

// format appends a line: name:value|type, with tags in DogStatsd's dialect.
func (t *target) format(b []byte, l line) []byte {
	dog := t.Dialect == DogStatsd
	name, told := t.registry.naming.Load().full(l.series, !dog)
	if !told || math.IsNaN(l.value) || math.IsInf(l.value, 0) {
		return b
	}
	b = appendClean(b, name)
	if !dog {
		for _, label := range l.labels {
			b = appendClean(append(b, '.'), label.Value)
		}
	}
	b = strconv.AppendFloat(append(b, ':'), l.value, 'f', -1, 64)
	b = append(append(b, '|'), [...]string{"c", "g", "ms", "c", "g"}[l.kind]...)
	if dog && len(l.labels)+len(t.Tags) > 0 {
		sep := "|#"
		for _, tag := range t.Tags {
			b = append(append(b, sep...), tag...)
			sep = ","
		}
		for _, label := range l.labels {
			b = appendClean(append(b, sep...), label.Name)
			b = appendClean(append(b, ':'), label.Value)
			sep = ","
		}
	}
	return append(b, '\n')
}

// appendClean appends a name without what has a meaning in a line.
func appendClean(b []byte, name string) []byte {
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch c {
		case ':', ' ', '|', '#', ',', '@', '\n', '\r':
			c = '_'
		}
		b = append(b, c)
	}
	return b
}
