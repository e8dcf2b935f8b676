package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	mdns "github.com/miekg/dns"
)

// soak is an agent under the load of TestSoak.
type soak struct {
	t          *testing.T
	p          *process
	c          *api.Client
	conf, data string
	done       []atomic.Int64 // by job
}

// soakJob is one thing that is done again and again. n counts its goroutines, i how often this one did it.
type soakJob struct {
	name  string
	times int // goroutines
	pace  time.Duration
	do    func(ctx context.Context, s *soak, n, i int) error
}

var soakJobs = []soakJob{
	{"registrations", 2, 20 * time.Millisecond, soakRegister},
	{"checks that change", 1, 10 * time.Millisecond, soakFlap},
	{"reloads", 1, 1500 * time.Millisecond, soakReload},
	{"writes", 4, 10 * time.Millisecond, soakWrite},
	{"locks", 2, 100 * time.Millisecond, soakLock},
	{"blocking queries", 24, 0, soakWatch},
	{"questions", 4, 2 * time.Millisecond, soakAsk},
	{"events", 1, time.Second, soakEvent},
	{"backups", 1, 5 * time.Second, soakSave},
}

// newSoak starts an agent with a service whose script check and one whose HTTP check change all the time.
func newSoak(t *testing.T, dir string) *soak {
	var asked atomic.Int64
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1)%2 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(web.Close)
	s := &soak{t: t, conf: filepath.Join(dir, "conf"), data: filepath.Join(dir, "data"), done: make([]atomic.Int64, len(soakJobs))}
	if err := os.Mkdir(s.conf, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(s.conf, "a.json"), fmt.Sprintf(`{"log_level": "WARN", "services": [
		{"name": "script", "port": 1, "check": {"args": ["sh", "-c", "exit $(($(date +%%s) %% 2))"], "interval": "1s"}},
		{"name": "http", "port": 2, "check": {"http": %q, "interval": "200ms"}}]}`, web.URL))
	s.p = startAgent(t, "-server", "-bootstrap-expect=1", "-data-dir="+s.data, "-config-dir="+s.conf)
	s.c = s.p.client(t)
	for n := range 10 {
		err := s.c.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "flap", ID: fmt.Sprint("flap-", n), Port: n + 1,
			Check: &api.AgentServiceCheck{TTL: "1h", Status: "passing"}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// work does a job until its time is over. What fails ends the test.
func (s *soak) work(ctx context.Context, stop func(), j *soakJob, n int) {
	at := 0
	for i := range soakJobs {
		if soakJobs[i].name == j.name {
			at = i
		}
	}
	for i := 0; ctx.Err() == nil; i++ {
		err := j.do(ctx, s, n, i)
		end, bounded := ctx.Deadline() // a dialler takes it over, and may find that it has passed before ctx says so
		if err != nil && ctx.Err() == nil && !(bounded && time.Now().After(end)) {
			s.t.Errorf("%s, number %d: %v", j.name, i, err)
			stop()
			return
		}
		s.done[at].Add(1)
		select {
		case <-ctx.Done():
		case <-time.After(j.pace):
		}
	}
}

func (s *soak) report(t *testing.T) {
	for i, j := range soakJobs {
		t.Logf("%s: %d", j.name, s.done[i].Load())
		if s.done[i].Load() == 0 {
			t.Errorf("%s: none", j.name)
		}
	}
}

// tidy takes away what the jobs left.
func (s *soak) tidy(t *testing.T) {
	services, err := s.c.Agent().Services()
	if err != nil {
		t.Fatal(err)
	}
	for id := range services {
		if strings.HasPrefix(id, "soak-") {
			if err := s.c.Agent().ServiceDeregister(id); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := s.c.KV().DeleteTree("", nil); err != nil {
		t.Error(err)
	}
}

func soakRegister(_ context.Context, s *soak, n, i int) error {
	id := func(i int) string { return fmt.Sprintf("soak-%d-%d", n, i) }
	const alive = 25
	err := s.c.Agent().ServiceRegister(&api.AgentServiceRegistration{ID: id(i), Name: fmt.Sprint("web", i%40), Port: 1 + i%1000, Tags: []string{fmt.Sprint("v", i)},
		Check: &api.AgentServiceCheck{TTL: "1h", Status: []string{"passing", "warning", "critical"}[i%3]}})
	if err == nil && i >= alive {
		err = s.c.Agent().ServiceDeregister(id(i - alive))
	}
	return err
}

func soakFlap(_ context.Context, s *soak, _, i int) error {
	return s.c.Agent().UpdateTTL(fmt.Sprint("service:flap-", i%10), fmt.Sprint("time ", i), []string{"pass", "warn", "fail"}[rand.IntN(3)])
}

// soakReload changes the configuration and hangs up; the port tells when it was obeyed.
func soakReload(ctx context.Context, s *soak, _, i int) error {
	writeFile(s.t, filepath.Join(s.conf, "b.json"), fmt.Sprintf(`{"services": [{"name": "reloaded", "port": %d, "check": {"ttl": "1h"}}, {"name": "also%d"}]}`, i%60000+1, i%5))
	if err := s.p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && ctx.Err() == nil; <-time.After(20 * time.Millisecond) {
		services, err := s.c.Agent().Services()
		if err != nil {
			return err
		}
		if r := services["reloaded"]; r != nil && r.Port == i%60000+1 {
			return nil
		}
	}
	return errors.New("the new configuration was not taken over")
}

func soakWrite(_ context.Context, s *soak, n, i int) error {
	kv := s.c.KV()
	p := &api.KVPair{Key: fmt.Sprintf("soak/%d/%d", n, i%500), Value: make([]byte, 1024)}
	copy(p.Value, fmt.Sprint(i))
	if _, err := kv.Put(p, nil); err != nil {
		return err
	}
	got, _, err := kv.Get(p.Key, nil)
	if err != nil || got == nil || string(got.Value) != string(p.Value) {
		return fmt.Errorf("read back: %v, %v", got, err)
	}
	switch i % 10 {
	case 3:
		got.Flags = uint64(i)
		if ok, _, err := kv.CAS(got, nil); err != nil || !ok {
			return fmt.Errorf("cas: %v, %v", ok, err)
		}
	case 5:
		_, err = kv.Delete(p.Key, nil)
	case 7:
		ok, _, _, txn := s.c.Txn().Txn(api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVSet, Key: p.Key, Value: []byte("1")}}, {KV: &api.KVTxnOp{Verb: api.KVGet, Key: p.Key}}}, nil)
		if err = txn; err == nil && !ok {
			err = errors.New("the transaction was refused")
		}
	case 9:
		if i%1000 == 999 {
			_, err = kv.DeleteTree(fmt.Sprintf("soak/%d/", n), nil)
		}
	}
	return err
}

func soakLock(_ context.Context, s *soak, n, i int) error {
	id, _, err := s.c.Session().Create(&api.SessionEntry{TTL: "30s", LockDelay: time.Millisecond, Behavior: []string{"release", "delete"}[i%2]}, nil)
	if err != nil {
		return err
	}
	if _, _, err := s.c.KV().Acquire(&api.KVPair{Key: fmt.Sprint("lock/", n), Session: id}, nil); err != nil {
		return err
	}
	if _, _, err := s.c.Session().Renew(id, nil); err != nil {
		return err
	}
	_, err = s.c.Session().Destroy(id, nil)
	return err
}

// soakWatch waits for a change of something. Every third client hangs up before, every third has a connection of its own.
func soakWatch(ctx context.Context, s *soak, n, i int) error {
	client := http.DefaultClient
	if i%3 == 0 {
		own := &http.Transport{DisableKeepAlives: true}
		client = &http.Client{Transport: own}
	}
	path := []string{"health/service/web%d?passing&", "kv/soak/%d/?recurse&", "catalog/services?x=%d&", "health/state/any?x=%d&",
		"kv/nothing/%d?", "session/list?x=%d&", "event/list?x=%d&", "catalog/service/flap?x=%d&stale&", "agent/services?x=%d&"}[(n+i)%9]
	index := []int{1, 1 << 40}[rand.IntN(2)]
	if strings.HasPrefix(path, "event") {
		index = 1
	}
	if rand.IntN(3) == 0 {
		short, stop := context.WithTimeout(ctx, time.Duration(rand.IntN(300))*time.Millisecond)
		defer stop()
		ctx = short
	}
	req, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("http://%s/v1/"+path+"index=%d&wait=%dms", s.p.HTTP, n%4, index, 100+rand.IntN(2000)), nil)
	if err != nil {
		return err
	}
	r, err := client.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
		r.Body.Close()
		if err == nil && r.StatusCode != http.StatusOK && r.StatusCode != http.StatusNotFound {
			return fmt.Errorf("%s: %s", path, r.Status)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || err != nil && ctx.Err() != nil {
		err = nil // it was to hang up
	}
	return err
}

// soakAsk asks DNS, sometimes for what is not there, sometimes over TCP.
func soakAsk(ctx context.Context, s *soak, _, i int) error {
	name := []string{fmt.Sprintf("web%d.service.consul.", rand.IntN(40)), "flap.service.consul.", "n1.node.consul.", "1.0.0.127.in-addr.arpa.",
		fmt.Sprintf("no-%x.service.consul.", rand.Uint64())}[i%5]
	m := new(mdns.Msg)
	m.SetQuestion(name, []uint16{mdns.TypeA, mdns.TypeSRV, mdns.TypeANY, mdns.TypePTR}[rand.IntN(4)])
	if i%2 == 0 {
		m.SetEdns0(1232, false)
	}
	client := mdns.Client{Timeout: 5 * time.Second}
	if i%20 == 0 {
		client.Net = "tcp"
	}
	r, _, err := client.ExchangeContext(ctx, m, s.p.DNS)
	var late net.Error
	switch {
	case errors.As(err, &late) && late.Timeout() && client.Net == "":
		return nil // a packet may be lost, and TestSoak says how many questions there were
	case err == nil && r.Rcode != mdns.RcodeSuccess && r.Rcode != mdns.RcodeNameError:
		err = fmt.Errorf("%s: %s", name, mdns.RcodeToString[r.Rcode])
	}
	return err
}

func soakEvent(_ context.Context, s *soak, _, i int) error {
	_, _, err := s.c.Event().Fire(&api.UserEvent{Name: fmt.Sprint("soak", i%10), Payload: []byte("x")}, nil)
	return err
}

func soakSave(_ context.Context, s *soak, _, _ int) error {
	r, _, err := s.c.Snapshot().Save(nil)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}
