package agent

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnixSocket: config.md §3, a socket's file is made anew at a start and has the mode that is asked for.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, mode := range []string{"0600", "660", "0777"} {
		l, err := listenUnix(path, &unixSettings{Mode: mode})
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Type() != fs.ModeSocket {
			t.Fatalf("%v, %v", info, err)
		}
		if want, _ := (&unixSettings{Mode: mode}).owner(); info.Mode().Perm() != want.mode {
			t.Errorf("mode %s: %v", mode, info.Mode())
		}
		if _, err := listenUnix(path, &unixSettings{}); err == nil || !strings.Contains(err.Error(), "another process answers") {
			t.Errorf("a socket in use: %v", err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false) // as after kill -9
		l.Close()
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(path, &unixSettings{}); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file in the way: %v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the file was not left alone: %q, %v", b, err)
	}
}

func TestUnixOwner(t *testing.T) {
	for _, test := range []struct {
		in    unixSettings
		want  owner
		wrong string
	}{
		{unixSettings{}, owner{-1, -1, 0}, ""},
		{unixSettings{User: "0", Group: "5", Mode: "0640"}, owner{0, 5, 0o640}, ""},
		{unixSettings{User: "root", Group: "root"}, owner{0, 0, 0}, ""},
		{unixSettings{User: "nobody at all"}, owner{}, "unix_sockets.user: cannot find"},
		{unixSettings{Group: "-4"}, owner{}, "unix_sockets.group: cannot find"},
		{unixSettings{Mode: "rwx"}, owner{}, "unix_sockets.mode:"},
		{unixSettings{Mode: "1777"}, owner{}, "unix_sockets.mode:"},
		{unixSettings{Mode: "0"}, owner{}, "unix_sockets.mode:"},
	} {
		got, err := test.in.owner()
		if test.wrong == "" && (err != nil || got != test.want) || test.wrong != "" && (err == nil || !strings.HasPrefix(err.Error(), test.wrong)) {
			t.Errorf("%+v: %+v, %v", test.in, got, err)
		}
	}
}
