package gossip

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"rostra/kit/fault"
)

func TestOneMember(t *testing.T) {
	p := open(t, "edge-7", nil)
	m := p.Local()
	if m.Addr != "127.0.0.1" || m.Port == 0 {
		t.Fatalf("Local = %+v", m)
	}
	m.Port = 8301
	got, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	golden := `{"Name":"edge-7","Addr":"127.0.0.1","Port":8301,"Tags":{"of":"edge-7","role":"consul"},"Status":1,` +
		`"ProtocolMin":1,"ProtocolMax":5,"ProtocolCur":2,"DelegateMin":2,"DelegateMax":5,"DelegateCur":4}`
	if string(got) != golden {
		t.Errorf("JSON\n%s, want\n%s", got, golden)
	}
	if show(p) != "edge-7=alive" || p.Encrypted() {
		t.Errorf("members %s, encrypted %v", show(p), p.Encrypted())
	}
	p.Members()[0].Tags["role"] = "changed"
	if p.Local().Tags["role"] != "consul" {
		t.Error("the caller's tags are the pool's")
	}
}

func TestStats(t *testing.T) {
	p := open(t, "a", nil)
	got := p.Stats()
	keys := slices.Sorted(maps.Keys(got))
	golden := "coordinate_resets encrypted event_queue event_time failed health_score intent_queue left member_time members query_queue query_time"
	if strings.Join(keys, " ") != golden {
		t.Errorf("keys %v", keys)
	}
	if got["members"] != "1" || got["failed"] != "0" || got["left"] != "0" || got["encrypted"] != "false" || got["event_time"] != "1" {
		t.Errorf("stats %v", got)
	}
}

func TestCoordinate(t *testing.T) {
	c, err := open(t, "a", nil).Coordinate()
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(c)
	if string(got) != `{"Vec":[0,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.00001}` {
		t.Errorf("coordinate %s", got)
	}
	off := open(t, "b", func(o *Options) { o.DisableCoordinates = true })
	if c, err := off.Coordinate(); c != nil || !errors.Is(err, ErrNoCoordinate) {
		t.Errorf("disabled: %v, %v", c, err)
	}
	if _, shown := off.Stats()["coordinate_resets"]; shown {
		t.Error("stats count the resets of no coordinate")
	}
}

func TestLeave(t *testing.T) {
	a, b := pair(t)
	events := follow(t, a)
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Leave(t.Context()); err != nil {
		t.Errorf("second Leave: %v", err)
	}
	want(t, events, Left, "b")
	if show(a) != "a=alive b=left" || a.Stats()["left"] != "1" {
		t.Errorf("a sees %s, %v", show(a), a.Stats())
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Join(context.Background(), []string{addr(a)}); err == nil {
		t.Error("a closed pool joins")
	}
}

func TestLeaveAndCloseTogether(t *testing.T) {
	a, b := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Leave(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Leave = %v", err)
	}
	if err := b.Close(); err != nil { // must wait: memberlist would panic
		t.Fatal(err)
	}
	eventually(t, "b left", func() bool { return show(a) == "a=alive b=left" })
	if err := open(t, "c", nil).closeThenLeave(t); err == nil {
		t.Error("a closed pool leaves")
	}
}

func (p *Pool) closeThenLeave(t *testing.T) error {
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return p.Leave(t.Context())
}

func TestFailureForceLeavePrune(t *testing.T) {
	a, b := pair(t)
	events := follow(t, a)
	if err := b.Close(); err != nil { // as a crash would
		t.Fatal(err)
	}
	want(t, events, Failed, "b")
	if show(a) != "a=alive b=failed" || a.Stats()["failed"] != "1" {
		t.Fatalf("a sees %s, %v", show(a), a.Stats())
	}
	if err := a.ForceLeave("b", false); err != nil {
		t.Fatal(err)
	}
	want(t, events, Left, "b")
	if show(a) != "a=alive b=left" {
		t.Fatalf("a sees %s", show(a))
	}
	if err := a.ForceLeave("b", true); err != nil {
		t.Fatal(err)
	}
	want(t, events, Reaped, "b")
	eventually(t, "b gone", func() bool { return show(a) == "a=alive" })
}

func TestForceLeaveAliveAndUnknown(t *testing.T) {
	a, b := pair(t)
	all := "a=alive b=alive"
	for _, name := range []string{"a", "b"} {
		if err := a.ForceLeave(name, false); err != nil || show(a) != all {
			t.Fatalf("a sees %s, %v", show(a), err)
		}
	}
	c := open(t, "c", nil)
	if _, err := c.Join(context.Background(), []string{addr(a)}); err != nil {
		t.Fatal(err)
	}
	all += " c=alive"
	same := func() bool { return show(a) == all && show(b) == all && show(c) == all }
	eventually(t, "three alive", func() bool { return same() && a.Stats()["member_time"] == c.Stats()["member_time"] })
	before := a.Stats()["member_time"]
	if err := a.ForceLeave("b", false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b alive again", func() bool { return same() && a.Stats()["member_time"] > before })
	err := a.ForceLeave("x", false)
	if err == nil || err.Error() != "agent: No node found with name 'x'" || fault.Status(err) != 500 {
		t.Errorf("unknown: %v", err)
	}
	if !same() {
		t.Errorf("a sees %s, b %s, c %s", show(a), show(b), show(c))
	}
}

func TestJoinFails(t *testing.T) {
	p := open(t, "a", nil)
	one := "* Failed to join 127.9.9.9:1: dial tcp 127.9.9.9:1: connect: connection refused"
	for _, c := range []struct {
		name, text string
		addrs      []string
	}{
		{"one", "1 error occurred:\n\t" + one + "\n\n", []string{"127.9.9.9:1"}},
		{"two", "2 errors occurred:\n\t" + one + "\n\t" + one + "\n\n", []string{"127.9.9.9:1", "127.9.9.9:1"}},
		{"percent", "1 error occurred:\n\t* Failed to resolve 127.0.0.1:%d: strconv.ParseUint: parsing \"%d\": invalid syntax\n\n", []string{"127.0.0.1:%d"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := p.Join(context.Background(), c.addrs)
			if n != 0 || err == nil || err.Error() != c.text || fault.Status(err) != 500 {
				t.Errorf("Join = %d, %q", n, err)
			}
		})
	}
	other := open(t, "b", nil)
	if n, err := p.Join(context.Background(), []string{"127.9.9.9:1", addr(other)}); n != 1 || err != nil {
		t.Errorf("one of two: %d, %v", n, err)
	}
}

func TestSetTagsAndUserEvent(t *testing.T) {
	a, b := pair(t)
	events := follow(t, a)
	tags := map[string]string{"role": "node"}
	if err := b.SetTags(tags); err != nil {
		t.Fatal(err)
	}
	tags["role"] = "changed later"
	if e := want(t, events, Updated, "b"); e.Members[0].Tags["role"] != "node" || len(e.Members[0].Tags) != 1 {
		t.Errorf("event %+v", e)
	}
	if err := b.SetTags(map[string]string{"long": strings.Repeat("x", 600)}); err == nil {
		t.Error("too many tags are taken")
	}
	if err := b.Send("deploy", []byte("1.2")); err != nil {
		t.Fatal(err)
	}
	if e := want(t, events, User, "deploy"); string(e.Payload) != "1.2" || e.LTime == 0 {
		t.Errorf("event %+v", e)
	}
	if err := b.Send("big", make([]byte, 600)); err == nil || err.Error() != "user event exceeds configured limit of 512 bytes before encoding" {
		t.Errorf("big event: %v", err)
	}
}

func TestStatusNames(t *testing.T) {
	var got []string
	for s := StatusNone; s <= StatusFailed+1; s++ {
		got = append(got, s.String())
	}
	if strings.Join(got, " ") != "none alive leaving left failed status(5)" {
		t.Errorf("names %v", got)
	}
}

func TestCloseEndsDials(t *testing.T) {
	p := open(t, "a", nil)
	silent := silentServer(t)
	joined := make(chan error, 1)
	go func() {
		_, err := p.Join(context.Background(), []string{silent.addr})
		joined <- err
	}()
	<-silent.accepted
	begin := time.Now()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-joined; err == nil || time.Since(begin) > 5*time.Second {
		t.Errorf("Join ended with %v after %v", err, time.Since(begin))
	}
	if err := p.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}
