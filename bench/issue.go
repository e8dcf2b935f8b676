package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// issueWorkloads are what the table of goals needs.
const issueWorkloads = "fsync,kv-put-1,kv-put-64,kv-put-256,ceiling-put-*,kv-get-64,ceiling-get-64," +
	"health-service-64,health-service-gzip-64,ceiling-health-*,register-catalog-64,register-agent," +
	"dns-a-3,dns-a-50-edns,ceiling-dns-*,watch-svc-5000,watch-svc-among,mem-100k-kv,restart-100k,start-dev,idle-server," +
	"txn-64,kv-list-10k,health-service-1k-64,dns-srv-3,dns-srv-50,dns-services-*,mem-5k-services-x4," +
	"kv-put-3srv-256,kv-put-3srv-follower-256,kv-get-3srv-follower-64,failover-3srv,idle-3srv,client-dns-10k,checks-2000," +
	"dns-overload*,agent-20k-services,reload-1000-files,restore-200mb"

// goal is one row of the table: a figure, perhaps against a ceiling of the same run, and what it must reach.
type goal struct {
	row     string
	value   fkey
	ceiling fkey   // zero: none
	rule    string // "ratio <=", "ratio >=", "minus <=" (value - ceiling), "<=", ">=", "=="
	limit   float64
	consul  string // what Consul 1.21.4 reached, for the reader
}

const cpuOp = "srv_cpu_us_per_op"

var goals = []goal{
	{"kv-put-64: server CPU per write, µs", fkey{"kv-put-64", cpuOp}, fkey{"ceiling-put-64", cpuOp}, "ratio <=", 3, "8 ×"},
	{"kv-put-256: server CPU per write, µs", fkey{"kv-put-256", cpuOp}, fkey{"ceiling-put-256", cpuOp}, "ratio <=", 3, "8 ×"},
	{"kv-put-64: writes per fsync", fkey{"kv-put-64", "writes_per_fsync"}, fkey{}, ">=", 15, "6"},
	{"kv-put-256: writes per fsync", fkey{"kv-put-256", "writes_per_fsync"}, fkey{}, ">=", 30, "6.5"},
	{"kv-put-1: p50, ms, over one fsync", fkey{"kv-put-1", "p50"}, fkey{"fsync-append-200B", "p50"}, "minus <=", 0.2, "0.42 ms"},
	{"kv-get-64: requests/s", fkey{"kv-get-64", "rate"}, fkey{"ceiling-get-64", "rate"}, "ratio >=", 0.75, "37 %"},
	{"health-service-64: server CPU, µs", fkey{"health-service-64", cpuOp}, fkey{"ceiling-health-64", cpuOp}, "ratio <=", 1.4, "32 ×"},
	{"health-service-gzip-64: server CPU, µs", fkey{"health-service-gzip-64", cpuOp}, fkey{"ceiling-health-gzip-64", cpuOp}, "ratio <=", 1.4, "—"},
	{"register-catalog-64: server CPU, µs", fkey{"register-catalog-64", cpuOp}, fkey{}, "<=", 120, "740"},
	{"register-agent: server CPU, µs", fkey{"register-agent", cpuOp}, fkey{}, "<=", 600, "3,420"},
	{"register-agent-x16 against one client, rate", fkey{"register-agent-x16", "rate"}, fkey{"register-agent", "rate"}, "ratio >=", 1, "0.7"},
	{"dns-a-3: server CPU per query, µs", fkey{"dns-a-3", cpuOp}, fkey{"ceiling-dns-a-3", cpuOp}, "ratio <=", 1.5, "10 ×"},
	{"dns-a-3: p99, ms", fkey{"dns-a-3", "p99"}, fkey{}, "<=", 5, "11"},
	{"dns-a-50-edns: server CPU per query, µs", fkey{"dns-a-50-edns", cpuOp}, fkey{"ceiling-dns-a-50-edns", cpuOp}, "ratio <=", 1.5, "50 ×"},
	{"dns-a-50-edns: p99, ms", fkey{"dns-a-50-edns", "p99"}, fkey{}, "<=", 5, "46"},
	{"watch-svc-5000: server CPU per change, ms", fkey{"watch-svc-5000", "cpu_per_change"}, fkey{}, "<=", 250, "1,133"},
	{"watch-svc-5000: memory per waiter, KiB", fkey{"watch-svc-5000", "rss_per_watcher"}, fkey{}, "<=", 24, "54"},
	{"watch-svc-5000: woken by unrelated KV writes", fkey{"watch-svc-5000", "churn_kv500_wakes"}, fkey{}, "==", 0, "0"},
	{"watch-svc-5000: woken by other services", fkey{"watch-svc-5000", "churn_cat100_wakes"}, fkey{}, "==", 0, "0"},
	{"watch-svc-among: one change, µs, among 10,000 and 10 others", fkey{"watch-svc-among", "cpu_10000_others"}, fkey{"watch-svc-among", "cpu_10_others"}, "ratio <=", 1.25, "—"},
	{"mem-100k-kv: RSS, MiB", fkey{"mem-100k-kv", "rss_15s"}, fkey{}, "<=", 110, "326"},
	{"idle server: RSS, MiB", fkey{"idle-server", "idle_rss"}, fkey{}, "<=", 40, "126"},
	{"restart-100k: first right read, ms", fkey{"restart-100k", "first_read"}, fkey{}, "<=", 1500, "5,600–6,600"},
	{"restart-100k: wrong answers before it", fkey{"restart-100k", "early_404"}, fkey{}, "==", 0, "700"},
	{"start-dev: to leader, ms", fkey{"start-dev", "leader"}, fkey{}, "<=", 100, "102"},
	{"kv-put-3srv-256: CPU of all servers per write, µs", fkey{"kv-put-3srv-256", cpuOp}, fkey{}, "<=", 65, "273"},
	{"kv-put-3srv-256: writes/s", fkey{"kv-put-3srv-256", "rate"}, fkey{}, ">=", 21182, "6,052"},
	{"kv-put-3srv through a follower, against the leader", fkey{"kv-put-3srv-follower-256", "rate"}, fkey{"kv-put-3srv-256", "rate"}, "ratio >=", 0.7, "0.68"},
	{"kv-get-3srv-follower-64: CPU per default read, µs", fkey{"kv-get-3srv-follower-64", cpuOp}, fkey{}, "<=", 45, "184"},
	{"failover-3srv: pause of writes, ms", fkey{"failover-3srv", "no_writes"}, fkey{}, "<=", 1500, "1,900"},
	{"failover-3srv: acknowledged writes lost", fkey{"failover-3srv", "lost"}, fkey{}, "==", 0, "0"},
	{"failover-3srv: killed server complete again, ms", fkey{"failover-3srv", "catch_up"}, fkey{}, "<=", 2000, "500–6,500"},
	{"idle-3srv: CPU of three servers, % of a core", fkey{"idle-3srv", "idle_cpu"}, fkey{}, "<=", 3, "—"},
	{"checks-2000: CPU of the agent, children not counted, % of a core", fkey{"checks-2000", "agent_cpu"}, fkey{}, "<=", 5, "—"},
	{"client-dns-10k: questions/s", fkey{"client-dns-10k", "rate"}, fkey{}, ">=", 9900, "—"},
	{"client-dns-10k: RSS of the client agent, MiB", fkey{"client-dns-10k", "rss"}, fkey{}, "<=", 30, "—"},
	{"client-dns-10k: CPU of the servers against rest, % of a core", fkey{"client-dns-10k", "servers_busy"}, fkey{"client-dns-10k", "servers_rest"}, "minus <=", 0.5, "—"},
	{"dns-overload, 5 × what it can do: p99 of the answers, ms", fkey{"dns-overload", "p99"}, fkey{}, "<=", 100, "—"},
	{"dns-overload: answers/s against without it", fkey{"dns-overload", "rate"}, fkey{"dns-overload", "capacity"}, "ratio >=", 0.7, "—"},
	{"dns-overload: unanswered questions that were counted", fkey{"dns-overload", "counted"}, fkey{}, ">=", 0.99, "—"},
	{"dns-overload-recursor of 200 ms: p99 of the answers, ms", fkey{"dns-overload-recursor", "p99"}, fkey{}, "<=", 1000, "—"},
	{"dns-overload-recursor: unanswered questions that were counted", fkey{"dns-overload-recursor", "counted"}, fkey{}, ">=", 0.99, "—"},
	{"agent-20k-services: one more, µs, among 20,000 and 1,000", fkey{"agent-20k-services", "cpu_many"}, fkey{"agent-20k-services", "cpu_few"}, "ratio <=", 1.3, "—"},
	{"reload-1000-files, all changed, ms", fkey{"reload-1000-files", "changed"}, fkey{}, "<=", 500, "—"},
	{"restore-200mb, ms", fkey{"restore-200mb", "empty"}, fkey{}, "<=", 4000, "—"},
	{"restore-200mb: peak of memory against what the state takes, MiB", fkey{"restore-200mb", "empty_peak"}, fkey{"restore-200mb", "empty_rss"}, "ratio <=", 2, "—"},
	{"txn-64: server CPU, µs", fkey{"txn-64", cpuOp}, fkey{}, "<=", 300, "947"},
	{"kv-list-10k: p50, ms", fkey{"kv-list-10k", "p50"}, fkey{}, "<=", 2.5, "9.05"},
	{"health-service-1k-64: server CPU, µs", fkey{"health-service-1k-64", cpuOp}, fkey{"ceiling-health-1k-64", cpuOp}, "ratio <=", 1.4, "78 ×"},
	{"dns-srv-3: server CPU per query, µs", fkey{"dns-srv-3", cpuOp}, fkey{"ceiling-dns-srv-3", cpuOp}, "ratio <=", 1.5, "13 ×"},
	{"dns-srv-50: server CPU per query, µs", fkey{"dns-srv-50", cpuOp}, fkey{"ceiling-dns-srv-50", cpuOp}, "ratio <=", 1.5, "70 ×"},
	{"dns-services-10k: CPU per query against 10 services", fkey{"dns-services-10k", "cpu_many_by_few"}, fkey{}, "<=", 1.2, "—"},
	{"dns-services-10k: bytes of kept answers, MiB", fkey{"dns-services-10k", "answers"}, fkey{}, "<=", 100, "—"},
	{"mem-5k-services-x4: RSS, MiB", fkey{"mem-5k-services-x4", "rss_15s"}, fkey{}, "<=", 150, "526"},
	{"binary, MB (build it with -ldflags='-s -w')", fkey{"start-dev", "binary"}, fkey{}, "<=", 40, "131"},
}

// measured returns the median of a figure over the rounds; ok is false if there is none or one is void.
func measured(k fkey) (v float64, ok bool) {
	figMu.Lock()
	defer figMu.Unlock()
	var list []float64
	for _, f := range figs {
		if f.Workload == k.w && f.Figure == k.f {
			if f.Void {
				return f.Value, false
			}
			list = append(list, f.Value)
		}
	}
	return median(list), len(list) > 0
}

// judge returns what the rule compares, and whether it holds.
func (g goal) judge(v, c float64) (got float64, holds bool) {
	got = v
	switch kind, _, _ := strings.Cut(g.rule, " "); kind {
	case "ratio":
		got = v / c
	case "minus":
		got = v - c
	}
	switch g.rule[strings.LastIndexByte(g.rule, ' ')+1:] {
	case "<=":
		return got, got <= g.limit
	case ">=":
		return got, got >= g.limit
	default:
		return got, got == g.limit
	}
}

// issueTable prints the goals as a Markdown table and returns how many were not reached or not measured.
func issueTable(w io.Writer) (missed int) {
	fmt.Fprintf(w, "\nMeasured %s on %d cores, %s.\n", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), kernel())
	fmt.Fprintln(w, "\n| row | value | ceiling | against it | goal | | Consul 1.21.4 |\n|---|---|---|---|---|---|---|")
	for _, g := range goals {
		v, ok := measured(g.value)
		c, against := "", ""
		goal := strings.TrimPrefix(strings.TrimPrefix(g.rule, "ratio "), "minus ")
		goal = strings.NewReplacer("<=", "≤", ">=", "≥", "==", "=").Replace(goal) + " " + trim(g.limit)
		cv := 0.0
		if g.ceiling != (fkey{}) {
			var there bool
			cv, there = measured(g.ceiling)
			ok = ok && there
			c = fmtv(cv)
			if strings.HasPrefix(g.rule, "minus") {
				goal += " more"
			} else {
				goal += " ×"
			}
		}
		verdict := "not measured"
		if ok {
			got, holds := g.judge(v, cv)
			if c != "" {
				against = fmtv(got)
				if strings.HasPrefix(g.rule, "ratio") {
					against += " ×"
				}
			}
			verdict = "MISSED"
			if holds {
				verdict = "reached"
			}
		}
		if verdict != "reached" {
			missed++
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s |\n", g.row, fmtv(v), c, against, goal, verdict, g.consul)
	}
	return missed
}

// kernel names the operating system, for the reader of a table.
func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return runtime.GOOS
	}
	return "Linux " + strings.TrimSpace(string(b))
}

func trim(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".")
}
