package relay_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"rostra/engine/relay"
	"rostra/engine/room"
	"rostra/engine/rpc"
	"rostra/engine/server"
	"rostra/feature/catalog"
	"rostra/feature/health"
)

// lineUp is a Port whose streams may be those of agents that do not know changes.
type lineUp struct {
	*rpc.Port
	unaware bool
}

type unaware struct{ rpc.Stream }

func (u unaware) Send(b []byte) error { return u.Stream.Send(relay.Unaware(b)) }

func (l *lineUp) Stream(ctx context.Context, to rpc.Target, method string) (rpc.Stream, error) {
	s, err := l.Port.Stream(ctx, to, method)
	if err == nil && l.unaware {
		s = unaware{s}
	}
	return s, err
}

// BenchmarkChange: agents on real sockets watch a service of 5,000 instances, each on a node of its own and with a check, and
// one changes: a check's state, or an instance comes amid the others and goes again. wire-B is what a change costs on the
// way to one agent, cpu-µs the whole process's time for one change, the write and both ends of all watches.
func BenchmarkChange(b *testing.B) {
	for _, agents := range []int{1, 20} {
		for _, what := range []string{"check", "instance"} {
			for _, whole := range []bool{true, false} {
				b.Run(fmt.Sprintf("agents=%d/%s/whole=%t", agents, what, whole), func(b *testing.B) { benchChange(b, agents, what, whole) })
			}
		}
	}
}

func benchChange(b *testing.B, agents int, what string, whole bool) {
	all := []room.Room{catalog.Room, health.Room}
	c, w := wiredFor(b, all)
	types, err := server.NewTypes(all)
	if err != nil {
		b.Fatal(err)
	}
	apply := func(cmd room.Command) {
		raw, err := types.Command(cmd, 1)
		if err == nil {
			_, _, err = c.Apply(context.Background(), cmd.Name(), raw, false, room.Options{})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	var filling sync.WaitGroup
	for k := range 50 {
		filling.Go(func() {
			for i := range 100 {
				apply(instance(k*100+i, "passing"))
			}
		})
	}
	filling.Wait()
	heard := subscribed(b, types, w.host, agents, whole)
	before, cpu := w.host.Counters()["watches.bytes"], cpuTime()
	n := 0
	for b.Loop() {
		switch {
		case what == "check":
			apply(instance(2500, []string{"warning", "passing"}[n%2]))
		case n%2 == 0:
			apply(instance(-1, "passing"))
		default:
			apply(&catalog.Deregister{Node: "node-02500-b"})
		}
		n++
		for range agents {
			<-heard
		}
	}
	b.ReportMetric(float64(w.host.Counters()["watches.bytes"]-before)/float64(n*agents), "wire-B")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(n), "cpu-µs")
}

// instance registers one with its node and a check; -1 is one amid the others.
func instance(i int, status string) room.Command {
	node := fmt.Sprintf("node-%05d", i)
	if i < 0 {
		node = "node-02500-b"
	}
	address := fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)
	return &catalog.Register{Row: &catalog.Node{ID: fmt.Sprintf("5f3c2a10-0000-4000-8000-%012d", max(i, 0)), Node: node, Address: address, Datacenter: "dc1"},
		Service: &catalog.Service{Node: node, ID: "web-1", Service: "web", Tags: []string{"v1", "blue"}, Address: address, Port: 8080,
			Weights: catalog.Weights{Passing: 1, Warning: 1}},
		Checks: []*catalog.Check{{Node: node, CheckID: "service:web-1", Name: "Service 'web' check", Status: status, Output: "HTTP GET: 200 OK",
			ServiceID: "web-1", ServiceName: "web", ServiceTags: []string{"v1", "blue"}, Type: "http", Interval: "10s"}}}
}

// subscribed returns what tells of each answer that one of the agents has got; the first ones have come.
func subscribed(b *testing.B, types *relay.Types, host *relay.Host, agents int, whole bool) <-chan struct{} {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port, err := rpc.New(rpc.Options{Listener: listener, Handler: host})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = port.Run(ctx) })
	b.Cleanup(func() { stop(); running.Wait() })
	heard := make(chan struct{}, agents)
	for range agents {
		own, err := rpc.New(rpc.Options{})
		if err != nil {
			b.Fatal(err)
		}
		running.Go(func() { _ = own.Run(ctx) })
		clients := relay.NewClients(types, &lineUp{own, whole}, time.Second)
		subs, err := clients.To(rpc.Target{Address: listener.Addr().String()}).Watch(ctx)
		if err == nil {
			_, err = subs.Subscribe(health.ServiceQuery{Service: "web"}, room.Options{}, 0, "")
		}
		if err != nil {
			b.Fatal(err)
		}
		running.Go(func() {
			for {
				n, err := subs.Next()
				if err != nil {
					return
				}
				if n.ID != 0 {
					heard <- struct{}{}
				}
			}
		})
	}
	for range agents {
		<-heard
	}
	return heard
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
