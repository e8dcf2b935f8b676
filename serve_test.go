package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// served starts an agent with HTTPS that wants certificates, and a unix socket; the files lie in dir.
func served(t *testing.T, dir string) (p *process, https, socket string) {
	t.Helper()
	for _, args := range []string{"ca create", "cert create -server -additional-ipaddress=127.0.0.1", "cert create -client"} {
		cmd := exec.Command("rostra", append([]string{"tls"}, strings.Fields(args)...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "http.sock")
	conf := filepath.Join(dir, "a.hcl")
	text := fmt.Sprintf(`
addresses { http = "127.0.0.1 unix://%[1]s/http.sock" }
ports { https = %[2]s }
tls { https {
  ca_file = "%[1]s/consul-agent-ca.pem"
  cert_file = "%[1]s/dc1-server-consul-0.pem"
  key_file = "%[1]s/dc1-server-consul-0-key.pem"
  verify_incoming = true
} }`, dir, ports[0])
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return startAgent(t, "-dev", "-config-file="+conf), "127.0.0.1:" + ports[0], socket
}

// TestOfficialClientServed: the official client over HTTPS with a certificate, over a unix socket and over HTTP/2 without
// TLS, and a watch that waits on each while it is written.
func TestOfficialClientServed(t *testing.T) {
	dir := t.TempDir()
	p, https, socket := served(t, dir)
	tls := api.TLSConfig{CAFile: dir + "/consul-agent-ca.pem", CertFile: dir + "/dc1-client-consul-0.pem", KeyFile: dir + "/dc1-client-consul-0-key.pem"}
	h2c := &http.Transport{Protocols: new(http.Protocols)}
	h2c.Protocols.SetUnencryptedHTTP2(true)
	defer h2c.CloseIdleConnections()
	for name, conf := range map[string]*api.Config{
		"https": {Address: https, Scheme: "https", TLSConfig: tls},
		"unix":  {Address: "unix://" + socket},
		"h2c":   {Address: p.HTTP, HttpClient: &http.Client{Transport: h2c}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := api.NewClient(conf)
			must(t, err)
			must(t, put(c, name, strings.Repeat("v", 300_000)))
			pair, meta, err := c.KV().Get(name, nil)
			must(t, err)
			if len(pair.Value) != 300_000 {
				t.Errorf("read %d bytes", len(pair.Value))
			}
			woken := make(chan error, 1)
			go func() {
				pair, _, err := c.KV().Get(name, &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
				if err == nil && string(pair.Value) != "w" {
					err = fmt.Errorf("woken with %.9s", pair.Value)
				}
				woken <- err
			}()
			must(t, put(c, name, "w"))
			must(t, <-woken)
		})
	}
	without, err := api.NewClient(&api.Config{Address: https, Scheme: "https", TLSConfig: api.TLSConfig{CAFile: tls.CAFile}})
	must(t, err)
	if _, err := without.Status().Leader(); err == nil {
		t.Error("a client without a certificate was served")
	}
}

func put(c *api.Client, key, value string) error {
	_, err := c.KV().Put(&api.KVPair{Key: key, Value: []byte(value)}, nil)
	return err
}

// TestManyIdleConnections: 10,000 clients that are silent, after a request or before one, cost some memory that is given
// back when they leave, and nobody else notices them.
func TestManyIdleConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 connections take some seconds")
	}
	clients := 10_000
	var files syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	if most := int(files.Max) - 500; most < clients {
		t.Logf("this process may open %d files only", files.Max)
		clients = most
	}
	p := startAgent(t, "-dev", "-log-level=INFO", "-hcl", fmt.Sprintf("limits { http_max_conns_per_client = %d }", clients+10))
	await(t, "a quiet agent", func() error { return put(p.client(t), "k", "v") })
	before := p.resident(t)
	var idle []net.Conn
	defer func() {
		for _, c := range idle {
			c.Close()
		}
	}()
	for i := range clients {
		c, err := net.Dial("tcp", p.HTTP)
		if err != nil {
			t.Fatalf("after %d connections: %v", i, err)
		}
		idle = append(idle, c)
		if i%2 == 0 {
			continue
		}
		if _, err := io.WriteString(c, "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReaderSize(c, 512).ReadString('\n'); !strings.Contains(line, "200") {
			t.Fatalf("connection %d: %q, %v", i, line, err)
		}
	}
	must(t, put(p.client(t), "k", "w"))
	with := p.resident(t)
	t.Logf("%d connections: from %d to %d MiB", clients, before>>20, with>>20)
	if each := (with - before) / clients; each > 40<<10 {
		t.Errorf("an idle connection takes %d bytes", each)
	}
	for _, c := range idle {
		c.Close()
	}
	await(t, "the memory's return", func() error {
		if now := p.resident(t); now > before+(with-before)*2/3 {
			return fmt.Errorf("%d MiB", now>>20)
		}
		return nil
	})
}

// resident returns the memory of the process, in bytes.
func (p *process) resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	must(t, err)
	var size, pages int
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// TestTooManyOverHTTPS: the connection above the limit is told so over TLS, too.
func TestTooManyOverHTTPS(t *testing.T) {
	dir := t.TempDir()
	p, https, _ := served(t, dir)
	tls := api.TLSConfig{CAFile: dir + "/consul-agent-ca.pem", CertFile: dir + "/dc1-client-consul-0.pem", KeyFile: dir + "/dc1-client-consul-0-key.pem"}
	conf, err := api.SetupTLSConfig(&tls)
	must(t, err)
	tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	for range 199 { // limits.http_max_conns_per_client is 200, and one is there to ask for a leader
		c, err := net.Dial("tcp", p.HTTP)
		must(t, err)
		held = append(held, c)
	}
	await(t, "200 connections", func() error {
		var counters map[string]uint64
		_, err := p.client(t).Raw().Query("/v1/rostra/counters", &counters, nil)
		if n := counters["http.connections"]; err == nil && n != 200 {
			err = fmt.Errorf("there are %d", n)
		}
		return err
	})
	resp, err := (&http.Client{Transport: tr}).Get("https://" + https + "/v1/status/leader")
	must(t, err)
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusTooManyRequests || !strings.Contains(string(body), "too many concurrent connections") {
		t.Errorf("%s %s", resp.Status, body)
	}
}
