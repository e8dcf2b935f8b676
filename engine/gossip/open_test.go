package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// silent accepts connections and says nothing.
type silent struct {
	addr     string
	accepted chan struct{}
}

func silentServer(t *testing.T) silent {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := silent{l.Addr().String(), make(chan struct{}, 10)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			s.accepted <- struct{}{}
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return s
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string
		change     func(*Options)
	}{
		{"name", "it needs a name", func(o *Options) { o.Name = "" }},
		{"bind", `the bind address "localhost" is not an IP`, func(o *Options) { o.BindAddr = "localhost" }},
		{"no bind", `the bind address "" is not an IP`, func(o *Options) { o.BindAddr = "" }},
		{"all", "it needs an address to advertise", func(o *Options) { o.BindAddr = "0.0.0.0" }},
		{"advertise", `"here", is not the IP address`, func(o *Options) { o.AdvertiseAddr = "here" }},
		{"advertise all", `"::", is not the IP address`, func(o *Options) { o.AdvertiseAddr = "::" }},
		{"port", "between 0 and 65535", func(o *Options) { o.BindPort = 70000 }},
		{"not ours", "cannot listen for LAN gossip on 192.0.2.1:0: bind: cannot assign requested address", func(o *Options) { o.BindAddr = "192.0.2.1" }},
		{"snapshot", "not a directory", func(o *Options) { o.SnapshotPath = filepath.Join(file, "x") }},
		{"tags", "tags exceeds limit of 512 bytes", func(o *Options) { o.Tags = map[string]string{"x": strings.Repeat("x", 600)} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Open(at("a", c.change))
			if err == nil {
				p.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.text) || !strings.HasPrefix(err.Error(), "cannot ") {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, port := range []int{tcp.Addr().(*net.TCPAddr).Port, udp.LocalAddr().(*net.UDPAddr).Port} {
		p, err := Open(at("a", func(o *Options) { o.BindPort, o.WAN = port, true }))
		if err == nil {
			p.Close()
		}
		want := fmt.Sprintf("cannot listen for WAN gossip on 127.0.0.1:%d: bind: address already in use", port)
		if err == nil || err.Error() != want || !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("Open: %v, want %s", err, want)
		}
	}
}

func TestAdvertise(t *testing.T) {
	for _, c := range []struct {
		name, addr string
		port       uint16 // 0: the one listened on
		change     func(*Options)
	}{
		{"bound", "127.0.0.1", 0, nil},
		{"port", "127.0.0.1", 9, func(o *Options) { o.AdvertisePort = 9 }},
		{"address", "127.0.0.2", 0, func(o *Options) { o.AdvertiseAddr = "127.0.0.2" }},
		{"all", "127.0.0.3", 7, func(o *Options) { o.BindAddr, o.AdvertiseAddr, o.AdvertisePort = "0.0.0.0", "127.0.0.3", 7 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := open(t, "a", c.change).Local()
			if m.Addr != c.addr || m.Port == 0 || c.port != 0 && m.Port != c.port {
				t.Errorf("advertises %s:%d", m.Addr, m.Port)
			}
		})
	}
}

func TestTiming(t *testing.T) {
	lan := (&Options{}).timing()
	wan := (&Options{WAN: true}).timing()
	dev := (&Options{WAN: true, Dev: true, Timing: Timing{ProbeTimeout: time.Second, SuspicionMult: 9}}).timing()
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"lan gossip", lan.GossipInterval, 200 * time.Millisecond},
		{"lan probe", [2]any{lan.ProbeInterval, lan.ProbeTimeout}, [2]any{time.Second, 500 * time.Millisecond}},
		{"lan counts", [3]int{lan.GossipNodes, lan.SuspicionMult, lan.RetransmitMult}, [3]int{3, 4, 4}},
		{"wan gossip", wan.GossipInterval, 500 * time.Millisecond},
		{"wan probe", [2]any{wan.ProbeInterval, wan.ProbeTimeout}, [2]any{5 * time.Second, 3 * time.Second}},
		{"wan counts", [3]int{wan.GossipNodes, wan.SuspicionMult, wan.RetransmitMult}, [3]int{3, 6, 4}},
		{"push-pull", [2]any{lan.PushPull, wan.PushPull}, [2]any{30 * time.Second, 60 * time.Second}},
		{"dev", [2]any{dev.GossipInterval, dev.ProbeInterval}, [2]any{100 * time.Millisecond, 100 * time.Millisecond}},
		{"override", [2]any{dev.ProbeTimeout, dev.SuspicionMult}, [2]any{time.Second, 9}},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestSnapshotRejoin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "serf", "local.snapshot")
	a := open(t, "a", nil)
	b := open(t, "b", func(o *Options) { o.SnapshotPath = path })
	if _, err := b.Join(context.Background(), []string{addr(a)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b knows a", func() bool { return show(b) == "a=alive b=alive" })
	port := int(b.Local().Port)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info, err)
	}
	file, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(file), "alive: a "+addr(a)+"\n") {
		t.Fatalf("snapshot %q, %v", file, err)
	}
	again := open(t, "b", func(o *Options) { o.SnapshotPath, o.BindPort = path, port })
	eventually(t, "b finds a", func() bool { return show(again) == "a=alive b=alive" && show(a) == "a=alive b=alive" })
}
