package main_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReadme pastes the README's tour into a shell, on ports of its own, and looks for what it promises, in this order.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("the tour takes a quarter of a minute")
	}
	for program, pkg := range map[string]string{"bash": "bash", "curl": "curl", "dig": "dnsutils", "python3": "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("ROSTRA_CI") != "" {
				t.Fatalf("%s is missing: install the package %s", program, pkg)
			}
			t.Skipf("%s is missing: install the package %s", program, pkg)
		}
	}
	blocks := shellBlocks(readDoc(t, "README.md"))
	if len(blocks) < 4 || !strings.Contains(blocks[0], "go build -o rostra .") {
		t.Fatalf("the tour is not where this test looks for it: %d blocks", len(blocks))
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "rostra"), ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	p := ports(t, 6)
	script := strings.NewReplacer("go build -o rostra .", "", "localhost:8500", "localhost:"+p[0], "127.0.6.1:8500", "127.0.6.1:"+p[0], "-p 8600", "-p "+p[1],
		"8080", p[2], "rostra agent", fmt.Sprintf("rostra agent -node=n1 -http-port=%s -dns-port=%s -server-port=%s -serf-lan-port=%s -serf-wan-port=%s",
			p[0], p[1], p[3], p[4], p[5]), "$(mktemp -d)", dir).Replace(strings.Join(blocks, "\n"))
	out, log := tour(t, dir, "CONSUL_HTTP_ADDR=localhost:"+p[0], script)
	rest := out
	for _, want := range []string{
		"Success! Data written to: greeting\n", `"Key":"greeting"`, "hello\n", "127.0.0.1\n", "1 1 " + p[2] + " n1.node.dc1.consul.\n",
		`"Output": "it lives\n"`, `"Status": "critical"`, "127.0.0.1\n", "hello\n", "Saved and verified snapshot to index", "exit code 1\n",
		"c1 ", "client", "Success! Data written to: greeting\n", `"127.0.5.`, `"127.0.5.`, "hello\n",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("the tour does not print %q after what came before it:\n%s\nits errors:\n%s", want, out, log)
		}
		rest = after
	}
	if gone := regexp.MustCompile(`(?s)"it lives.*?"Status": "critical"`).FindString(out); strings.Contains(gone, "\n127.0.0.1\n") {
		t.Errorf("DNS still has the dead service:\n%s", gone)
	}
}

// shellBlocks returns the blocks of a document marked sh.
func shellBlocks(doc string) (blocks []string) {
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(doc, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// tour runs a script in a process group of its own and ends whatever it left.
func tour(t *testing.T, dir, env, script string) (out, errs string) {
	t.Helper()
	cmd := exec.Command("bash", "-c", script)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = dir, &stdout, &stderr, append(os.Environ(), env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := time.AfterFunc(90*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer end.Stop()
	err := cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Errorf("the tour ends with %v\n%s\n%s\nthe agent's log:\n%s", err, &stdout, &stderr, log)
	}
	return stdout.String(), stderr.String()
}

// ports returns free ports, for TCP and UDP.
func ports(t *testing.T, n int) (list []string) {
	t.Helper()
	for len(list) < n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		if u, err := net.ListenPacket("udp", l.Addr().String()); err == nil {
			u.Close()
			list = append(list, port)
		}
	}
	return list
}
