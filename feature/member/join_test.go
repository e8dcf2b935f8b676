package member

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rostra/engine/gossip"
)

// lines collects a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// pool opens a pool on a socket of its own and closes it with the test.
func pool(t *testing.T, name string, port int) *gossip.Pool {
	t.Helper()
	return poolAt(t, name, port, gossip.Timing{LeaveDelay: time.Millisecond})
}

// poolAt opens one with a clockwork of its own.
func poolAt(t *testing.T, name string, port int, timing gossip.Timing) *gossip.Pool {
	t.Helper()
	p, err := gossip.Open(gossip.Options{Name: name, BindAddr: "127.0.0.1", BindPort: port, Dev: true, Timing: timing, Tags: map[string]string{"id": name, "dc": "dc1", "role": "consul"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func addr(p *gossip.Pool) string { return fmt.Sprintf("%s:%d", p.Local().Addr, p.Local().Port) }

func newTestJoiner(p *gossip.Pool, l *lines, list ...string) *joiner {
	return &joiner{pool: p, name: "LAN", key: "retry_join", list: list, interval: time.Millisecond, log: l.logger(), lookup: lookup, run: runProgram}
}

// script writes a program.
func script(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited too long for: %s", what)
		}
	}
}

func TestParseEntry(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1": "", "10.0.0.1:8301": "", "consul.example.com": "", "consul.example.com:1": "", "fd00::1": "", "[fd00::1]:8301": "",
		"[fd00::1]": "", "exec=/bin/peers --all": "",
		"":                       `"" is no address`,
		"a b":                    `"a b" is no address`,
		"a:0":                    `"a:0" is no address`,
		"a:70000":                `"a:70000" is no address`,
		"http://a":               `"http://a" is no address`,
		"a/b":                    `"a/b" is no address`,
		"exec=":                  "names no program",
		"provider=aws tag_key=a": `asks the cloud provider "aws" for addresses`,
		"tag_key=a provider=gce": "exec=/path/to/program",
	} {
		_, err := parseEntry(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", text, err)
		}
		key := (&Settings{Join: []string{text}, Interval: 1, IntervalWAN: 1}).Check()
		if (key == nil) != (err == nil) || key != nil && !strings.HasPrefix(key.Error(), "retry_join: ") {
			t.Errorf("%q: Check = %v", text, key)
		}
	}
	if err := (&Settings{Interval: 1}).Check(); err == nil || !strings.HasPrefix(err.Error(), "retry_interval_wan: ") {
		t.Errorf("no pause: %v", err)
	}
}

func FuzzHostPort(f *testing.F) {
	for _, s := range []string{"a", "a:1", "[::1]:2", "::1", "[::1]", "::1%00", "[fe80::1%lo]:1", ":", "a:b:c", "[a]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, err := hostPort(s, 8301)
		if err == nil && (host == "" || port < 1 || port > 65535) {
			t.Errorf("%q: %q %d", s, host, port)
		}
		if again, p, err2 := hostPort(net.JoinHostPort(host, fmt.Sprint(port)), 1); err == nil && (err2 != nil || again != host || p != port) {
			t.Errorf("%q: %q %d, then %q %d %v", s, host, port, again, p, err2)
		}
	})
}

// TestJoinerWaitsForOthers: whoever is asked is not there yet; the joiner goes on and stops at the first success.
func TestJoinerWaitsForOthers(t *testing.T) {
	a, late := pool(t, "a", 0), pool(t, "late", 0)
	where := addr(late)
	port := int(late.Local().Port)
	if err := late.Close(); err != nil {
		t.Fatal(err)
	}
	var l lines
	j := newTestJoiner(a, &l, where, "127.0.0.1:1")
	done := make(chan error, 1)
	go func() { done <- j.Run(t.Context()) }()
	eventually(t, "some attempts", func() bool { return l.count("Join cluster failed, will retry") > 2 })
	pool(t, "b", port)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if l.count("Join cluster completed. Synced with 1 initial agents") != 1 || l.count("connection refused") == 0 {
		t.Errorf("log: %s", l.buf.String())
	}
	eventually(t, "a knows b", func() bool { return len(a.Members()) == 2 })
}

// TestJoinerNames: a name stands for all its IPs and is looked up at every attempt; this agent itself is none to join.
func TestJoinerNames(t *testing.T) {
	a, b, c := pool(t, "a", 0), pool(t, "b", 0), pool(t, "c", 0)
	var l lines
	j := newTestJoiner(a, &l, fmt.Sprintf("peers:%d", a.Local().Port), fmt.Sprintf("b:%d", b.Local().Port), fmt.Sprintf("c:%d", c.Local().Port))
	asked := map[string]int{}
	j.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		if asked[host]++; asked[host] < 3 && host != "peers" {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::ffff:127.0.0.1")}, nil
	}
	if err := j.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if asked["b"] != 3 || l.count("cannot resolve b: no such host") != 2 || l.count("Synced with 2 initial agents") != 1 {
		t.Errorf("asked %v, logged %s", asked, l.buf.String())
	}
}

// TestJoinerAlone: the first agent of a cluster finds itself only. That is no failed attempt, and over once others came.
func TestJoinerAlone(t *testing.T) {
	a, b := pool(t, "a", 0), pool(t, "b", 0)
	var l lines
	j := newTestJoiner(a, &l, addr(a))
	j.max = 1
	done := make(chan error, 1)
	go func() { done <- j.Run(t.Context()) }()
	eventually(t, "some attempts", func() bool { return l.count("waiting for others") > 2 })
	if _, err := b.Join(t.Context(), []string{addr(a)}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestJoinerMeetsItself: an agent that listens on all addresses may reach itself at one that it does not advertise.
func TestJoinerMeetsItself(t *testing.T) {
	a, err := gossip.Open(gossip.Options{Name: "a", BindAddr: "0.0.0.0", AdvertiseAddr: "127.0.0.1", Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	var l lines
	done := make(chan error, 1)
	j := newTestJoiner(a, &l, fmt.Sprintf("127.0.0.2:%d", a.Local().Port))
	go func() { done <- j.Run(t.Context()) }()
	eventually(t, "some attempts", func() bool { return l.count("waiting for others") > 2 })
	if _, err := pool(t, "b", 0).Join(t.Context(), []string{addr(a)}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestJoinerGivesUp(t *testing.T) {
	var l lines
	j := newTestJoiner(pool(t, "a", 0), &l, "127.0.0.1:1", "exec=/no/such/program")
	j.max = 3
	err := j.Run(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "cannot join the LAN pool: gave up after 3 attempts (retry_max): tried 127.0.0.1:1, exec=/no/such/program: ") ||
		!strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "no such file") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Run = %v", err)
	}
	if l.count("will retry") != 2 {
		t.Errorf("log: %s", l.buf.String())
	}
	err = (&joiner{name: "WAN", key: "retry_join_wan", list: []string{"a"}}).Run(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "retry_join_wan: only servers") {
		t.Errorf("without a pool: %v", err)
	}
}

// TestJoinerEnds: an agent that stops does not wait for a machine that does not answer.
func TestJoinerEnds(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p, err := gossip.Open(gossip.Options{Name: "a", BindAddr: "127.0.0.1", Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- newTestJoiner(p, &lines{}, silent.Addr().String()).Run(ctx) }()
	c, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// TestJoinerLeaves: an agent that leaves before it has joined gives up at once, and does not say every interval that it cannot.
func TestJoinerLeaves(t *testing.T) {
	p := pool(t, "a", 0)
	var l lines
	done := make(chan error, 1)
	go func() { done <- newTestJoiner(p, &l, "127.0.0.1:1").Run(t.Context()) }()
	eventually(t, "an attempt", func() bool { return l.count("Join cluster failed, will retry") > 0 })
	if err := p.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || l.count("after Leave") > 0 {
		t.Errorf("%v, log: %s", err, l.buf.String())
	}
}

func TestJoinByProgram(t *testing.T) {
	a, b, c := pool(t, "a", 0), pool(t, "b", 0), pool(t, "c", 0)
	var l lines
	j := newTestJoiner(a, &l, "exec="+script(t, `echo "$1, $2"; echo`)+" "+addr(b)+" "+addr(c))
	if err := j.Run(t.Context()); err != nil || l.count("Synced with 2 initial agents") != 1 {
		t.Errorf("%v, log %s", err, l.buf.String())
	}
	for text, want := range map[string]string{
		"echo 'not an address:x'":    "is no address",
		"true":                       "it printed no address",
		"echo no rights >&2; exit 3": "the program failed: exit status 3: no rights",
		"head -c 100000 /dev/zero":   "the program printed more than 65536 bytes",
	} {
		found, err := newTestJoiner(a, &l, "exec="+script(t, text)).find(t.Context())
		if len(found) != 0 || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", text, found, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if _, err := runProgram(ctx, []string{script(t, "exec cat")}); err == nil || !strings.Contains(err.Error(), "took longer than") {
		t.Errorf("a slow program: %v", err)
	}
}
