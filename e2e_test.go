package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// process is a real agent in its own process.
type process struct {
	cmd       *exec.Cmd
	log       *bytes.Buffer
	HTTP, DNS string
	api       *api.Client
	once      sync.Once // makes api
}

// launch starts an agent on free ports of loopback and stops it at the test's end.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	ports, err := freePorts(5)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{log: new(bytes.Buffer), HTTP: "127.0.0.1:" + ports[0], DNS: "127.0.0.1:" + ports[1]}
	p.cmd = exec.Command("rostra", append([]string{"agent", "-http-port=" + ports[0], "-dns-port=" + ports[1],
		"-server-port=" + ports[2], "-serf-lan-port=" + ports[3], "-serf-wan-port=" + ports[4], "-node=n1"}, args...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.stop(t, os.Interrupt) })
	return p
}

// startAgent starts the program under test (this test binary, called as rostra) and waits until it leads.
func startAgent(t *testing.T, args ...string) *process {
	t.Helper()
	p := launch(t, args...)
	await(t, "a leader", func() error {
		leader, err := p.client(t).Status().Leader()
		if err == nil && leader == "" {
			err = fmt.Errorf("no leader yet")
		}
		return err
	})
	return p
}

// stop ends the process and returns its exit code, -1 for a signal.
func (p *process) stop(t *testing.T, sig os.Signal) int {
	t.Helper()
	if p.cmd.ProcessState != nil {
		return p.cmd.ProcessState.ExitCode()
	}
	_ = p.cmd.Process.Signal(sig)
	_ = p.cmd.Wait()
	if t.Failed() {
		t.Logf("the agent's log:\n%s", p.log)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) client(t *testing.T) *api.Client {
	t.Helper()
	p.once.Do(func() {
		c, err := api.NewClient(&api.Config{Address: p.HTTP})
		if err != nil {
			t.Fatal(err)
		}
		p.api = c
	})
	return p.api
}

// await tries until f succeeds.
func await(t *testing.T, what string, f func() error) {
	t.Helper()
	err := f()
	for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); err = f() {
		<-time.After(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("waited for %s in vain: %v", what, err)
	}
}

// needs skips a test where a program of a Debian package is missing; in CI that is a failure.
func needs(t *testing.T, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("ROSTRA_CI") != "" {
			t.Fatalf("%s is missing: install the package %s", program, pkg)
		}
		t.Skipf("%s is missing: install the package %s", program, pkg)
	}
}

// TestMainJob is the reason of it all: a web server, registered from a JSON file with a script check, is found by DNS and
// HTTP while it lives, gone when it dies, back when it returns. It walks the stations of the data's way
// (ARCHITECTURE.md): configuration, local state, check, anti-entropy, log, catalog, health, watch, DNS.
func TestMainJob(t *testing.T) {
	needs(t, "curl", "curl")
	needs(t, "dig", "dnsutils")
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := web.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	site := serveOn(web)
	dir := t.TempDir()
	file := filepath.Join(dir, "web.json")
	definition := fmt.Sprintf(`{"service": {"name": "web", "tags": ["httpd"], "port": %s, "check": {"script": "curl localhost:%s >/dev/null 2>&1", "interval": "1s"}}, "key": "web", "handler": "/opt/consul/consul-handler.sh"}`, port, port)
	if err := os.WriteFile(file, []byte(definition), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startAgent(t, "-server", "-bootstrap-expect=1", "-data-dir="+filepath.Join(dir, "data"), "-config-file="+file)
	dig := func(args ...string) string {
		host, port, _ := net.SplitHostPort(p.DNS)
		out, err := exec.Command("dig", append([]string{"@" + host, "-p", port, "+short"}, args...)...).Output()
		if err != nil {
			t.Fatalf("dig: %v", err)
		}
		return strings.TrimSpace(string(out))
	}
	found := func(want string) func() error {
		return func() error {
			if got := dig("web.service.consul"); got != want {
				return fmt.Errorf("dig says %q, not %q", got, want)
			}
			return nil
		}
	}
	t.Log("stations 1-3: the file's service is a local one, and its check runs")
	await(t, "the local check to pass", func() error {
		checks, err := p.client(t).Agent().Checks()
		if err == nil && checks["service:web"].Status != "passing" {
			err = fmt.Errorf("it is %v", checks["service:web"])
		}
		return err
	})
	t.Log("stations 4-8: anti-entropy brought it through the log into the catalog")
	await(t, "web in the catalog", func() error {
		list, _, err := p.client(t).Catalog().Service("web", "httpd", nil)
		if err == nil && (len(list) != 1 || list[0].Node != "n1" || list[0].CreateIndex == 0) {
			err = fmt.Errorf("it holds %v", list)
		}
		return err
	})
	t.Log("stations 9-10: who watches it learns of it, and DNS has it")
	await(t, "web in DNS", found("127.0.0.1"))
	if got := dig("httpd.web.service.consul", "SRV"); got != "1 1 "+port+" n1.node.dc1.consul." {
		t.Errorf("SRV of the tag: %q", got)
	}
	entries, meta, err := p.client(t).Health().Service("web", "httpd", true, nil)
	if err != nil || len(entries) != 1 {
		t.Fatalf("healthy instances: %v, %v", entries, err)
	}
	site.CloseClientConnections()
	site.Close()
	_, _, err = p.client(t).Health().Service("web", "", false, &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 15 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "web gone from DNS", found(""))
	if entries, _, err = p.client(t).Health().Service("web", "", true, nil); err != nil || len(entries) != 0 {
		t.Errorf("a dead server is healthy: %v, %v", entries, err)
	}
	again, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	site = serveOn(again)
	defer site.Close()
	await(t, "web back in DNS", found("127.0.0.1"))
	if code := p.stop(t, os.Interrupt); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(p.log.String(), "watches come with") {
		t.Error("no warning about the watch in the file")
	}
}

func serveOn(l net.Listener) *httptest.Server {
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "hello")
	})}}
	s.Start()
	return s
}
