package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// startClient starts a client agent of a cluster.
func startClient(c *Ctx, cl *Cluster, o Opts) (*Server, error) {
	b := pickBase(c.basePort + 3000)
	s := &Server{httpP: b, dnsP: b + 1, rpcP: b + 2, serfP: b + 3, bin: c.bin, name: "c1", HTTP: fmt.Sprintf("127.0.0.1:%d", b),
		DNS: fmt.Sprintf("127.0.0.1:%d", b+1), dir: filepath.Join(filepath.Dir(cl.S[0].dir), "c1")}
	if err := os.MkdirAll(filepath.Join(s.dir, "data"), 0o755); err != nil {
		return nil, err
	}
	var join []string
	for _, one := range cl.S {
		join = append(join, fmt.Sprintf("127.0.0.1:%d", one.serfP))
	}
	o.Debug = o.Debug || c.profile != ""
	if err := s.writeConfig(join, len(join)+1, o); err != nil {
		return nil, err
	}
	p, err := startProc(s.name, filepath.Join(s.dir, "log"), s.bin, "agent", "-data-dir", filepath.Join(s.dir, "data"), "-config-file", s.cfg)
	s.Proc = p
	if err == nil {
		err = waitWritable(s, 40*time.Second)
	}
	return s, err
}

// groupClient measures a cluster at rest, and beside it a client agent that answers 10,000 DNS questions a second: what it
// holds, and what the servers do meanwhile.
func groupClient(c *Ctx) error {
	cl, err := startCluster(c, Opts{})
	if err != nil {
		return err
	}
	defer cl.cleanup()
	time.Sleep(3 * time.Second)
	share := func(d time.Duration, during func()) float64 {
		before, at := cl.CPU(), time.Now()
		during()
		time.Sleep(time.Until(at.Add(d)))
		return (cl.CPU() - before) / time.Since(at).Seconds() * 100
	}
	if c.want("idle-3srv") {
		time.Sleep(15 * time.Second) // after the servers have met they agree on their rules and compare their states
		c.rec.fig("idle-3srv", "idle_cpu", share(40*time.Second, func() {}), "% core", "lower", 1, 0, "three servers without clients, over 40 s, from 15 s after they had met")
	}
	if !c.want("client-dns-10k") {
		return nil
	}
	agent, err := startClient(c, cl, Opts{})
	if agent != nil && agent.Proc != nil {
		defer agent.Kill()
	}
	if err != nil {
		return err
	}
	const name, perSecond = "client-dns-10k", 10_000
	if err := registerN(cl.Leader.HTTP, "web3", 3); err != nil {
		return err
	}
	q := dnsQuery("web3.service.consul", 1, 0)
	var asked atomic.Int64
	begin := time.Now()
	ask := func(d time.Duration) *Result {
		asked.Store(0)
		begin = time.Now()
		return udpLoad(agent.DNS, 32, d, q, func(b []byte, id uint16) error {
			_, _, err := checkDNS(b, id, 1, 3, 3)
			time.Sleep(time.Until(begin.Add(time.Duration(asked.Add(1)) * time.Second / perSecond)))
			return err
		})
	}
	ask(time.Second)
	time.Sleep(2 * time.Second)
	rest := share(15*time.Second, func() {})
	var r *Result
	used := agent.CPU()
	busy := share(15*time.Second, func() { r = ask(15 * time.Second) })
	c.rec.loop(name, r, agent.CPU()-used, 1, "32 sockets, paced")
	c.rec.fig(name, "rss", agent.RSS(), "MiB", "lower", r.Ops, r.Errs, fmt.Sprintf("client agent; anonymous %.1f MiB", agent.Anon()))
	c.rec.fig(name, "servers_rest", rest, "% core", "lower", 1, 0, "three servers, nobody asks, over 15 s")
	c.rec.fig(name, "servers_busy", busy, "% core", "lower", r.Ops, r.Errs, "three servers, the client agent answers")
	return nil
}
