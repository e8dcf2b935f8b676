package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"rostra/engine/room"
)

// TestMain lets the test binary stand in for the program, under both of its names, and for a newer one.
func TestMain(m *testing.M) {
	program := func(name string, features []room.Room) func() {
		return func() { os.Exit(run(features, name, os.Args[1:])) }
	}
	testscript.Main(m, map[string]func(){"rostra": program("rostra", features), "consul": program("consul", features),
		"rostra-next": program("rostra", nextFeatures)})
}

// TestScripts runs the command line as a user would: real agents, real sockets, whole output.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		Setup:         setupScript,
		UpdateScripts: os.Getenv("ROSTRA_UPDATE") != "",
		Condition: func(cond string) (bool, error) {
			if name, ok := strings.CutPrefix(cond, "has:"); ok {
				_, err := exec.LookPath(name)
				if err != nil && os.Getenv("ROSTRA_CI") != "" {
					return false, fmt.Errorf("%s is missing: install its package", name)
				}
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"eventually": eventually, "masked": masked},
	})
}

// setupScript gives each script free ports and the environment that points the verbs at its agent. AGENT holds the flags
// that every agent of a script needs; IP1 to IP8 are addresses for those that have one each, ONE and TWO keys for gossip.
func setupScript(env *testscript.Env) error {
	ports, err := freePorts(6)
	if err != nil {
		return err
	}
	names := []string{"HTTP", "DNS", "SERVER", "LAN", "WAN", "HTTPS"}
	for i, name := range names {
		env.Setenv(name, ports[i])
	}
	for i := range 8 {
		env.Setenv(fmt.Sprintf("IP%d", i+1), freeMachine())
	}
	env.Setenv("ONE", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{3}, 32)))
	env.Setenv("TWO", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{4}, 32)))
	env.Setenv("CONSUL_HTTP_ADDR", "127.0.0.1:"+ports[0])
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("ports", fmt.Sprintf(`{"ports":{"http":%s,"dns":%s,"server":%s,"serf_lan":%s,"serf_wan":%s},"log_level":"WARN","node_name":"n1"}`,
		ports[0], ports[1], ports[2], ports[3], ports[4]))
	return os.WriteFile(env.WorkDir+"/ports.json", []byte(env.Getenv("ports")), 0o600)
}

// freePorts finds ports that are free for TCP and UDP. Another process may take one before the agent does; the chance
// is small because the kernel hands them out in turn.
func freePorts(n int) ([]string, error) {
	var ports []string
	for len(ports) < n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		u, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			continue
		}
		defer u.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// eventually runs a command again until its output matches a regular expression: eventually 'regexp' command args...
// With ! it waits until the output no longer matches.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] eventually regexp command args...")
	}
	want, err := regexp.Compile("(?ms)" + args[0])
	ts.Check(err)
	last := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		last = ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if err != nil {
			last += err.Error()
		}
		if want.MatchString(last) != neg {
			return
		}
	}
	ts.Fatalf("the output never came to be as expected (%q): %s", args[0], last)
}

// masked compares the last stdout with a file after replacing what changes from run to run: UUIDs, times, ports.
func masked(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile("stdout")
	for _, m := range []struct{ from, to string }{
		{`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`, "UUID"},
		{`127\.0\.0\.1:\d+ *`, "127.0.0.1:PORT "},
		{`(?m)^Build Date .*$`, "Build Date DATE"}, {`(?m)^Revision .*\n`, ""},
		{`((?:Create|Modify)Index +)\d+`, "${1}N"}, {`  [0-9a-f]{8}  `, "  ID8  "},
	} {
		text = regexp.MustCompile(m.from).ReplaceAllString(text, m.to)
	}
	want := ts.ReadFile(args[0])
	if text != want {
		ts.Fatalf("output differs from %s:\n%s\nwant:\n%s", args[0], text, want)
	}
}
