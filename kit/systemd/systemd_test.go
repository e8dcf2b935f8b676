package systemd

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestReady: the message of sd_notify(3), over a socket of the file system and an abstract one. The service manager is a
// small server that speaks its public protocol: none runs on the machines that test this.
func TestReady(t *testing.T) {
	dir, err := os.MkdirTemp("", "sd")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{filepath.Join(dir, "notify"), "@rostra-test-" + strconv.Itoa(os.Getpid())} {
		if name[0] == '@' && runtime.GOOS != "linux" {
			continue
		}
		c, err := net.ListenPacket("unixgram", strings.Replace(name, "@", "\x00", 1))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		t.Setenv(socketVar, name)
		m, ok := Found()
		if _, still := os.LookupEnv(socketVar); !ok || still {
			t.Errorf("found %v; children see the socket: %v", ok, still)
		}
		if err := m.Ready(); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, _, err := c.ReadFrom(b); err != nil || string(b[:n]) != "READY=1" {
			t.Errorf("%s: %q, %v", name, b[:n], err)
		}
	}
	if _, ok := Found(); ok {
		t.Error("a manager is found where none is")
	}
	if err := (Manager{filepath.Join(dir, "nobody")}).Ready(); err == nil {
		t.Error("nobody listens, and nothing is said")
	}
}
