package main

import (
	"fmt"
	"net"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/miekg/dns"
)

// lookups are those of one kind, one after the other: how many there were, which failed, and the longest.
type lookups struct {
	name   string
	once   func() error
	n      int
	failed []string
	pause  time.Duration
}

func (l *lookups) until(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
		began := time.Now()
		err := l.once()
		l.n++
		l.pause = max(l.pause, time.Since(began))
		if err != nil {
			l.failed = append(l.failed, fmt.Sprintf("number %d after %v: %v", l.n, time.Since(began), err))
		}
	}
}

// digA asks an agent for the addresses of a name.
func digA(server, name string) ([]string, error) {
	q := new(dns.Msg).SetQuestion(name, dns.TypeA)
	r, _, err := (&dns.Client{Timeout: 5 * time.Second}).Exchange(q, server)
	if err != nil {
		return nil, err
	}
	if r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("%s", dns.RcodeToString[r.Rcode])
	}
	var list []string
	for _, rr := range r.Answer {
		list = append(list, rr.(*dns.A).A.String())
	}
	slices.Sort(list)
	return list, nil
}

// site serves a web page on a machine and registers it at its agent with an HTTP check.
func site(t *testing.T, m *machine) *httptest.Server {
	t.Helper()
	l, err := net.Listen("tcp", m.ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := serveOn(l)
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	n, _ := strconv.Atoi(port)
	err = m.client(t).Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: n,
		Check: &api.AgentServiceCheck{HTTP: s.URL, Interval: "1s", Timeout: "5s"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// healthy looks for the healthy instances of web and expects n of them.
func healthy(t *testing.T, m *machine, o api.QueryOptions, n int) error {
	list, _, err := m.client(t).Health().Service("web", "", true, &o)
	if err == nil && len(list) != n {
		err = fmt.Errorf("%d of %d", len(list), n)
	}
	return err
}

// TestClusterJob is the main job across machines: three servers, two client agents, a web server on each of these. It is
// found by DNS and HTTP the whole time, also while the leader is killed amid writes, and the next one stopped; then one web
// server goes, and comes back, and in the end all servers are gone and what was known still is.
func TestClusterJob(t *testing.T) {
	c := startCluster(t, 3, 2)
	c1, c2 := c.byName("c1"), c.byName("c2")
	site(t, c1)
	second := site(t, c2)
	both := []string{c1.ip, c2.ip}
	slices.Sort(both)
	found := func(m *machine, want []string) func() error {
		return func() error {
			got, err := digA(m.DNS, "web.service.consul.")
			if err == nil && !slices.Equal(got, want) {
				err = fmt.Errorf("%v", got)
			}
			return err
		}
	}
	for _, m := range c.members {
		await(t, "web in DNS at "+m.node, found(m, both))
	}
	looks := []*lookups{
		{name: "DNS at c1", once: found(c1, both)},
		{name: "DNS at c2", once: found(c2, both)},
		{name: "stale reads at c1", once: func() error { return healthy(t, c1, api.QueryOptions{AllowStale: true}, 2) }},
		{name: "cached reads at c2", once: func() error { return healthy(t, c2, api.QueryOptions{UseCache: true}, 2) }},
		{name: "default reads at c1", once: func() error { return healthy(t, c1, api.QueryOptions{}, 2) }},
		{name: "consistent reads at c2", once: func() error { return healthy(t, c2, api.QueryOptions{RequireConsistent: true}, 2) }},
		{name: "writes at c1", once: func() error {
			_, err := c1.client(t).KV().Put(&api.KVPair{Key: "job", Value: make([]byte, 100)}, nil)
			return err
		}},
	}
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for _, l := range looks {
		wait.Go(func() { l.until(stop) })
	}
	leader := c.awaitLeader(c.members...)
	c.kill(leader)
	others := slices.DeleteFunc(slices.Clone(c.members), func(m *machine) bool { return m == leader })
	c.awaitLeader(others...)
	await(t, "the killed leader among the failed", func() error { return hasMember(c1, leader.node, "failed") })
	c.start(leader)
	await(t, "the killed leader among the living", func() error { return hasMember(c2, leader.node, "alive") })
	leader = c.awaitLeader(c.members...)
	if code := leader.stop(t, syscall.SIGTERM); code != 1 {
		t.Errorf("a leader that is told to stop ends with %d", code)
	}
	if strings.Contains(leader.log.String(), "cannot hand leadership over") {
		t.Error("it leaves the others to an election")
	}
	c.start(leader)
	c.awaitLeader(c.members...)
	close(stop)
	wait.Wait()
	for i, l := range looks {
		t.Logf("%s: %d, longest %v, failed %v", l.name, l.n, l.pause, l.failed)
		// Reads by the leader may fail if a slow machine takes longer to elect than they wait, and a write that the killed
		// leader had in its hands is nobody's to repeat but the client's.
		if len(l.failed) > 0 && (i < 4 || i < 6 && l.pause < 5*time.Second) || i == 6 && len(l.failed) > 2 {
			t.Errorf("%s failed", l.name)
		}
	}

	second.Close()
	await(t, "one web server in DNS", found(c1, []string{c1.ip}))
	site(t, c2)
	await(t, "both in DNS", found(c1, both))
	for _, i := range []int{0, 2, 3} {
		await(t, "both at every agent", looks[i].once)
	}
	for _, m := range c.members[:3] {
		c.kill(m)
	}
	for what, once := range map[string]func() error{"DNS": looks[0].once, "a stale read": looks[2].once, "a cached read": looks[3].once} {
		if err := once(); err != nil {
			t.Errorf("%s without servers: %v", what, err)
		}
	}
	_, meta, err := c1.client(t).Health().Service("web", "", true, &api.QueryOptions{AllowStale: true})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the age of what is known", func() error {
		_, m, err := c1.client(t).Health().Service("web", "", true, &api.QueryOptions{AllowStale: true})
		if err == nil && (m.KnownLeader || m.LastContact <= meta.LastContact) {
			err = fmt.Errorf("%+v", m)
		}
		return err
	})
	// Which it is depends on whether gossip has noticed that no server lives.
	if err := looks[4].once(); err == nil || !strings.Contains(err.Error(), "500 (No cluster leader)") &&
		!strings.Contains(err.Error(), "500 (No known Consul servers)") {
		t.Errorf("a default read without servers: %v", err)
	}
}

// hasMember looks for a member with a status as an operator does.
func hasMember(at *machine, node, status string) error {
	out, err := exec.Command("rostra", "members", "-http-addr="+at.HTTP, "-status=^"+status+"$").CombinedOutput()
	if !strings.Contains(string(out), "\n"+node+" ") {
		err = fmt.Errorf("%v: %s", err, out)
		return err
	}
	return nil
}
