package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"
)

// TestSameLogSameBytes replays one log in two processes with different GOMAXPROCS, and once more behind a snapshot cut
// halfway: the states are equal to the byte.
func TestSameLogSameBytes(t *testing.T) {
	dir := t.TempDir()
	first := filepath.Join(dir, "first")
	p := startAgent(t, "-server", "-bootstrap-expect=1", "-server-port=8300", "-data-dir="+first, "-node-id=11111111-2222-3333-4444-555555555555")
	c := p.client(t)
	writeSome(t, c, 0)
	p.stop(t, syscall.SIGKILL)
	// An orderly stop in one copy cuts a snapshot halfway through what is to come.
	second := filepath.Join(dir, "second")
	must(t, os.CopyFS(second, os.DirFS(first)))
	before := stateOf(t, first, "GOMAXPROCS=1", syscall.SIGKILL)
	after := stateOf(t, second, "GOMAXPROCS=2", os.Interrupt)
	if !bytes.Equal(before, after) {
		t.Errorf("the states differ: %d and %d bytes", len(before), len(after))
	}
	if again := stateOf(t, second, "GOMAXPROCS=1", syscall.SIGKILL); !bytes.Equal(before, again) {
		t.Errorf("the state behind a snapshot differs: %d and %d bytes", len(before), len(again))
	}
}

// writeSome makes rows of every kind.
func writeSome(t *testing.T, c *api.Client, from int) {
	t.Helper()
	for i := from; i < from+40; i++ {
		_, err := c.Catalog().Register(&api.CatalogRegistration{Node: fmt.Sprintf("ext-%d", i%7), Address: "192.0.2.1",
			NodeMeta: map[string]string{"z": "1", "a": "2", "m": fmt.Sprint(i)},
			Service:  &api.AgentService{ID: fmt.Sprintf("s-%d", i), Service: "s", Tags: []string{"b", "a"}, Meta: map[string]string{"k": "v", "j": "w"}},
			Checks:   api.HealthChecks{{CheckID: fmt.Sprintf("c-%d", i), Name: "c", Status: "passing", ServiceID: fmt.Sprintf("s-%d", i)}}}, nil)
		must(t, err)
		_, err = c.KV().Put(&api.KVPair{Key: fmt.Sprintf("k/%d", i%13), Value: []byte(fmt.Sprint(i))}, nil)
		must(t, err)
	}
	await(t, "rules for prepared queries", func() error {
		_, _, err := c.PreparedQuery().Create(&api.PreparedQueryDefinition{Name: fmt.Sprint("q", from), Service: api.ServiceQuery{Service: "s",
			NodeMeta: map[string]string{"z": "1", "a": "2"}, ServiceMeta: map[string]string{"k": "v", "j": "w"}}}, nil)
		return err
	})
	id, _, err := c.Session().CreateNoChecks(&api.SessionEntry{Node: "ext-1", Behavior: "delete"}, nil)
	must(t, err)
	_, _, err = c.KV().Acquire(&api.KVPair{Key: "k/lock", Session: id}, nil)
	must(t, err)
	_, err = c.KV().DeleteTree("k/1", nil)
	must(t, err)
	_, err = c.Catalog().Deregister(&api.CatalogDeregistration{Node: "ext-2"}, nil)
	must(t, err)
}

// stateOf starts an agent on the directory, takes the state out of a snapshot and stops the agent with the signal.
func stateOf(t *testing.T, dir, env string, sig os.Signal) []byte {
	t.Helper()
	key, value, _ := bytes.Cut([]byte(env), []byte("="))
	t.Setenv(string(key), string(value))
	p := startAgent(t, "-server", "-bootstrap-expect=1", "-server-port=8300", "-data-dir="+dir)
	archive, _, err := p.client(t).Snapshot().Save(nil)
	must(t, err)
	defer archive.Close()
	zip, err := gzip.NewReader(archive)
	must(t, err)
	var state []byte
	for in := tar.NewReader(zip); ; {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		if h.Name == "state.bin" {
			state, err = io.ReadAll(in)
			must(t, err)
		}
	}
	p.stop(t, sig)
	return state
}
