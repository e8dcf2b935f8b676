package gossip

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	"rostra/kit/notice"
	"rostra/kit/simnet"
)

// lab is a network in a bubble whose pools are closed at the end.
type lab struct {
	t     *testing.T
	net   *simnet.Net
	pools []*Pool
	logs  map[*Pool]*lines
}

func inLab(t *testing.T, run func(l *lab)) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, net: simnet.New(1), logs: map[*Pool]*lines{}}
		run(l)
		for _, p := range l.pools {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(10 * time.Second)
	})
}

// open starts a member named name with the ID at an address of the lab.
func (l *lab) open(name, id, ip string, change func(*Options)) *Pool {
	l.t.Helper()
	log := &lines{}
	p := inBubble(l.t, name, l.net.Host(ip), func(o *Options) {
		o.Tags = map[string]string{"id": id, "dc": "dc1"}
		o.Logger = log.logger()
		o.Accept = func(m Member) error {
			if m.Tags["dc"] != "dc1" {
				return fmt.Errorf("Member '%s' part of wrong datacenter '%s'", m.Name, m.Tags["dc"])
			}
			return nil
		}
		if change != nil {
			change(o)
		}
	})
	l.pools, l.logs[p] = append(l.pools, p), log
	return p
}

// refused joins from to to and expects both sides to say why not.
func (l *lab) refused(from, to *Pool, words ...string) {
	l.t.Helper()
	n, err := from.Join(context.Background(), []string{to.Local().Addr})
	if n != 0 || err == nil {
		l.t.Fatalf("%s joined %s: %d, %v", from.name, to.name, n, err)
	}
	synctest.Wait()
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			l.t.Errorf("the joining side is told %q, without %q", err, w)
		}
		if log := l.logs[to]; !log.has(w) {
			l.t.Errorf("the other side does not log %q:\n%s", w, log.text())
		}
	}
}

func (l *lab) join(from, to *Pool) {
	l.t.Helper()
	if n, err := from.Join(context.Background(), []string{to.Local().Addr}); n != 1 || err != nil {
		l.t.Fatalf("%s cannot join %s: %v", from.name, to.name, err)
	}
	time.Sleep(5 * time.Second)
}

func TestWrongDatacenter(t *testing.T) {
	inLab(t, func(l *lab) {
		a := l.open("a", "1", "10.0.0.1", nil)
		b := l.open("b", "2", "10.0.0.2", func(o *Options) {
			o.Tags["dc"] = "dc2"
			o.Accept = func(m Member) error {
				if m.Tags["dc"] != "dc2" {
					return fmt.Errorf("Member '%s' part of wrong datacenter '%s'", m.Name, m.Tags["dc"])
				}
				return nil
			}
		})
		l.refused(b, a, "part of wrong datacenter")
		if a.Counters()["refused.member"] == 0 || b.Counters()["refused.member"] == 0 {
			t.Errorf("counters %v and %v", a.Counters(), b.Counters())
		}
		// One that lies to itself about it is heard by the other, and not believed.
		c := l.open("c", "3", "10.0.0.3", func(o *Options) { o.Tags["dc"], o.Accept = "dc2", nil })
		if _, err := c.Join(context.Background(), []string{"10.0.0.1"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if show(a) != "a=alive" {
			t.Errorf("a sees %s", show(a))
		}
		if n := strings.Count(l.logs[a].text(), "peer=10.0.0.3:8301"); n < 1 || n > 4 {
			t.Errorf("logged %d times in two minutes", n)
		}
	})
}

func TestConflicts(t *testing.T) {
	for _, c := range []struct {
		what, name, id string
		words          []string
	}{
		{"another node's ID", "c", "1", []string{"Member 'c' at 10.0.0.3:8301 has conflicting node ID '1'", "'a' at 10.0.0.1:8301"}},
		{"another node's name", "a", "9", []string{"Member 'a' at 10.0.0.3:8301 has conflicting node ID '9'", "10.0.0.1:8301 with node ID '1'"}},
		{"a clone", "a", "1", []string{"Member 'a' at 10.0.0.3:8301 has both name and node ID '1'", "10.0.0.1:8301"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			inLab(t, func(l *lab) {
				a, b := l.open("a", "1", "10.0.0.1", nil), l.open("b", "2", "10.0.0.2", nil)
				l.join(b, a)
				x := l.open(c.name, c.id, "10.0.0.3", nil)
				for _, to := range []*Pool{a, b} { // the one it is confused with, and one that only knows that one
					if n, err := x.Join(context.Background(), []string{to.Local().Addr}); n != 0 || err == nil || !strings.Contains(err.Error(), "10.0.0.1:8301") ||
						!strings.Contains(err.Error(), "10.0.0.3:8301") {
						t.Errorf("Join = %d, %v", n, err)
					}
					synctest.Wait()
					for _, w := range c.words {
						if !l.logs[to].has(w) {
							t.Errorf("%s does not log %q:\n%s", to.name, w, l.logs[to].text())
						}
					}
					if to.Counters()["refused.identity"] == 0 {
						t.Errorf("%s counted %v", to.name, to.Counters())
					}
				}
				time.Sleep(2 * time.Minute)
				if want := "a=alive b=alive"; show(a) != want || show(b) != want || a.Members()[0].Addr != "10.0.0.1" || b.Members()[0].Addr != "10.0.0.1" {
					t.Errorf("a sees %s, b %s", show(a), show(b))
				}
			})
		})
	}
}

// TestTakeover: a machine that was reinstalled, or moved, or renamed, has the place of the one that is no more.
func TestTakeover(t *testing.T) {
	for _, c := range []struct {
		what, name, id, ip string
		wait               time.Duration
	}{
		{"reinstalled at the same address", "b", "9", "10.0.0.2", 0},
		{"renamed at the same address", "c", "2", "10.0.0.2", 0},
		{"reinstalled elsewhere", "b", "9", "10.0.0.3", time.Minute},
		{"moved", "b", "2", "10.0.0.3", time.Minute},
		{"renamed and moved", "c", "2", "10.0.0.3", time.Minute},
	} {
		t.Run(c.what, func(t *testing.T) {
			inLab(t, func(l *lab) {
				a := l.open("a", "1", "10.0.0.1", nil)
				b := l.open("b", "2", "10.0.0.2", nil)
				l.join(b, a)
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(c.wait)
				x := l.open(c.name, c.id, c.ip, nil)
				if n, err := x.Join(context.Background(), []string{"10.0.0.1"}); n != 1 || err != nil {
					t.Fatalf("Join = %d, %v", n, err)
				}
				time.Sleep(time.Minute)
				for _, m := range a.Members() {
					if m.Name == c.name && (m.Status != StatusAlive || m.Addr != c.ip || m.Tags["id"] != c.id) {
						t.Errorf("a sees %+v", m)
					}
				}
				if !strings.Contains(show(a), c.name+"=alive") {
					t.Errorf("a sees %s", show(a))
				}
			})
		})
	}
}

// TestMovedAtOnce: a machine that comes back with another address before the others have missed it is let in once they have.
func TestMovedAtOnce(t *testing.T) {
	inLab(t, func(l *lab) {
		a, b, c := l.open("a", "1", "10.0.0.1", nil), l.open("b", "2", "10.0.0.2", nil), l.open("c", "3", "10.0.0.3", nil)
		l.join(b, a)
		l.join(c, a)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		x := l.open("b", "2", "10.0.0.9", nil)
		tries := 1
		for ; tries < 5; tries++ {
			if n, _ := x.Join(context.Background(), []string{"10.0.0.1"}); n == 1 {
				break
			}
			time.Sleep(30 * time.Second)
		}
		if tries != 2 {
			t.Errorf("let in at attempt %d, not when the old address was known to have failed", tries)
		}
		time.Sleep(2 * time.Minute)
		for _, p := range []*Pool{a, c, x} {
			if show(p) != "a=alive b=alive c=alive" || p.Members()[1].Addr != "10.0.0.9" {
				t.Errorf("after %d attempts %s sees %s, %+v", tries, p.name, show(p), p.Members()[1])
			}
		}
	})
}

// TestAllMovedAtOnce: all servers come back with other addresses before the others have missed them, on their old disks or
// reinstalled. They knock once, as Serf does at a start, and are refused; nobody else knows where they are now.
func TestAllMovedAtOnce(t *testing.T) {
	for _, c := range []struct{ what, id, text string }{
		{"on their disks", "id", "if the agent has moved"}, {"reinstalled", "new", "wait until the old one has failed"},
	} {
		t.Run(c.what, func(t *testing.T) {
			inLab(t, func(l *lab) {
				client := l.open("client", "1", "10.0.0.1", nil)
				var old, moved []*Pool
				for i := range 3 {
					p := l.open(fmt.Sprint("s", i), fmt.Sprint("id", i), fmt.Sprint("10.0.0.", i+2), nil)
					l.join(p, client)
					old = append(old, p)
				}
				for _, p := range old {
					if err := p.Close(); err != nil {
						t.Fatal(err)
					}
				}
				for i := range old {
					p := l.open(fmt.Sprint("s", i), fmt.Sprint(c.id, i), fmt.Sprint("10.0.1.", i+2), nil)
					l.refused(p, client, c.text)
					if i > 0 {
						l.join(p, moved[0])
					}
					moved = append(moved, p)
				}
				time.Sleep(2 * time.Minute)
				for _, p := range append(moved, client) {
					if show(p) != "client=alive s0=alive s1=alive s2=alive" || p.Members()[2].Addr != "10.0.1.3" {
						t.Errorf("%s sees %s, %+v", p.name, show(p), p.Members()[2])
					}
				}
			})
		})
	}
}

func TestNetworks(t *testing.T) {
	inLab(t, func(l *lab) {
		_, only, _ := net.ParseCIDR("10.0.0.0/30")
		a := l.open("a", "1", "10.0.0.1", func(o *Options) { o.Networks = []net.IPNet{*only} })
		b, c := l.open("b", "2", "10.0.0.2", nil), l.open("c", "3", "10.0.9.9", nil)
		l.join(b, a)
		l.join(c, a)
		time.Sleep(2 * time.Minute)
		if show(a) != "a=alive b=alive" {
			t.Errorf("a sees %s", show(a))
		}
		if a.Counters()["refused.network"] == 0 || !l.logs[a].has("none of the allowed networks") {
			t.Errorf("counted %v, logged %s", a.Counters(), l.logs[a].text())
		}
	})
}

func TestReconnectTag(t *testing.T) {
	inLab(t, func(l *lab) {
		a := l.open("a", "1", "10.0.0.1", nil)
		b := l.open("b", "2", "10.0.0.2", func(o *Options) { o.Tags["rc_tm"] = "2m" })
		l.join(b, a)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if show(a) != "a=alive b=failed" {
			t.Errorf("after a minute a sees %s", show(a))
		}
		time.Sleep(3 * time.Minute)
		if show(a) != "a=alive" {
			t.Errorf("after four minutes a sees %s", show(a))
		}
	})
}

func TestSync(t *testing.T) {
	inLab(t, func(l *lab) {
		if got := l.open("a", "1", "10.0.0.1", nil).Sync(); got != 30*time.Second {
			t.Errorf("Sync = %v", got)
		}
	})
}

// TestTally: garbage is counted each time and told once a minute for each peer, whatever number of peers there is.
func TestTally(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lines
		w := &lineWriter{log: l.logger(), tally: newTally(l.logger())}
		say := func(peer string) {
			fmt.Fprintf(w, "[ERR] memberlist: msg type (99) not supported from=%s\n", peer)
		}
		count := func() int { l.mu.Lock(); defer l.mu.Unlock(); return bytes.Count(l.buf.Bytes(), []byte("\n")) }
		for range 1000 {
			say("10.0.0.1:5000")
			say("10.0.0.2:5001")
		}
		if count() != 2 || w.tally.counters()["garbage"] != 2000 {
			t.Errorf("%d lines, %v", count(), w.tally.counters())
		}
		time.Sleep(time.Minute)
		say("10.0.0.1:6000") // another port of the same machine
		if count() != 3 || !l.has("unlogged=999") || !l.has("peer=10.0.0.1") {
			t.Errorf("%d lines: %s", count(), l.text())
		}
		for i := range 100_000 {
			say(fmt.Sprintf("10.1.%d.%d:1", i/256%256, i%256))
		}
		if n := count(); n > notice.Most+4 {
			t.Errorf("%d lines for 65536 peers", n)
		}
		fmt.Fprint(w, "[ERR] memberlist: something else\n")
		if !l.has("something else") {
			t.Error("an ordinary line is lost")
		}
	})
}

func TestSigns(t *testing.T) {
	for line, want := range map[string]string{
		"[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=10.0.0.9:8301":          "refused.key",
		"[ERR] memberlist: Decrypt packet failed: unsupported encryption version 33 from=10.0.0.9:8301":                    "garbage",
		"[ERR] memberlist: failed to receive: encryption is configured but remote state is not encrypted from=10.0.0.9:41": "refused.key",
		"[ERR] memberlist: Received invalid msgType (71) from=10.0.0.9:41":                                                 "garbage",
		"[WARN] memberlist: Rejected node x (10.0.9.9): 10.0.9.9 is not allowed":                                           "refused.network",
		"[ERR] memberlist: Conflicting address for a. Mine: 10.0.0.1:8301 Theirs: 10.0.0.3:8301 Old state: 0":              "refused.identity",
		"[WARN] memberlist: handler queue full, dropping message (4) from=10.0.0.9:8301":                                   "dropped",
		"[WARN] serf: received old event deploy from time 3 (current: 4000)":                                               "replayed",
		"[WARN] memberlist: ignoring alive message for 'c': Member 'c' part of wrong datacenter 'dc2'":                     "",
		"[ERR] memberlist: Failed push/pull merge: Member 'c' part of wrong datacenter 'dc2' from=10.0.0.9:41":             "",
		"[ERR] memberlist: Failed push/pull merge: Node 'c' protocol version (9) is incompatible: [1, 5] from=10.0.0.9:41": "refused.member",
	} {
		var l lines
		w := &lineWriter{log: l.logger(), tally: newTally(l.logger())}
		fmt.Fprintln(w, line)
		got := w.tally.counters()
		if want == "" && len(got)+l.buf.Len() != 0 || want != "" && (got[want] != 1 || len(got) != 1) {
			t.Errorf("%s: counted %v, logged %s", line, got, l.text())
		}
		if strings.Contains(line, "from=10") && want != "" && !l.has("peer=10.0.0.9 ") {
			t.Errorf("%s: logged %s", line, l.text())
		}
		if strings.Contains(line, "Conflicting") && !(l.has("peer=10.0.0.3 ") && l.has("'a' was at 10.0.0.1:8301 and claims to be at 10.0.0.3:8301: the name of "+
			"a member that has failed is free for another address 30s later")) {
			t.Errorf("%s: logged %s", line, l.text())
		}
	}
}

func TestMalformedMembers(t *testing.T) {
	r := newRules(&Options{Name: "a"}, "10.0.0.1:8301", newTally((&lines{}).logger()))
	for _, n := range []memberlist.Node{
		{Name: "b", Addr: net.IP{1, 2, 3}},
		{Name: "b", Addr: net.IP{10, 0, 0, 2}, Meta: make([]byte, 600)},
		{Name: "b", Addr: net.IP{10, 0, 0, 2}, Meta: []byte{tagMagic, 0xde, 0xff, 0xff}},
		{Name: "b", Addr: net.IP{10, 0, 0, 2}, Meta: []byte{tagMagic, 'x'}},
	} {
		if err := r.NotifyAlive(&n); err == nil {
			t.Errorf("%v is taken", n)
		}
	}
	if n := r.tally.counters()["garbage"]; n != 4 {
		t.Errorf("%d counted", n)
	}
}

func FuzzReadTags(f *testing.F) {
	f.Add([]byte{tagMagic, 0x81, 0xa2, 'i', 'd', 0xa1, '1'})
	f.Add([]byte{tagMagic, 0x81, 0xc4, 2, 'i', 'd', 0xda, 0, 1, '1'})
	f.Add([]byte("consul"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if tags, err := readTags(b); err == nil && len(tags) > len(b) {
			t.Errorf("%d tags of %d bytes", len(tags), len(b))
		}
	})
}
