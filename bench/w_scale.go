package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// groupScale looks whether what one agent does stays as cheap when it has a lot.
func groupScale(c *Ctx) error {
	for _, w := range []struct {
		name string
		run  func(*Ctx, string) error
	}{{"agent-20k-services", scaleServices}, {"reload-1000-files", scaleReload}, {"restore-200mb", scaleRestore}} {
		if c.want(w.name) {
			if err := w.run(c, w.name); err != nil {
				c.rec.fail(w.name, err)
			}
		}
	}
	return nil
}

// scaleServices registers 20,000 services with one agent. What one more costs must not depend on how many there are.
func scaleServices(c *Ctx, name string) error {
	const batch, all = 500, 20_000
	// In memory: what a disk's file system needs to make a file depends on what was deleted before, more than on anything else.
	dir, err := os.MkdirTemp("/dev/shm", "rbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	on := *c
	on.work = dir
	s, err := startSingle(&on, Opts{})
	if err != nil {
		return err
	}
	defer s.cleanup()
	registered := 0
	register := func(n, conc int) (cpu, seconds float64, err error) {
		first := registered
		registered += n
		var next atomic.Int64
		c0, t0 := s.CPU(), time.Now()
		r := closedLoop(conc, 10*time.Minute, int64(n), func(int) (func(int64) error, func(), error) {
			h, err := dialH(s.HTTP)
			if err != nil {
				return nil, nil, err
			}
			h.Timeout(10 * time.Minute)
			return func(int64) error {
				svc := fmt.Sprintf("sc-%05d", first+int(next.Add(1)-1))
				st, b, err := h.do("PUT", "/v1/agent/service/register", fmt.Appendf(nil, `{"Name":"%s","Port":9000,"Tags":["v1"],"Check":{"TTL":"1h","Status":"passing"}}`, svc))
				if err == nil && st != 200 {
					err = fmt.Errorf("register answered %d %.100s", st, b)
				}
				return err
			}, h.Close, nil
		})
		if r.Errs > 0 {
			return 0, 0, r.FirstErr
		}
		for end := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) { // all are in the catalog
			b, _, err := mustGet(s.HTTP, fmt.Sprintf("/v1/health/service/sc-%05d?passing", registered-1))
			if err == nil && bytes.Contains(b, []byte(`"sc-`)) {
				break
			}
			if time.Now().After(end) {
				return 0, 0, fmt.Errorf("the last service is not in the catalog: %v", err)
			}
		}
		return (s.CPU() - c0) * 1e6 / float64(n), time.Since(t0).Seconds() * 1e6 / float64(n), nil
	}
	// least is the cheapest of three batches, for others disturb it in one direction only.
	least := func() (cpu, seconds float64, err error) {
		for i := range 3 {
			c, s, err := register(batch, 1)
			if err != nil {
				return 0, 0, err
			}
			if i == 0 || c < cpu {
				cpu, seconds = c, s
			}
		}
		return cpu, seconds, nil
	}
	few, fewTime, err := least()
	if err != nil {
		return err
	}
	t0 := time.Now()
	if _, _, err := register(all-registered, 16); err != nil {
		return err
	}
	filled := time.Since(t0)
	stop := c.startProfile(name, s.HTTP)
	many, manyTime, err := least()
	stop()
	if err != nil {
		return err
	}
	b, _, err := mustGet(s.HTTP, "/v1/catalog/services")
	if got := bytes.Count(b, []byte(`"sc-`)); err != nil || got != registered {
		return fmt.Errorf("%d services in the catalog, %d registered, %v", got, registered, err)
	}
	c.rec.fig(name, "cpu_few", few, "us", "lower", batch, 0, fmt.Sprintf("server CPU of one registration, with at most %d services there, the least of three times %d; %.0f µs of time", 3*batch, batch, fewTime))
	c.rec.fig(name, "cpu_many", many, "us", "lower", batch, 0, fmt.Sprintf("the same with %d; %.0f µs of time; they came in %.1f s, 16 at a time", all, manyTime, filled.Seconds()))
	c.rec.fig(name, "rss", s.RSS(), "MiB", "lower", int64(all), 0, "")
	c0 := s.CPU()
	time.Sleep(10 * time.Second)
	c.rec.fig(name, "idle_cpu", (s.CPU()-c0)/10*100, "% core", "lower", 1, 0, "over 10 s, with all of them")
	return nil
}

// scaleReload reloads a configuration of 1,000 files with a service each.
func scaleReload(c *Ctx, name string) error {
	const files, rounds = 1000, 5
	ss, err := newServers(c, 1, Opts{Debug: c.profile != ""})
	if err != nil {
		return err
	}
	s := ss[0]
	conf := filepath.Join(s.dir, "conf.d")
	if err := os.Mkdir(conf, 0o755); err != nil {
		return err
	}
	write := func(port int) error {
		for i := range files {
			text := fmt.Sprintf(`{"service": {"name": "rl-%04d", "port": %d, "tags": ["a", "b"], "check": {"ttl": "1h"}}}`, i, port)
			if err := os.WriteFile(filepath.Join(conf, fmt.Sprintf("%04d.json", i)), []byte(text), 0o644); err != nil {
				return err
			}
		}
		return nil
	}
	if err := write(1); err != nil {
		return err
	}
	s.args = []string{"-config-dir", conf}
	if err := s.start(); err != nil {
		return err
	}
	defer s.cleanup()
	if err := waitWritable(s, 40*time.Second); err != nil {
		return err
	}
	inCatalog := func(port int) error {
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			b, _, err := mustGet(s.HTTP, "/v1/catalog/node-services/"+s.name)
			if err == nil && bytes.Count(b, fmt.Appendf(nil, `"Port":%d,`, port)) == files {
				return nil
			}
		}
		return fmt.Errorf("the services with port %d are not in the catalog", port)
	}
	if err := inCatalog(1); err != nil {
		return err
	}
	stop := c.startProfile(name, s.HTTP)
	defer stop()
	for _, kind := range []string{"same", "changed"} {
		var wall, cpu, visible []float64
		for i := range rounds {
			port := 1
			if kind == "changed" {
				port = 2 + i
				if err := write(port); err != nil {
					return err
				}
			}
			time.Sleep(500 * time.Millisecond)
			c0, t0 := s.CPU(), time.Now()
			if _, err := mustPut(s.HTTP, "/v1/agent/reload", nil); err != nil {
				return err
			}
			wall = append(wall, time.Since(t0).Seconds()*1000)
			cpu = append(cpu, (s.CPU()-c0)*1000)
			if err := inCatalog(port); err != nil {
				return err
			}
			visible = append(visible, time.Since(t0).Seconds()*1000)
		}
		c.rec.fig(name, kind, median(wall), "ms", "lower", rounds, 0, fmt.Sprintf("agent/reload with %d files until it answers, median of %d; CPU until then %.0f ms; %.0f ms until all were in the catalog", files, rounds, median(cpu), median(visible)))
		c.rec.fig(name, kind+"_cpu", median(cpu), "ms", "lower", rounds, 0, "")
	}
	return nil
}

// scaleRestore restores a snapshot of 200 MB of keys into an empty server, and again into one that is full.
func scaleRestore(c *Ctx, name string) error {
	const keys, size, perTxn = 200_000, 1000, 64
	s, err := startSingle(c, Opts{})
	if err != nil {
		return err
	}
	defer func() { s.cleanup() }()
	var next atomic.Int64
	r := closedLoop(8, 10*time.Minute, keys/perTxn, func(w int) (func(int64) error, func(), error) {
		h, err := dialH(s.HTTP)
		if err != nil {
			return nil, nil, err
		}
		h.Timeout(10 * time.Minute)
		luck := rand.New(rand.NewPCG(1, uint64(w)))
		value := make([]byte, size)
		return func(int64) error {
			ops := []string{}
			first := next.Add(perTxn) - perTxn
			for i := range int64(perTxn) {
				for k := range value {
					value[k] = byte(luck.Uint32())
				}
				ops = append(ops, fmt.Sprintf(`{"KV":{"Verb":"set","Key":"restore/%06d","Value":"%s"}}`, first+i, base64.StdEncoding.EncodeToString(value)))
			}
			st, b, err := h.do("PUT", "/v1/txn", []byte("["+strings.Join(ops, ",")+"]"))
			if err == nil && st != 200 {
				err = fmt.Errorf("txn answered %d %.100s", st, b)
			}
			return err
		}, h.Close, nil
	})
	if r.Errs > 0 {
		return r.FirstErr
	}
	file := filepath.Join(c.work, "restore.snap")
	if err := fetch(s.HTTP, file); err != nil {
		return err
	}
	defer os.Remove(file)
	s.cleanup()
	if s, err = startSingle(c, Opts{}); err != nil {
		return err
	}
	for _, kind := range []string{"empty", "full"} {
		time.Sleep(4 * time.Second) // garbage of before goes
		was := s.RSS()
		os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.Pid), []byte("5"), 0) // the peak is counted from here
		stop := c.startProfile(name+"-"+kind, s.HTTP)
		c0, t0 := s.CPU(), time.Now()
		if err := send(s.HTTP, file); err != nil {
			return err
		}
		took, cpu := time.Since(t0), s.CPU()-c0
		stop()
		b, _, err := mustGet(s.HTTP, "/v1/kv/restore/?keys&consistent")
		if n := bytes.Count(b, []byte(`"restore/`)); err != nil || n != keys/perTxn*perTxn {
			return fmt.Errorf("%d keys after the restore, %v", n, err)
		}
		peak := s.HWM()
		time.Sleep(15 * time.Second)
		rest := s.RSS()
		info, _ := os.Stat(file)
		c.rec.fig(name, kind, took.Seconds()*1000, "ms", "lower", keys, 0, fmt.Sprintf("PUT snapshot of %.0f MB until it answers, into a server that is %s; CPU %.1f s", float64(info.Size())/1e6, kind, cpu))
		c.rec.fig(name, kind+"_cpu", cpu*1000, "ms", "lower", keys, 0, "")
		c.rec.fig(name, kind+"_peak", peak, "MiB", "lower", keys, 0, fmt.Sprintf("%.0f MiB before", was))
		c.rec.fig(name, kind+"_rss", rest, "MiB", "lower", keys, 0, "15 s later")
	}
	return nil
}

// fetch saves a snapshot to a file.
func fetch(addr, file string) error {
	r, err := http.Get("http://" + addr + "/v1/snapshot")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = io.Copy(f, r.Body); err == nil && r.StatusCode != 200 {
		err = fmt.Errorf("snapshot: %s", r.Status)
	}
	return err
}

// send restores the snapshot in a file.
func send(addr, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	q, err := http.NewRequest("PUT", "http://"+addr+"/v1/snapshot", f)
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if b, _ := io.ReadAll(r.Body); r.StatusCode != 200 {
		return fmt.Errorf("restore: %s %.200s", r.Status, b)
	}
	return nil
}
