package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"rostra/engine/gossip"
	"rostra/engine/room"
)

// Settings say whom to join after the start.
type Settings struct {
	Join        []string      `key:"retry_join" flag:"retry-join" sockaddr:"many" help:"agents to join: host[:port], all IPs of a name, or exec=/path/to/program args, which prints addresses"`
	JoinWAN     []string      `key:"retry_join_wan" flag:"retry-join-wan" sockaddr:"many" help:"the same for servers of other datacenters"`
	Interval    time.Duration `key:"retry_interval" flag:"retry-interval" default:"30s" help:"pause between attempts to join"`
	IntervalWAN time.Duration `key:"retry_interval_wan" flag:"retry-interval-wan" default:"30s" help:"the same for retry_join_wan"`
	Max         int           `key:"retry_max" flag:"retry-max" help:"attempts to join before the agent gives up and ends; 0 never gives up"`
	MaxWAN      int           `key:"retry_max_wan" flag:"retry-max-wan" help:"the same for retry_join_wan"`
}

// Check refuses lists that no agent could join with.
func (s *Settings) Check() error {
	var all []error
	for _, pool := range []struct {
		end  string
		list []string
		rest time.Duration
	}{{"", s.Join, s.Interval}, {"_wan", s.JoinWAN, s.IntervalWAN}} {
		for _, text := range pool.list {
			if _, err := parseEntry(text); err != nil {
				all = append(all, fmt.Errorf("retry_join%s: %w", pool.end, err))
			}
		}
		if pool.rest <= 0 {
			all = append(all, fmt.Errorf("retry_interval%s: it must be more than 0; leave it out for 30s", pool.end))
		}
	}
	return errors.Join(all...)
}

// entry is one entry of retry_join.
type entry struct {
	text    string
	program []string // program and arguments that print addresses; nil for a host
}

func parseEntry(text string) (entry, error) {
	fields := strings.Fields(text)
	for _, f := range fields {
		if provider, ok := strings.CutPrefix(f, "provider="); ok {
			return entry{}, fmt.Errorf("%q asks the cloud provider %q for addresses, and Rostra knows none; use a DNS name, or "+
				"exec=/path/to/program args, where the program asks the provider and prints the addresses", text, provider)
		}
	}
	if rest, ok := strings.CutPrefix(strings.TrimSpace(text), "exec="); ok {
		if program := strings.Fields(rest); len(program) > 0 {
			return entry{text: text, program: program}, nil
		}
		return entry{}, fmt.Errorf("%q names no program; write exec=/path/to/program args", text)
	}
	if len(fields) != 1 {
		return entry{}, fmt.Errorf("%q is no address; write host or host:port", text)
	}
	if _, _, err := hostPort(fields[0], 1); err != nil {
		return entry{}, err
	}
	return entry{text: fields[0]}, nil
}

// hostPort splits an address. IPv6 addresses may stand with and without brackets.
func hostPort(text string, otherwise int) (host string, port int, err error) {
	if ip, ok := plainIP(text); ok {
		return ip, otherwise, nil
	}
	host, number, err := net.SplitHostPort(text)
	if err != nil {
		host, number = text, strconv.Itoa(otherwise)
	}
	port, err = strconv.Atoi(number)
	_, isIP := plainIP(host)
	if err != nil || port < 1 || port > 65535 || host == "" || !isIP && strings.ContainsAny(host, ":/[]%") {
		return "", 0, fmt.Errorf("%q is no address; write host or host:port", text)
	}
	return host, port, nil
}

// plainIP reads an IP address, which may stand in brackets; one with a zone means nothing to other machines.
func plainIP(text string) (string, bool) {
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if text, ok = strings.CutSuffix(inner, "]"); !ok {
			return "", false
		}
	}
	ip, err := netip.ParseAddr(text)
	return ip.String(), err == nil && ip.Zone() == ""
}

// joiners join the pools at the start, each by its own list.
type joiners []*joiner

func newJoiners(h *room.Host, s *Settings) joiners {
	return joiners{
		{pool: h.LAN, name: "LAN", key: "retry_join", list: s.Join, interval: s.Interval, max: s.Max, log: h.Log, lookup: lookup, run: runProgram},
		{pool: h.WAN, name: "WAN", key: "retry_join_wan", list: s.JoinWAN, interval: s.IntervalWAN, max: s.MaxWAN, log: h.Log, lookup: lookup, run: runProgram},
	}
}

// run returns once all have joined or ctx ends; its error ends the agent.
func (j joiners) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, one := range j {
		group.Go(func() error { return one.Run(ctx) })
	}
	return group.Wait()
}

// joiner tries to join one pool until it has.
type joiner struct {
	pool      *gossip.Pool // nil where there is none
	name, key string
	list      []string
	interval  time.Duration
	max       int // attempts; 0 for ever
	log       *slog.Logger
	lookup    func(ctx context.Context, host string) ([]netip.Addr, error)
	run       func(ctx context.Context, program []string) ([]byte, error)
}

// Run repeats the whole list every interval until some agent of it answered; then it has done its work for good.
func (j *joiner) Run(ctx context.Context) error {
	if len(j.list) == 0 {
		return nil
	}
	if j.pool == nil {
		return fmt.Errorf("%s: only servers with a WAN port join other datacenters; remove it, or set server and ports.serf_wan", j.key)
	}
	failed := 0
	for {
		found, err := j.find(ctx)
		if err == nil && len(found) == 0 && j.accompanied() {
			return nil
		}
		j.log.Info("Joining cluster...", "cluster", j.name, "addresses", strings.Join(found, " "))
		n := 0
		if len(found) > 0 {
			var refused error
			// This agent may also be reached at an address that it does not know as its own: then nobody has joined.
			if n, refused = j.pool.Join(ctx, found); n > 0 && j.accompanied() {
				j.log.Info("Join cluster completed. Synced with "+strconv.Itoa(n)+" initial agents", "cluster", j.name)
				return nil
			}
			err = errors.Join(err, refused)
		}
		if ctx.Err() != nil || j.pool.Local().Status != gossip.StatusAlive {
			return nil // the agent ends, or leaves, which takes a while in which no pool lets it in
		}
		switch {
		case err == nil: // an agent that finds itself only is the first of its cluster, not one that failed
			j.log.Info("only this agent itself is at the addresses to join: waiting for others", "cluster", j.name, "retry_interval", j.interval)
		default:
			failed++
			if j.max > 0 && failed >= j.max {
				return fmt.Errorf("cannot join the %s pool: gave up after %d attempts (%s): tried %s: %s", j.name, failed, maxKey(j.key),
					strings.Join(j.list, ", "), oneLine(err))
			}
			j.log.Warn("Join cluster failed, will retry", "cluster", j.name, "retry_interval", j.interval, "error", oneLine(err))
		}
		select {
		case <-time.After(j.interval):
		case <-ctx.Done():
			return nil
		}
	}
}

func maxKey(key string) string { return strings.Replace(key, "join", "max", 1) }

// accompanied says whether others are in the pool: then it does not matter that the list names only this agent.
func (j *joiner) accompanied() bool {
	for _, m := range j.pool.Members() {
		if m.Status == gossip.StatusAlive && m.Name != j.pool.Local().Name {
			return true
		}
	}
	return false
}

// find returns the addresses that the list stands for now, ip:port, without this agent's own, and what could not be found.
func (j *joiner) find(ctx context.Context) ([]string, error) {
	self := j.pool.Local()
	own := net.JoinHostPort(self.Addr, strconv.Itoa(int(self.Port)))
	var problems []error
	var found []string
	seen := map[string]bool{own: true}
	take := func(text string) {
		host, port, err := hostPort(text, int(self.Port))
		if err != nil {
			problems = append(problems, err)
			return
		}
		ips, err := j.lookup(ctx, host)
		if err != nil {
			problems = append(problems, fmt.Errorf("cannot resolve %s: %w", host, err))
			return
		}
		for _, ip := range ips {
			addr := net.JoinHostPort(ip.Unmap().String(), strconv.Itoa(port))
			if !seen[addr] {
				seen[addr] = true
				found = append(found, addr)
			}
		}
	}
	for _, text := range j.list {
		e, err := parseEntry(text)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if e.program == nil {
			take(e.text)
			continue
		}
		out, err := j.run(ctx, e.program)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", e.text, err))
			continue
		}
		printed := strings.FieldsFunc(string(out), func(r rune) bool { return strings.ContainsRune(" ,\t\r\n", r) })
		if len(printed) == 0 {
			problems = append(problems, fmt.Errorf("%s: it printed no address", e.text))
		}
		for _, addr := range printed {
			take(addr)
		}
	}
	return found, errors.Join(problems...)
}

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
