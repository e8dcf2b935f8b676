package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// The checks of one agent, each every 10 s.
const (
	ttlChecks, httpChecks, tcpChecks, scriptChecks = 1000, 600, 300, 100
	checkPeriod                                    = 10 * time.Second
)

// groupChecks measures what 2,000 checks cost a client agent that a single server stands behind: 1,000 TTL checks that
// are updated over 16 kept connections, 600 HTTP, 300 TCP and 100 scripts (/bin/true), each every 10 s.
func groupChecks(c *Ctx) error {
	const name = "checks-2000"
	srv, err := startSingle(c, Opts{})
	if err != nil {
		return err
	}
	defer srv.cleanup()
	agent, err := startClient(c, &Cluster{S: []*Server{srv}}, Opts{Scripts: true})
	if agent != nil && agent.Proc != nil {
		defer agent.Kill()
	}
	if err != nil {
		return err
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") }))
	defer web.Close()
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer port.Close()
	go func() {
		for {
			conn, err := port.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	rest := share(agent, checkPeriod)
	if err := registerChecks(agent.HTTP, web.URL, port.Addr().String()); err != nil {
		return err
	}
	stop := make(chan struct{})
	var beats sync.WaitGroup
	failed := make(chan error, 16)
	for w := range 16 {
		beats.Go(func() { failed <- beat(agent.HTTP, w, 16, stop) })
	}
	time.Sleep(2 * checkPeriod) // each has run, and its first result is in the catalog
	stopProfile := c.startProfile(name, agent.HTTP)
	used := share(agent, max(6*checkPeriod, c.dur))
	stopProfile()
	close(stop)
	beats.Wait()
	errs := int64(0)
	for range 16 {
		if err := <-failed; err != nil {
			errs++
			fmt.Println(name, err)
		}
	}
	good, err := passing(agent.HTTP)
	if err != nil {
		return err
	}
	if all := ttlChecks + httpChecks + tcpChecks + scriptChecks; good != all {
		errs++
		fmt.Println(name, good, "of", all, "checks pass")
	}
	c.rec.fig(name, "agent_cpu", used, "% core", "lower", 1, errs, fmt.Sprintf("client agent, children not counted, over a minute; %.2f %% without checks", rest))
	c.rec.fig(name, "rss", agent.RSS(), "MiB", "lower", 1, errs, fmt.Sprintf("client agent; anonymous %.1f MiB", agent.Anon()))
	return nil
}

// share is how much of a core the process itself takes in the time.
func share(p *Server, d time.Duration) float64 {
	before, at := p.CPU(), time.Now()
	time.Sleep(d)
	return (p.CPU() - before) / time.Since(at).Seconds() * 100
}

// registerChecks registers 100 services with 20 checks each.
func registerChecks(addr, url, tcp string) error {
	every := checkPeriod.String()
	var all []map[string]any
	for range ttlChecks {
		all = append(all, map[string]any{"TTL": (3 * checkPeriod).String()})
	}
	for range httpChecks {
		all = append(all, map[string]any{"HTTP": url, "Interval": every})
	}
	for range tcpChecks {
		all = append(all, map[string]any{"TCP": tcp, "Interval": every})
	}
	for range scriptChecks {
		all = append(all, map[string]any{"Args": []string{"/bin/true"}, "Interval": every})
	}
	for i, check := range all {
		check["CheckID"], check["Name"] = fmt.Sprintf("c%d", i), fmt.Sprintf("check %d", i)
	}
	const services = 100
	for s := range services {
		var mine []map[string]any
		for i := s; i < len(all); i += services {
			mine = append(mine, all[i])
		}
		b, _ := json.Marshal(map[string]any{"Name": fmt.Sprintf("svc-%d", s), "Port": 80, "Checks": mine})
		st, ans, _, err := req(addr, "PUT", "/v1/agent/service/register", b, 30*time.Second)
		if err != nil || st != 200 {
			return fmt.Errorf("register: %d %s %v", st, ans, err)
		}
	}
	return nil
}

// beat updates every n-th TTL check, w the first, once per period until stop closes.
func beat(addr string, w, n int, stop chan struct{}) error {
	h, err := dialH(addr)
	if err != nil {
		return err
	}
	h.Timeout(20 * time.Minute)
	pace := time.NewTicker(checkPeriod / time.Duration(ttlChecks/n+1))
	defer pace.Stop()
	for i := w; ; {
		st, ans, err := h.do("PUT", fmt.Sprintf("/v1/agent/check/pass/c%d", i), nil)
		if err != nil || st != 200 {
			return fmt.Errorf("update of c%d: %d %s %v", i, st, ans, err)
		}
		if i += n; i >= ttlChecks {
			i = w
		}
		select {
		case <-pace.C:
		case <-stop:
			return nil
		}
	}
}

// passing counts the agent's checks that pass.
func passing(addr string) (int, error) {
	b, _, err := mustGet(addr, "/v1/agent/checks")
	if err != nil {
		return 0, err
	}
	var checks map[string]struct{ Status string }
	if err := json.Unmarshal(b, &checks); err != nil {
		return 0, err
	}
	n := 0
	for id, c := range checks {
		if id[0] == 'c' && c.Status == "passing" {
			n++
		}
	}
	return n, nil
}
