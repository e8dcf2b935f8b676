package main

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestNodeClient: a real agent is what the npm package consul takes it for.
func TestNodeClient(t *testing.T) {
	needs(t, "node", "nodejs")
	has(t, "the npm package consul: install it and let NODE_PATH name its node_modules", "node", "-e", `require.resolve("consul")`)
	drive(t, startAgent(t, "-dev", "-log-level=warn"), "node", "testdata/client/node.js")
}

// TestPythonClient: and what Debian's python3-consul takes it for, which is of the time of Consul 0.6.
func TestPythonClient(t *testing.T) {
	python := "python3"
	if exec.Command(python, "-c", "import consul").Run() != nil {
		python = "/usr/bin/python3" // another Python may be the first that is found
	}
	has(t, "the package python3-consul", python, "-c", "import consul")
	drive(t, startAgent(t, "-dev", "-log-level=warn", "-hcl=rostra { legacy_get_writes = true }"), python, "testdata/client/python.py")
}

// has skips a test where a command that looks for something fails; in CI that is a failure.
func has(t *testing.T, what string, command ...string) {
	t.Helper()
	if exec.Command(command[0], command[1:]...).Run() == nil {
		return
	}
	if os.Getenv("ROSTRA_CI") != "" {
		t.Fatalf("missing is %s", what)
	}
	t.Skipf("missing is %s", what)
}

// drive runs a script against an agent; it tells its steps line by line.
func drive(t *testing.T, p *process, program, script string) {
	t.Helper()
	host, port, err := net.SplitHostPort(p.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, script, host, port).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "ok: ") || strings.Contains(string(out), "FAILED") {
		t.Errorf("%s: %v\n%s", script, err, out)
	}
}
