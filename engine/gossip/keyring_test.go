package gossip

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rostra/kit/disk"
)

func keyText(b byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) }

func keyBytes(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func ring(t *testing.T, path, seed string) *Keyring {
	t.Helper()
	k, _, err := OpenKeyring(disk.OS(), path, seed)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeyringFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "serf", "local.keyring")
	file := func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if k, has, err := OpenKeyring(disk.OS(), path, ""); k != nil || !has || err != nil {
		t.Fatalf("neither file nor key: %v, %v, %v", k, has, err)
	}
	k := ring(t, path, keyText(1))
	if want := `["` + keyText(1) + `"]`; file() != want {
		t.Errorf("file %s, want %s", file(), want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for _, step := range []struct {
		op   KeyOp
		key  byte
		want []byte
		err  string
	}{
		{InstallKey, 2, []byte{1, 2}, ""}, {InstallKey, 2, []byte{1, 2}, ""}, {InstallKey, 3, []byte{1, 2, 3}, ""},
		{UseKey, 9, []byte{1, 2, 3}, "requested key is not in the keyring"},
		{RemoveKey, 1, []byte{1, 2, 3}, "removing the primary key is not allowed"},
		{UseKey, 2, []byte{2, 1, 3}, ""}, {RemoveKey, 1, []byte{2, 3}, ""}, {RemoveKey, 1, []byte{2, 3}, ""},
		{KeyOp(9), 1, []byte{2, 3}, "unknown operation 9 on the keyring"},
	} {
		err := k.change(step.op, keyBytes(step.key))
		if step.err == "" && err != nil || step.err != "" && (err == nil || err.Error() != step.err) {
			t.Errorf("%v %d: %v", step.op, step.key, err)
		}
		var want []string
		for _, b := range step.want {
			want = append(want, `"`+keyText(b)+`"`)
		}
		if got := file(); got != "["+strings.Join(want, ",")+"]" {
			t.Errorf("after %v %d the file is %s", step.op, step.key, got)
		}
	}
	if err := k.change(InstallKey, []byte("short")); err == nil {
		t.Error("a short key is installed")
	}
	again, has, err := OpenKeyring(disk.OS(), path, keyText(1)) // the file wins
	if err != nil || has || !slices.EqualFunc(again.list(), [][]byte{keyBytes(2), keyBytes(3)}, bytes.Equal) {
		t.Errorf("opened again: %v, %v", has, err)
	}
	if _, has, err := OpenKeyring(disk.OS(), path, keyText(3)); err != nil || !has {
		t.Errorf("with a key that the file has: %v, %v", has, err)
	}
	if k := ring(t, "", keyText(7)); k.change(InstallKey, keyBytes(8)) != nil || len(k.list()) != 2 {
		t.Error("a keyring in memory")
	}
}

// TestKeyringFullDisk: what cannot be kept is refused and not used.
func TestKeyringFullDisk(t *testing.T) {
	dir := t.TempDir()
	k := ring(t, filepath.Join(dir, "local.keyring"), keyText(1))
	if err := k.change(InstallKey, keyBytes(2)); err != nil {
		t.Fatal(err)
	}
	k.path = filepath.Join(dir, "local.keyring", "below a file")
	for _, op := range []KeyOp{InstallKey, UseKey, RemoveKey} {
		key := keyBytes(2)
		if op == InstallKey {
			key = keyBytes(3)
		}
		if err := k.change(op, key); err == nil || !slices.EqualFunc(k.list(), [][]byte{keyBytes(1), keyBytes(2)}, bytes.Equal) {
			t.Errorf("%v: %v, %d keys", op, err, len(k.list()))
		}
	}
}

func TestKeyringRefuses(t *testing.T) {
	for file, want := range map[string]string{
		"":                           "it is no JSON array",
		"{}":                         "it is no JSON array",
		"[]":                         "it holds no key",
		`["` + keyText(1) + `","x"]`: "entry 2: the key is no base64",
		`["AAAA"]`:                   "entry 1: the key has 3 bytes",
	} {
		path := filepath.Join(t.TempDir(), "local.keyring")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := OpenKeyring(disk.OS(), path, keyText(1)); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", file, err)
		}
	}
	if _, _, err := OpenKeyring(disk.OS(), "", "secret!"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a bad key: %v", err)
	}
}

// network opens n encrypted members that know each other, member i on 127.0.0.(i+1).
func network(t *testing.T, n int, change func(i int, o *Options)) []*Pool {
	t.Helper()
	var pools []*Pool
	for i := range n {
		p := open(t, fmt.Sprint("m", i), func(o *Options) {
			o.BindAddr, o.Keyring = fmt.Sprint("127.0.0.", i+1), ring(t, filepath.Join(t.TempDir(), "local.keyring"), keyText(1))
			if change != nil {
				change(i, o)
			}
		})
		if i > 0 {
			if _, err := p.Join(context.Background(), []string{addr(pools[0])}); err != nil {
				t.Fatal(err)
			}
		}
		pools = append(pools, p)
	}
	for _, p := range pools {
		eventually(t, "all know all", func() bool { return strings.Count(show(p), "=alive") == n })
	}
	return pools
}

// TestRotationUnderTraffic changes the key of a pool over real sockets while every member sends events, and nothing is
// lost. A packet under way while its key goes may be refused: gossip sends what is in it more than once.
func TestRotationUnderTraffic(t *testing.T) {
	pools := network(t, 3, func(_ int, o *Options) {
		o.Timing = Timing{GossipInterval: 100 * time.Millisecond, PushPull: 200 * time.Millisecond} // a question lives for 16 rounds
	})
	const each = 60
	var seen sync.WaitGroup
	for _, p := range pools {
		events, got := follow(t, p), map[string]bool{}
		<-events // the Resync: from now on it hears all
		seen.Go(func() {
			limit := time.After(20 * time.Second)
			for len(got) < each*len(pools) {
				select {
				case e := <-events:
					if e.Kind == User {
						got[e.Name] = true
					}
				case <-limit:
					t.Errorf("%s heard %d of %d events", p.name, len(got), each*len(pools))
					return
				}
			}
		})
	}
	step := make(chan struct{}, each) // an event of every member between all steps of the rotation
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := range each {
			<-step
			for _, p := range pools {
				if err := p.Send(fmt.Sprint("e", i, p.name), nil); err != nil {
					t.Error(err)
				}
			}
		}
	})
	do := func(p *Pool, op KeyOp, key byte) KeyReport {
		for range each / 12 {
			step <- struct{}{}
		}
		r, err := p.Keys(t.Context(), op, keyBytes(key), 2)
		if err != nil || r.Nodes != 3 || r.Responses != 3 || r.Errors != 0 {
			t.Errorf("%v: %+v, %v", op, r, err)
		}
		return r
	}
	for i, key := range []byte{2, 3, 4} {
		p := pools[i]
		do(p, InstallKey, key)
		do(p, UseKey, key)
		do(p, RemoveKey, key-1)
		if r := do(p, ListKeys, 0); len(r.Keys) != 1 || r.Keys[keyText(key)] != 3 || r.Primary[keyText(key)] != 3 || len(r.Messages) != 0 {
			t.Errorf("after rotation %d: %+v", i, r)
		}
	}
	sending.Wait()
	seen.Wait()
	for _, p := range pools {
		if b, err := os.ReadFile(p.keyring.path); err != nil || string(b) != `["`+keyText(4)+`"]` {
			t.Errorf("the file of %s: %s, %v", p.name, b, err)
		}
	}
}

func TestKeyOperationsRefused(t *testing.T) {
	pools := network(t, 2, nil)
	r, err := pools[0].Keys(t.Context(), RemoveKey, keyBytes(1), 0)
	if err == nil || err.Error() != "2/2 nodes reported failure" || r.Messages["m1"] != "removing the primary key is not allowed" {
		t.Errorf("removing the primary: %+v, %v", r, err)
	}
	if r, err := pools[1].Keys(t.Context(), UseKey, keyBytes(9), 0); err == nil || len(r.Messages) != 2 {
		t.Errorf("using an unknown key: %+v, %v", r, err)
	}
	plain := open(t, "plain", nil)
	r, err = plain.Keys(t.Context(), ListKeys, nil, 0)
	if err == nil || err.Error() != "1/1 nodes reported failure" || r.Messages["plain"] != "Keyring is empty (encryption not enabled)" {
		t.Errorf("without encryption: %+v, %v", r, err)
	}
	if r, _ = plain.Keys(t.Context(), InstallKey, keyBytes(1), 0); r.Messages["plain"] != "No keyring to modify (encryption not enabled)" {
		t.Errorf("without encryption: %+v", r)
	}
	if plain.Encrypted() || !pools[0].Encrypted() {
		t.Error("Encrypted is wrong")
	}
}

// TestWrongKey: a member with another key, or with none, is not let in, and both sides say so and count it.
func TestWrongKey(t *testing.T) {
	for _, c := range []struct {
		what      string
		keyed     string // seed of the one asked; "" for none
		joiner    string
		onJoiner  string
		onTheSide string
	}{
		{"another key", keyText(1), keyText(2), "no installed keys could decrypt the message (the keys of that agent", "we have no key in common"},
		{"no key", keyText(1), "", "remote state is encrypted and encryption is not configured (the keys", "we have no key in common"},
		{"a key for none", "", keyText(2), "encryption is configured but remote state is not encrypted (the keys", "we have no key in common"},
	} {
		t.Run(c.what, func(t *testing.T) {
			var la, lb lines
			make := func(name, ip, seed string, l *lines) *Pool {
				return open(t, name, func(o *Options) {
					o.BindAddr, o.Logger = ip, l.logger()
					if seed != "" {
						o.Keyring = ring(t, "", seed)
					}
				})
			}
			a, b := make("a", "127.0.0.1", c.keyed, &la), make("b", "127.0.0.2", c.joiner, &lb)
			for range 3 {
				if n, err := b.Join(context.Background(), []string{addr(a)}); n != 0 || err == nil || !strings.Contains(err.Error(), c.onJoiner) {
					t.Errorf("Join = %d, %v", n, err)
				}
			}
			eventually(t, "both count", func() bool { return a.Counters()["refused.key"] == 3 && b.Counters()["refused.key"] == 3 })
			if !la.has(c.onTheSide) || !la.has("peer=127.0.0.") || !lb.has(c.onTheSide) {
				t.Errorf("a logged %s\nb logged %s", la.text(), lb.text())
			}
			if n := strings.Count(la.text(), c.onTheSide); n != 1 {
				t.Errorf("logged %d times", n)
			}
			if show(a) != "a=alive" || show(b) != "b=alive" {
				t.Errorf("a sees %s, b %s", show(a), show(b))
			}
		})
	}
}

// TestSwitchingOn turns encryption on member by member, without a moment in which they do not understand each other.
func TestSwitchingOn(t *testing.T) {
	a := open(t, "a", nil)
	b := open(t, "b", func(o *Options) { o.Keyring, o.AcceptPlain, o.SendPlain = ring(t, "", keyText(1)), true, true })
	c := open(t, "c", func(o *Options) { o.Keyring, o.AcceptPlain = ring(t, "", keyText(1)), true })
	if _, err := b.Join(context.Background(), []string{addr(a)}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Join(context.Background(), []string{addr(b)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b and c know each other", func() bool { return strings.Contains(show(b), "c=alive") && strings.Contains(show(c), "b=alive") })
}

// TestGarbage throws bytes at both sockets of an encrypted member: it counts them, tells of them once, and lives.
func TestGarbage(t *testing.T) {
	var l lines
	p := open(t, "a", func(o *Options) { o.Keyring, o.Logger = ring(t, "", keyText(1)), l.logger() })
	udp, err := net.Dial("udp", addr(p))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for i := range 50 {
		if _, err := udp.Write(bytes.Repeat([]byte{byte(200 + i)}, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	tcp, err := net.Dial("tcp", addr(p))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(tcp, "GET / HTTP/1.0\r\n\r\n")
	tcp.Close()
	eventually(t, "garbage is counted", func() bool { return p.Counters()["garbage"] >= 2 })
	if n := strings.Count(l.text(), "thrown away"); n != 1 {
		t.Errorf("logged %d times: %s", n, l.text())
	}
	if show(p) != "a=alive" {
		t.Errorf("a sees %s", show(p))
	}
}

func TestLongKeyring(t *testing.T) {
	k := ring(t, "", keyText(1))
	for i := range byte(60) {
		if err := k.change(InstallKey, keyBytes(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	keys, remark, err := readKeyAnswer(k.keyAnswer([]byte{byte(ListKeys)}), ListKeys)
	if err != nil || len(keys) != 24 || remark != "truncated key list response, showing first 24 of 60 keys" {
		t.Errorf("%d keys, %q, %v", len(keys), remark, err)
	}
}

func FuzzKeyAnswer(f *testing.F) {
	k, _, err := OpenKeyring(disk.OS(), "", keyText(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.keyAnswer([]byte{byte(ListKeys)}), byte(ListKeys))
	f.Add(k.keyAnswer(nil), byte(UseKey))
	f.Add([]byte{1, 0x80}, byte(ListKeys))
	f.Fuzz(func(t *testing.T, b []byte, op byte) {
		keys, _, err := readKeyAnswer(b, KeyOp(op))
		if err == nil && len(keys) > len(b) {
			t.Errorf("%d keys of %d bytes", len(keys), len(b))
		}
		k, _, _ := OpenKeyring(disk.OS(), "", keyText(1))
		if answer := k.keyAnswer(b); len(answer) == 0 || len(answer) > listLimit+100 {
			t.Errorf("an answer of %d bytes", len(answer))
		}
	})
}

func FuzzKeyringFile(f *testing.F) {
	f.Add([]byte(`["` + keyText(1) + `"]`))
	f.Add([]byte(`[""]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if keys, err := parseKeys(b); err == nil && len(keys) == 0 {
			t.Error("no key and no error")
		}
	})
}
