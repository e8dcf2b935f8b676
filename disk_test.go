package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// mount makes a small disk of its own; the test is skipped where that is not allowed.
func mount(t *testing.T, dir string, args ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting disks needs root")
	}
	needs(t, "mount", "mount")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", append(args, dir)...).CombinedOutput(); err != nil {
		t.Skipf("disks cannot be mounted here: %v, %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Logf("umount: %v, %s", err, out)
		}
	})
}

// fill takes the room of a disk until so many bytes are left; the returned function gives it back.
func fill(t *testing.T, dir string, left int64) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(s.Bavail)*s.Bsize-left); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// smallDisks are three servers, each with a disk of 48 MiB.
func smallDisks(t *testing.T) *cluster {
	disks := t.TempDir()
	for i := range 3 {
		mount(t, filepath.Join(disks, fmt.Sprint(i+1)), "-t", "tmpfs", "-o", "size=48m", "tmpfs")
	}
	c := &cluster{t: t}
	first := ""
	for i := range 3 {
		m := &machine{node: fmt.Sprintf("s%d", i+1), ip: freeMachine(), dir: filepath.Join(disks, fmt.Sprint(i+1))}
		if i == 0 {
			first = m.ip
		}
		m.args = []string{"-client=" + m.ip, "-bind=" + m.ip, "-data-dir=" + filepath.Join(m.dir, "data"), "-retry-interval=1s", "-retry-join=" + first,
			"-server", "-bootstrap-expect=3", "-node=" + m.node, "-hcl=autopilot { server_stabilization_time = \"1s\" }"}
		c.members = append(c.members, m)
		c.start(m)
	}
	c.awaitLeader(c.members...)
	return c
}

func putTo(t *testing.T, m *machine, key string, size int) error {
	_, err := m.client(t).KV().Put(&api.KVPair{Key: key, Value: make([]byte, size)}, nil)
	return err
}

// TestDisksFillUp: three real servers on small disks. The leader's gets full: another leads and writes go on. A second one's too:
// no server takes writes, and says why; all answer reads. With room again they take writes, and no process was restarted.
// One whose disk is full to the last byte stops, and the others go on without it.
func TestDisksFillUp(t *testing.T) {
	c := smallDisks(t)
	leader := c.awaitLeader(c.members...)
	if err := putTo(t, leader, "a", 1000); err != nil {
		t.Fatal(err)
	}
	freeFirst := fill(t, leader.dir, 2<<20)
	var second *machine
	await(t, "a leader with room", func() error {
		if second = c.awaitLeader(c.members...); second == leader {
			return fmt.Errorf("%s leads on", leader.node)
		}
		return nil
	})
	for _, m := range c.members {
		if err := putTo(t, m, "b", 1000); err != nil {
			t.Errorf("two of three have room, and %s says %v", m.node, err)
		}
	}
	free := fill(t, second.dir, 2<<20)
	await(t, "refusals", func() error {
		for _, m := range c.members {
			status, _, body := m.request(t, "PUT", "/v1/kv/c", "x")
			if status != http.StatusServiceUnavailable || !strings.Contains(body, "room for data on 1 of 3 is no majority; the disk of the data directory of s") {
				return fmt.Errorf("%s: %d %s", m.node, status, body)
			}
		}
		return nil
	})
	for _, m := range c.members {
		if status, _, body := m.request(t, "GET", "/v1/kv/b", ""); status != http.StatusOK {
			t.Errorf("%s does not read: %d %s", m.node, status, body)
		}
	}
	warned, _, err := leader.client(t).Health().State("warning", nil)
	if err != nil || len(warned) == 0 && !strings.Contains(fmt.Sprint(leader.client(t).Agent().Checks()), "rostra:disk") {
		t.Errorf("no warning: %v, %v", warned, err)
	}
	free()
	await(t, "writes with room", func() error { return putTo(t, second, "d", 1000) })

	freeFirst()
	last := c.members[slices.IndexFunc(c.members, func(m *machine) bool { return m != leader && m != second })]
	free = fill(t, last.dir, 0)
	ended := make(chan struct{})
	go func() { _ = last.cmd.Wait(); close(ended) }()
	await(t, "the one whose disk is full to stop", func() error {
		err := putTo(t, second, "e", 400<<10)
		select {
		case <-ended:
			return nil
		default:
			return fmt.Errorf("it goes on; a write: %w", err)
		}
	})
	if code := last.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(last.log.String(), "no space left on device; free space or replace the disk, and start this server again") {
		t.Errorf("it ended with %d:\n%s", code, last.log)
	}
	await(t, "writes without it", func() error { return putTo(t, second, "f", 1000) })
	free()
	c.start(last)
	await(t, "the last one to have it all", func() error {
		pair, _, err := last.client(t).KV().Get("f", &api.QueryOptions{AllowStale: true})
		if err == nil && pair == nil {
			err = errors.New("it has not")
		}
		return err
	})
}

// TestDiskTurnsReadOnly: the file system meets an error and takes no more writes, as ext4 does. A real server then stops at its
// next write and says why, or refuses it; what it had acknowledged is there when the disk is mended.
func TestDiskTurnsReadOnly(t *testing.T) {
	needs(t, "mkfs.ext4", "e2fsprogs")
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	writeFile(t, image, "")
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", image).CombinedOutput(); err != nil {
		t.Fatalf("%v, %s", err, out)
	}
	mount(t, at, "-o", "loop,errors=remount-ro", image)
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(mounts), " "+at+" ")
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(before[strings.LastIndexByte(before, '\n')+1:]), "trigger_fs_error")
	if _, err := os.Stat(trigger); err != nil {
		t.Skip("this kernel has no way to make a file system fail")
	}
	args := []string{"-server", "-bootstrap-expect=1", "-data-dir=" + filepath.Join(at, "data")}
	p := startAgent(t, args...)
	kv := p.client(t).KV()
	if _, err := kv.Put(&api.KVPair{Key: "a", Value: []byte("kept")}, nil); err != nil {
		t.Fatal(err)
	}
	writeFile(t, trigger, "1")
	_, err = kv.Put(&api.KVPair{Key: "a", Value: []byte("lost")}, nil)
	if err == nil {
		t.Fatal("what cannot be written was acknowledged")
	}
	t.Logf("the write: %v", err)
	if !strings.Contains(err.Error(), "503") {
		done := make(chan struct{})
		go func() { _ = p.cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("it neither refuses nor stops")
		}
		if p.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(p.log.String(), "read-only file system") || !strings.Contains(p.log.String(), "start this server again") {
			t.Errorf("it ended with %d:\n%s", p.cmd.ProcessState.ExitCode(), p.log)
		}
	}
	p.stop(t, syscall.SIGTERM)
	for _, step := range [][]string{{"umount", at}, {"fsck.ext4", "-f", "-p", image}, {"mount", "-o", "loop", image, at}} {
		if out, err := exec.Command(step[0], step[1:]...).CombinedOutput(); err != nil && step[0] != "fsck.ext4" { // it says 1 when it mended something
			t.Fatalf("%v: %v, %s", step, err, out)
		}
	}
	p = startAgent(t, args...)
	pair, _, err := p.client(t).KV().Get("a", nil)
	if err != nil || pair == nil || string(pair.Value) != "kept" && string(pair.Value) != "lost" {
		t.Errorf("it holds %v, %v", pair, err)
	}
	p.stop(t, syscall.SIGTERM)
}
