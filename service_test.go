package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestReadyAlone: a lone server tells systemd that it is up (issue: Consul's never does without retry_join, spec agent.md
// §12). The service manager is a small server that speaks its public protocol: none runs on the machines that test this.
func TestReadyAlone(t *testing.T) {
	dir, err := os.MkdirTemp("", "sd")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "notify")
	manager, err := net.ListenPacket("unixgram", name)
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	pid := filepath.Join(dir, "pid")
	p := startAgent(t, "-server", "-bootstrap-expect=1", "-data-dir="+filepath.Join(dir, "data"), "-pid-file="+pid)
	b := make([]byte, 100)
	if err := manager.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := manager.ReadFrom(b); err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("the manager heard %q, %v", b[:n], err)
	}
	if got, err := os.ReadFile(pid); err != nil || string(got) != strconv.Itoa(p.cmd.Process.Pid) {
		t.Errorf("the pid file holds %q, %v", got, err)
	}
	// A second signal ends the process at once, and the pid file goes all the same.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	p.stop(t, syscall.SIGTERM)
	if _, err := os.Stat(pid); err == nil {
		t.Error("the pid file is still there")
	}
}

// TestStopUnderWatches: with 1,000 watches open the agent stops in good order: exit code 0, before its own limit of 15 s, at
// which it would be 1. All watchers get an answer or the end of their connection.
func TestStopUnderWatches(t *testing.T) {
	const watches = 1000
	p := startAgent(t, "-dev", "-hcl", "limits { http_max_conns_per_client = "+strconv.Itoa(watches+100)+" }")
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 0}}
	var open atomic.Int32
	var done sync.WaitGroup
	for i := range watches {
		done.Go(func() {
			r, err := client.Get("http://" + p.HTTP + "/v1/kv/w/" + strconv.Itoa(i%100) + "?recurse&index=1000000&wait=10m")
			if err == nil {
				r.Body.Close()
			}
			open.Add(-1)
		})
		open.Add(1)
	}
	await(t, "the watches", func() error {
		if n := p.waiting(t); n < watches {
			return fmt.Errorf("%d wait", n)
		}
		return nil
	})
	at := time.Now()
	if code := p.stop(t, syscall.SIGTERM); code != 1 { // what a server's signal ends with (spec agent.md §12)
		t.Errorf("exit code %d", code)
	}
	t.Logf("stopped under %d watches in %v", watches, time.Since(at).Round(time.Millisecond))
	done.Wait()
	if n := open.Load(); n != 0 {
		t.Errorf("%d watches never ended", n)
	}
}
