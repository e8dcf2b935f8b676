package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// addresses counts the loopback addresses handed out: each agent of a cluster has its own, with the usual ports.
var addresses atomic.Uint32

func freeMachine() string {
	n := addresses.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 1+os.Getpid()%250, 1+n/200, 1+n%200)
}

// machine is a real agent of a cluster in its own process.
type machine struct {
	*process
	node, ip, dir string
	args          []string
	program       string // "" is rostra
}

// cluster is a group of real agents on loopback addresses.
type cluster struct {
	t       *testing.T
	members []*machine
}

// startCluster starts servers named s1… and client agents named c1…, and waits until there is a leader.
func startCluster(t *testing.T, servers, clients int, args ...string) *cluster {
	t.Helper()
	c := &cluster{t: t}
	first := ""
	for i := range servers + clients {
		m := &machine{node: fmt.Sprintf("c%d", i-servers+1), ip: freeMachine(), dir: filepath.Join(t.TempDir(), "data")}
		m.args = append([]string{"-client=" + m.ip, "-bind=" + m.ip, "-data-dir=" + m.dir, "-retry-interval=1s"}, args...)
		if i == 0 {
			first = m.ip
		}
		m.args = append(m.args, "-retry-join="+first)
		if i < servers {
			m.node = fmt.Sprintf("s%d", i+1)
			m.args = append(m.args, "-server", fmt.Sprintf("-bootstrap-expect=%d", servers))
		}
		m.args = append(m.args, "-node="+m.node)
		c.members = append(c.members, m)
		c.start(m)
	}
	c.awaitLeader(c.members...)
	return c
}

// start starts a machine's process, once more if it ended.
func (c *cluster) start(m *machine) {
	c.t.Helper()
	m.process = &process{log: new(bytes.Buffer), HTTP: m.ip + ":8500", DNS: m.ip + ":8600"}
	m.cmd = exec.Command(cmp.Or(m.program, "rostra"), append([]string{"agent"}, m.args...)...)
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	if err := m.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	p := m.process
	c.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // those that a test stopped in order have ended
		_ = p.cmd.Wait()
		if c.t.Failed() {
			c.t.Logf("the log of %s:\n%s", m.node, p.log)
		}
	})
}

// awaitLeader waits until all of them know the same leader, and returns the machine that leads.
func (c *cluster) awaitLeader(of ...*machine) *machine {
	c.t.Helper()
	var leader string
	await(c.t, "a leader that all know", func() error {
		leader = ""
		for _, m := range of {
			l, err := m.client(c.t).Status().Leader()
			if err != nil {
				return err
			}
			if l == "" || leader != "" && l != leader {
				return fmt.Errorf("%s says %q, others %q", m.node, l, leader)
			}
			leader = l
		}
		return nil
	})
	for _, m := range c.members {
		if strings.HasPrefix(leader, m.ip+":") {
			return m
		}
	}
	c.t.Fatalf("the leader %q is none of ours", leader)
	return nil
}

// kill ends a machine like a power cut of its machine's process.
func (c *cluster) kill(m *machine) {
	_ = m.cmd.Process.Signal(syscall.SIGKILL)
	_ = m.cmd.Wait()
}

func (c *cluster) byName(name string) *machine {
	for _, m := range c.members {
		if m.node == name {
			return m
		}
	}
	c.t.Fatalf("no machine %s", name)
	return nil
}

// TestFailover kills the leader of three servers amid writers on all agents. Nothing that was acknowledged is lost, and the
// cluster goes on; the killed server comes back with everything.
func TestFailover(t *testing.T) {
	c := startCluster(t, 3, 2)
	leader := c.awaitLeader(c.members...)
	writers := make([]*writer, 16)
	stop := make(chan struct{})
	var wait sync.WaitGroup
	i := 0
	for _, m := range c.members {
		if m == leader {
			continue
		}
		for range len(writers) / 4 {
			w := &writer{key: fmt.Sprintf("failover/%d", i)}
			writers[i] = w
			i++
			wait.Go(func() { w.writeThrough(m.client(t), stop) })
		}
	}
	<-time.After(time.Second)
	c.kill(leader)
	survivors := []*machine{}
	for _, m := range c.members {
		if m != leader {
			survivors = append(survivors, m)
		}
	}
	c.awaitLeader(survivors...)
	<-time.After(time.Second)
	close(stop)
	wait.Wait()
	var longest time.Duration
	for _, w := range writers {
		longest = max(longest, w.pause)
	}
	t.Logf("longest pause of a writer: %v", longest)
	for _, m := range survivors {
		verify(t, m.client(t), writers)
	}
	c.start(leader)
	c.awaitLeader(c.members...)
	verify(t, leader.client(t), writers)
}

// writeThrough puts until stopped; a write that failed may have happened or not, and is not tried again.
func (w *writer) writeThrough(c *api.Client, stop <-chan struct{}) {
	last := time.Now()
	for {
		select {
		case <-stop:
			return
		default:
		}
		w.sent++
		if _, err := c.KV().Put(&api.KVPair{Key: w.key, Value: fmt.Append(nil, w.sent)}, nil); err == nil {
			w.answered = w.sent
			w.pause = max(w.pause, time.Since(last))
			last = time.Now()
		}
	}
}
