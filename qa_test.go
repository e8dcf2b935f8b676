package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// request returns the status, the headers and the body of the answer.
func (p *process) request(t *testing.T, method, path, body string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+p.HTTP+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func (p *process) index(t *testing.T, path string) uint64 {
	t.Helper()
	_, header, _ := p.request(t, "GET", path, "")
	n, err := strconv.ParseUint(header.Get("X-Consul-Index"), 10, 64)
	if err != nil {
		t.Fatalf("%s has no index: %v", path, err)
	}
	return n
}

// waiting is how many blocking queries wait in the process.
func (p *process) waiting(t *testing.T) int {
	t.Helper()
	_, _, body := p.request(t, "GET", "/v1/rostra/counters", "")
	var counters struct {
		Waiting int `json:"blocking_queries"`
	}
	if err := json.Unmarshal([]byte(body), &counters); err != nil {
		t.Fatal(err)
	}
	return counters.Waiting
}

// wakes is the table of conventions §8: which write ends which blocking query.
var wakes = []struct {
	about, query string
	write        [3]string
	wakes        bool
}{
	{"another key", "/v1/kv/a/1", [3]string{"PUT", "/v1/kv/a/2", "1"}, false},
	{"the same value", "/v1/kv/a/1", [3]string{"PUT", "/v1/kv/a/1", "0"}, false},
	{"the key", "/v1/kv/a/1", [3]string{"PUT", "/v1/kv/a/1", "1"}, true},
	{"outside the prefix", "/v1/kv/a/?recurse", [3]string{"PUT", "/v1/kv/other", "1"}, false},
	{"a key that is not there", "/v1/kv/a/?recurse", [3]string{"DELETE", "/v1/kv/a/9", ""}, false},
	{"a value below the prefix", "/v1/kv/a/?keys", [3]string{"PUT", "/v1/kv/a/2", "2"}, true},
	{"a deletion below the prefix", "/v1/kv/a/?recurse", [3]string{"DELETE", "/v1/kv/a/2", ""}, true},
	{"an absent key, another", "/v1/kv/new", [3]string{"PUT", "/v1/kv/other", "2"}, false},
	{"an absent key, itself", "/v1/kv/new", [3]string{"PUT", "/v1/kv/new", "1"}, true},
	{"a tree deletion, a key in it", "/v1/kv/a/1", [3]string{"DELETE", "/v1/kv/a?recurse", ""}, true},
	{"all keys", "/v1/kv/?recurse", [3]string{"PUT", "/v1/kv/other", "3"}, true},
	{"another service", "/v1/health/service/s1", [3]string{"PUT", "/v1/catalog/register", `{"Node":"n2","Address":"10.0.0.2","Service":{"Service":"s2","Port":2}}`}, false},
	{"the service again as it is", "/v1/health/service/s1", [3]string{"PUT", "/v1/catalog/register", `{"Node":"n1","Address":"10.0.0.1","Service":{"Service":"s1","Port":1}}`}, false},
	{"the service", "/v1/health/service/s1", [3]string{"PUT", "/v1/catalog/register", `{"Node":"n1","Address":"10.0.0.1","Service":{"Service":"s1","Port":2}}`}, true},
	{"a check of its node", "/v1/health/service/s1", [3]string{"PUT", "/v1/catalog/register", `{"Node":"n1","Address":"10.0.0.1","Check":{"Name":"c","Status":"passing"}}`}, true},
	{"a check of another node", "/v1/health/service/s1", [3]string{"PUT", "/v1/catalog/register", `{"Node":"n2","Address":"10.0.0.2","Check":{"Name":"c","Status":"passing"}}`}, false},
	{"the node's address", "/v1/catalog/service/s1", [3]string{"PUT", "/v1/catalog/register", `{"Node":"n1","Address":"10.0.0.9"}`}, true},
	{"an absent service, others", "/v1/health/service/s3", [3]string{"PUT", "/v1/catalog/register", `{"Node":"n2","Address":"10.0.0.2","Service":{"Service":"s2","Port":3}}`}, false},
	{"an absent service, itself", "/v1/health/service/s3", [3]string{"PUT", "/v1/catalog/register", `{"Node":"n2","Address":"10.0.0.2","Service":{"Service":"s3","Port":3}}`}, true},
	{"the last instance", "/v1/health/service/s3", [3]string{"PUT", "/v1/catalog/deregister", `{"Node":"n2","ServiceID":"s3"}`}, true},
	{"nodes, a service", "/v1/catalog/nodes", [3]string{"PUT", "/v1/catalog/register", `{"Node":"n2","Address":"10.0.0.2","Service":{"Service":"s2","Port":4}}`}, false},
	{"nodes, a node", "/v1/catalog/nodes", [3]string{"PUT", "/v1/catalog/register", `{"Node":"n3","Address":"10.0.0.3"}`}, true},
	{"services, a key", "/v1/catalog/services", [3]string{"PUT", "/v1/kv/other", "4"}, false},
	{"services, one more", "/v1/catalog/services", [3]string{"PUT", "/v1/catalog/register", `{"Node":"n3","Address":"10.0.0.3","Service":{"Service":"s4"}}`}, true},
	{"checks, one more", "/v1/health/state/any", [3]string{"PUT", "/v1/catalog/register", `{"Node":"n3","Address":"10.0.0.3","Check":{"Name":"c","Status":"passing"}}`}, true},
	{"sessions, a key", "/v1/session/list", [3]string{"PUT", "/v1/kv/other", "5"}, false},
	{"sessions, one more", "/v1/session/list", [3]string{"PUT", "/v1/session/create", ""}, true},
}

// TestWakes asks the real process.
func TestWakes(t *testing.T) {
	p := startAgent(t, "-dev", "-log-level=error")
	settle(t, p)
	put := func(path, body string) {
		t.Helper()
		if status, _, answer := p.request(t, "PUT", path, body); status != http.StatusOK {
			t.Fatalf("PUT %s: %d %s", path, status, answer)
		}
	}
	for _, name := range []string{"a/1", "a/2", "other"} {
		put("/v1/kv/"+name, "0")
	}
	for _, n := range []string{"1", "2"} {
		put("/v1/catalog/register", fmt.Sprintf(`{"Node":"n%s","Address":"10.0.0.%s","Service":{"Service":"s%s","Port":1}}`, n, n, n))
	}
	for _, c := range wakes {
		before := p.index(t, c.query)
		wait := 20 * time.Second
		if !c.wakes {
			wait = time.Second
		}
		sign := "?"
		if strings.Contains(c.query, "?") {
			sign = "&"
		}
		start := time.Now()
		done := make(chan uint64, 1)
		go func() {
			defer close(done)
			done <- p.index(t, fmt.Sprintf("%s%sindex=%d&wait=%s", c.query, sign, before, wait))
		}()
		await(t, "the query to wait", func() error {
			if p.waiting(t) == 0 {
				return fmt.Errorf("%s: none waits", c.about)
			}
			return nil
		})
		p.request(t, c.write[0], c.write[1], c.write[2])
		after := <-done
		switch took := time.Since(start); {
		case c.wakes && (took >= wait || after <= before):
			t.Errorf("%s: %s was not woken: %v, index %d and then %d", c.about, c.query, took, before, after)
		case !c.wakes && took < wait:
			t.Errorf("%s: %s was woken after %v", c.about, c.query, took)
		}
	}
	if before := p.index(t, "/v1/kv/other"); before != p.index(t, "/v1/kv/other?index=1") {
		t.Error("an old index is not answered at once")
	}
}

// TestSignals reloads the real process, by signal and over HTTP, and stops it.
func TestSignals(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "conf")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(conf, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(conf, 0o700); err != nil {
		t.Fatal(err)
	}
	write("a.json", `{"service": {"name": "one", "port": 1, "check": {"ttl": "1h"}}, "log_level": "WARN"}`)
	p := startAgent(t, "-server", "-bootstrap-expect=1", "-data-dir="+filepath.Join(dir, "data"), "-config-dir="+conf)
	client := p.client(t)
	if err := client.Agent().UpdateTTL("service:one", "fine", "passing"); err != nil {
		t.Fatal(err)
	}
	has := func(want ...string) func() error {
		return func() error {
			services, err := client.Agent().Services()
			if err != nil {
				return err
			}
			for _, id := range want {
				if services[id] == nil {
					return fmt.Errorf("%s is missing", id)
				}
			}
			if len(services) != len(want) {
				return fmt.Errorf("%d services, not %d", len(services), len(want))
			}
			return nil
		}
	}
	hangup := func() {
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	write("b.json", `{"service": {"name": "two"}}`)
	hangup()
	await(t, "the new service", has("one", "two"))
	checks, err := client.Agent().Checks()
	if err != nil || checks["service:one"] == nil || checks["service:one"].Status != "passing" {
		t.Errorf("a reload forgot a check's state: %v, %v", checks, err)
	}
	write("c.json", `{"nonsense": true}`)
	if status, _, body := p.request(t, "PUT", "/v1/agent/reload", ""); status != http.StatusInternalServerError || !strings.Contains(body, "c.json:1: invalid config key nonsense") {
		t.Errorf("reload of a bad file: %d %s", status, body)
	}
	if err := has("one", "two")(); err != nil {
		t.Errorf("a bad file changed something: %v", err)
	}
	for _, name := range []string{"b.json", "c.json"} {
		if err := os.Remove(filepath.Join(conf, name)); err != nil {
			t.Fatal(err)
		}
	}
	hangup()
	await(t, "the old service to go", has("one"))
	write("a.json", `{"service": {"name": "one", "port": 1}, "log_level": "DEBUG"}`)
	hangup()
	await(t, "the log level", func() error {
		if _, _, body := p.request(t, "GET", "/v1/agent/self", ""); !strings.Contains(body, `"LogLevel":"DEBUG"`) {
			return fmt.Errorf("no debug level yet")
		}
		return nil
	})
	if code := p.stop(t, syscall.SIGTERM); code != 1 {
		t.Errorf("SIGTERM: exit code %d", code)
	}
}

// TestExitCode ends agents in every orderly way: only one that left ends with 0, as Consul's do.
func TestExitCode(t *testing.T) {
	for _, one := range []struct {
		name string
		args []string
		sig  os.Signal
		want int
		says string
	}{
		{"a server at SIGTERM", []string{"-server"}, syscall.SIGTERM, 1, "Graceful shutdown disabled. Exiting"},
		{"a server at SIGINT", []string{"-server"}, os.Interrupt, 1, "Graceful shutdown disabled. Exiting"},
		{"a server that leaves at SIGTERM", []string{"-server", "-hcl=leave_on_terminate = true"}, syscall.SIGTERM, 0, "leaving"},
		{"a client at SIGTERM", nil, syscall.SIGTERM, 0, "leaving"},
		{"a client that does not leave at SIGINT", []string{"-hcl=skip_leave_on_interrupt = true"}, os.Interrupt, 1, "Graceful shutdown disabled. Exiting"},
	} {
		t.Run(one.name, func(t *testing.T) {
			p := launch(t, append(one.args, "-bind=127.0.0.1", "-data-dir="+t.TempDir())...)
			await(t, "its HTTP port", func() error {
				_, err := p.client(t).Agent().Self()
				return err
			})
			if code := p.stop(t, one.sig); code != one.want || !strings.Contains(p.log.String(), one.says) ||
				!strings.Contains(p.log.String(), fmt.Sprintf("Exit code: code=%d", one.want)) {
				t.Errorf("exit code %d instead of %d; its log:\n%s", code, one.want, p.log.String())
			}
		})
	}
}

// TestStop stops a process that a blocked reader still asks, and looks at what it leaves behind.
func TestStop(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := startAgent(t, "-server", "-bootstrap-expect=1", "-data-dir="+dir)
	held := make(chan error, 1)
	go func() {
		resp, err := http.Get("http://" + p.HTTP + "/v1/kv/none?index=1000000&wait=60s")
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		held <- err
	}()
	await(t, "the reader to wait", func() error {
		if p.waiting(t) == 0 {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	start := time.Now()
	if code := p.stop(t, os.Interrupt); code != 1 || time.Since(start) > 10*time.Second {
		t.Errorf("SIGINT: exit code %d after %v", code, time.Since(start))
	}
	<-held
	if snapshots, err := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*", "state.bin")); err != nil || len(snapshots) == 0 {
		t.Errorf("no snapshot was cut at the stop: %v", err)
	}
	for _, path := range []string{"node-id", "LOCK", "raft/format", "raft/log/meta"} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
}

// TestWholeBeforeRead kills a server that holds many keys and asks the new one from its first moment on, in every mode:
// no acknowledged key may be missing, and there is no leader before there is the state.
func TestWholeBeforeRead(t *testing.T) {
	const keys, perTxn = 12_800, 128
	p := startAgent(t, "-server", "-bootstrap-expect=1", "-data-dir="+filepath.Join(t.TempDir(), "data"), "-log-level=error")
	for first := 0; first < keys; first += perTxn {
		var ops []string
		for i := first; i < first+perTxn; i++ {
			ops = append(ops, fmt.Sprintf(`{"KV":{"Verb":"set","Key":"load/%d","Value":"dg=="}}`, i))
		}
		if status, _, body := p.request(t, "PUT", "/v1/txn", "["+strings.Join(ops, ",")+"]"); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
	}
	index := p.index(t, "/v1/kv/load/?keys")
	p.stop(t, os.Kill)

	// The new process listens where the old one did, and the readers do not wait for it.
	again := &process{log: new(bytes.Buffer), HTTP: p.HTTP, DNS: p.DNS, cmd: exec.Command("rostra", p.cmd.Args[1:]...)}
	again.cmd.Stdout, again.cmd.Stderr = again.log, again.log
	if err := again.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { again.stop(t, os.Interrupt) })
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for reader, mode := range []string{"", "?stale", "?consistent", "?raw"} {
		readers.Go(func() {
			for i := reader; ; i += 7 {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := http.Get(fmt.Sprintf("http://%s/v1/kv/load/%d%s", p.HTTP, i%keys, mode))
				if err != nil {
					continue // not listening yet
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("key %d%s: status %d", i%keys, mode, resp.StatusCode)
					return
				}
			}
		})
	}
	await(t, "a leader", func() error {
		leader, err := again.client(t).Status().Leader()
		if err == nil && leader == "" {
			err = fmt.Errorf("none yet")
		}
		return err
	})
	if got := again.index(t, "/v1/kv/load/?keys"); got != index {
		t.Errorf("the index was %d and is %d", index, got)
	}
	close(stop)
	readers.Wait()
}

// settle waits until what an agent and its leader write of it in their first seconds has been written: it wakes watchers,
// rightly. The comparison that a new leader asks for comes within six.
func settle(t *testing.T, p *process) {
	t.Helper()
	index := func() string {
		_, _, body := p.request(t, "GET", "/v1/rostra/counters", "")
		return regexp.MustCompile(`"index":(\d+)`).FindString(body)
	}
	for last, quiet := index(), 0; quiet < 8; quiet++ {
		<-time.After(time.Second)
		if now := index(); now != last {
			last, quiet = now, 0
		}
	}
}
