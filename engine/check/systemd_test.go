package check

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// bus is a small D-Bus server on a unix socket with what a check asks of a message bus and of systemd. It is a fake: no
// systemd runs where these tests do. It speaks D-Bus's public protocol (the SASL lines, then messages).
type bus struct {
	absent bool                 // systemd is not on it
	mute   bool                 // it takes calls and does not answer
	units  map[string][3]string // LoadState, ActiveState, SubState
}

// startBus serves the fake on the socket that DBUS_SYSTEM_BUS_ADDRESS names until the test ends.
func startBus(t *testing.T, b *bus) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+path)
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer conn.Close()
				b.serve(conn)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wait.Wait() })
}

func (b *bus) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	if zero, err := r.ReadByte(); err != nil || zero != 0 {
		return
	}
	for begun := false; !begun; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch word, _, _ := strings.Cut(strings.TrimSpace(line), " "); {
		case strings.TrimSpace(line) == "AUTH":
			io.WriteString(conn, "REJECTED EXTERNAL\r\n")
		case word == "AUTH":
			io.WriteString(conn, "OK 0123456789abcdef0123456789abcdef\r\n")
		case word == "BEGIN":
			begun = true
		default:
			io.WriteString(conn, "ERROR\r\n")
		}
	}
	for serial := uint32(1); ; serial++ {
		m, err := dbus.DecodeMessage(r)
		if err != nil {
			return
		}
		member := m.Headers[dbus.FieldMember].Value().(string)
		if b.mute && member != "Hello" {
			continue
		}
		reply := b.answer(m, member)
		reply.Headers[dbus.FieldReplySerial] = dbus.MakeVariant(m.Serial())
		if len(reply.Body) > 0 {
			reply.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(reply.Body...))
		}
		var buf strings.Builder
		if err := reply.EncodeTo(&buf, binary.LittleEndian); err != nil {
			return
		}
		// The library numbers messages when it sends them itself; here the bytes of the number are set.
		raw := []byte(buf.String())
		binary.LittleEndian.PutUint32(raw[8:], serial)
		if _, err := conn.Write(raw); err != nil {
			return
		}
	}
}

const unitPath = "/org/freedesktop/systemd1/unit/"

func (b *bus) answer(m *dbus.Message, member string) *dbus.Message {
	ok := func(v any) *dbus.Message {
		return &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{}, Body: []any{v}}
	}
	switch member {
	case "Hello":
		return ok(":1.1")
	case "NameHasOwner":
		return ok(m.Body[0] == systemd && !b.absent)
	case "LoadUnit":
		return ok(dbus.ObjectPath(unitPath + strings.ReplaceAll(strings.ReplaceAll(m.Body[0].(string), ".", "_2e"), "-", "_2d")))
	case "Get":
		object := string(m.Headers[dbus.FieldPath].Value().(dbus.ObjectPath))
		name := strings.ReplaceAll(strings.ReplaceAll(strings.TrimPrefix(object, unitPath), "_2e", "."), "_2d", "-")
		states, known := b.units[name]
		if !known {
			states = [3]string{"not-found", "inactive", "dead"}
		}
		i := map[string]int{"LoadState": 0, "ActiveState": 1, "SubState": 2}[m.Body[1].(string)]
		return ok(dbus.MakeVariant(states[i]))
	}
	return &dbus.Message{Type: dbus.TypeError, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldErrorName: dbus.MakeVariant("org.freedesktop.DBus.Error.UnknownMethod")}, Body: []any{"no " + member}}
}

// Spec agent.md §6, os_service, with systemd's states for those of Windows: running, between, stopped.
func TestOSService(t *testing.T) {
	startBus(t, &bus{units: map[string][3]string{
		"nginx.service":  {"loaded", "active", "running"},
		"data.mount":     {"loaded", "active", "mounted"},
		"slow-1.service": {"loaded", "activating", "start-pre"},
		"conf.service":   {"loaded", "reloading", "reload"},
		"end.service":    {"loaded", "deactivating", "stop-sigterm"},
		"off.service":    {"loaded", "inactive", "dead"},
		"bad.service":    {"loaded", "failed", "failed"},
	}})
	for unit, want := range map[string]Result{
		"nginx":         {Passing, `Service "nginx" is healthy`},
		"nginx.service": {Passing, `Service "nginx.service" is healthy`},
		"data.mount":    {Passing, `Service "data.mount" is healthy`},
		"slow-1":        {Warning, `Service "slow-1" is activating (start-pre)`},
		"conf":          {Warning, `Service "conf" is reloading (reload)`},
		"end":           {Warning, `Service "end" is deactivating (stop-sigterm)`},
		"off":           {Critical, `Service "off" is inactive (dead)`},
		"bad":           {Critical, `Service "bad" is failed (failed)`},
		"none":          {Critical, `Service "none" could not be found`},
	} {
		if got := first(t, Spec{Kind: OSService, Target: unit}, Env{}); got != want {
			t.Errorf("%s: %q, want %q", unit, got, want)
		}
	}
	if err := FindSystemd(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWithoutSystemd(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")
	const nobody = "dial unix /nowhere/bus: connect: no such file or directory"
	if err := FindSystemd(t.Context()); err == nil || err.Error() != "there is no message bus here ("+nobody+")" {
		t.Error(err)
	}
	if got := first(t, Spec{Kind: OSService, Target: "x"}, Env{}); got != (Result{Critical, `cannot ask systemd for service "x": ` + nobody}) {
		t.Errorf("%q", got)
	}
	startBus(t, &bus{absent: true})
	if err := FindSystemd(t.Context()); err == nil || err.Error() != "systemd is not on the message bus" {
		t.Error(err)
	}
}

// A bus that does not answer holds nobody up for longer than asked.
func TestMuteBus(t *testing.T) {
	startBus(t, &bus{mute: true})
	got := first(t, Spec{Kind: OSService, Target: "x", Timeout: 200 * time.Millisecond}, Env{})
	if got.Status != Critical || !strings.HasPrefix(got.Output, `cannot ask systemd for service "x": `) {
		t.Errorf("%q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := FindSystemd(ctx); err == nil {
		t.Error("found")
	}
}
