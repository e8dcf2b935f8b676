package syslog

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The daemon here is a small server that speaks syslog's public protocol on a unix socket: no syslogd runs on the machines
// that test this.

func socket(t *testing.T) string {
	dir, err := os.MkdirTemp("", "log") // t.TempDir is too long a name for a socket on some systems
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "log")
}

func daemon(t *testing.T, path string) net.PacketConn {
	t.Helper()
	_ = os.Remove(path)
	c, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func receive(t *testing.T, c net.PacketConn) string {
	t.Helper()
	b := make([]byte, 64<<10)
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, _, err := c.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

var form = regexp.MustCompile(`^<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d consul\[\d+\]: (.*)$`)

// TestMessage: facility and severity, tag consul (spec agent.md §16), and the form of RFC 3164 §5.
func TestMessage(t *testing.T) {
	path := socket(t)
	d := daemon(t, path)
	for _, c := range []struct {
		facility string
		severity Severity
		want     string
	}{{"LOCAL0", Notice, "133"}, {"local7", Err, "187"}, {"Daemon", Debug, "31"}, {"KERN", Warning, "4"}} {
		f, err := ParseFacility(c.facility)
		if err != nil {
			t.Fatal(err)
		}
		w := New(f, "consul", filepath.Join(t.TempDir(), "nobody"), path)
		defer w.Close()
		if err := w.Send(c.severity, "agent: a line"); err != nil {
			t.Fatal(err)
		}
		if m := form.FindStringSubmatch(receive(t, d)); m == nil || m[1] != c.want || m[2] != "agent: a line" {
			t.Errorf("%s %d: %q", c.facility, c.severity, m)
		}
	}
	if _, err := ParseFacility("-"); err == nil || !strings.Contains(err.Error(), "LOCAL7") {
		t.Errorf("an unknown facility: %v", err)
	}
}

// TestLong: daemons take 8 KiB; what is cut off is counted.
func TestLong(t *testing.T) {
	path := socket(t)
	d := daemon(t, path)
	w := New(0, "consul", path)
	defer w.Close()
	if err := w.Send(Err, strings.Repeat("x", maxText)+"four"); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, d); !strings.HasSuffix(got, "x… (4 bytes more)") {
		t.Errorf("it ends in %q", got[len(got)-30:])
	}
}

// TestStream: some daemons listen for streams; there a newline ends a message.
func TestStream(t *testing.T) {
	path := socket(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w := New(0, "consul", path)
	for range 2 {
		if err := w.Send(Err, "line"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 1024)
	n := 0
	for err == nil {
		var more int
		more, err = c.Read(b[n:])
		n += more
	}
	if got := strings.Count(string(b[:n]), "line\n"); got != 2 {
		t.Errorf("%q", b[:n])
	}
}

// TestAbsent: without a daemon a line costs nothing but itself; a daemon that was started anew gets the next one.
func TestAbsent(t *testing.T) {
	path := socket(t)
	w := New(0, "consul", path)
	defer w.Close()
	first := w.Send(Err, "lost")
	if first == nil || !strings.Contains(first.Error(), path) {
		t.Fatalf("without a daemon: %v", first)
	}
	d := daemon(t, path)
	if again := w.Send(Err, "lost, too"); again != first {
		t.Errorf("within the rest: %v", again)
	}
	w.rest = time.Time{} // five seconds later
	for _, text := range []string{"one", "two"} {
		if err := w.Send(Err, text); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, d); !strings.HasSuffix(got, ": "+text) {
			t.Errorf("got %q", got)
		}
		d.Close()
		d = daemon(t, path)
	}
}

// TestHung: a daemon that does not read costs at most a second, and then nothing for a while.
func TestHung(t *testing.T) {
	path := socket(t)
	daemon(t, path)
	w := New(0, "consul", path)
	defer w.Close()
	var err error
	for range 100_000 {
		if err = w.Send(Err, strings.Repeat("x", 1000)); err != nil {
			break
		}
	}
	if !isTimeout(err) {
		t.Fatalf("a daemon that does not read: %v", err)
	}
	if again := w.Send(Err, "x"); again != err {
		t.Errorf("afterwards: %v", again)
	}
}
