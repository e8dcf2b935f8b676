package check

import (
	"context"
	"testing"
	"time"

	"rostra/kit/fault"
)

func TestValidate(t *testing.T) {
	const (
		both     = "Interval and TTL cannot both be specified"
		interval = "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
		ttl      = "TTL must be > 0 for TTL checks"
		before   = "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"
	)
	s := time.Second
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"script":               {Spec{Kind: Script, Args: []string{"true"}, Interval: s}, ""},
		"shell":                {Spec{Kind: Script, Command: "true", Interval: s}, ""},
		"http":                 {Spec{Kind: HTTP, Target: "http://a", Interval: s}, ""},
		"tcp":                  {Spec{Kind: TCP, Target: "a:1", Interval: time.Nanosecond}, ""},
		"ttl":                  {Spec{Kind: TTL, TTL: s}, ""},
		"thresholds":           {Spec{Kind: TCP, Target: "a:1", Interval: s, FailuresBeforeWarning: 2, FailuresBeforeCritical: 2}, ""},
		"empty":                {Spec{}, ttl},
		"empty with interval":  {Spec{Interval: s}, ttl},
		"ttl without ttl":      {Spec{Kind: TTL}, ttl},
		"negative ttl":         {Spec{Kind: TTL, TTL: -s}, ttl},
		"ttl with interval":    {Spec{Kind: TTL, TTL: s, Interval: s}, both},
		"http with ttl":        {Spec{Kind: HTTP, Target: "http://a", TTL: s, Interval: s}, both},
		"http, only ttl":       {Spec{Kind: HTTP, Target: "http://a", TTL: s}, interval},
		"tcp without interval": {Spec{Kind: TCP, Target: "a:1"}, interval},
		"script, interval < 0": {Spec{Kind: Script, Command: "true", Interval: -s}, interval},
		"output":               {Spec{Kind: TTL, TTL: s, OutputMaxSize: -1}, "MaxOutputMaxSize must be positive"},
		"warning > critical":   {Spec{Kind: TTL, TTL: s, FailuresBeforeWarning: 2, FailuresBeforeCritical: 1}, before},
		"warning alone":        {Spec{Kind: TTL, TTL: s, FailuresBeforeWarning: 1}, before},
		"udp":                  {Spec{Kind: UDP, Target: "a:1", Interval: s}, ""},
		"grpc":                 {Spec{Kind: GRPC, Target: "a:1/db", Interval: s}, ""},
		"h2ping":               {Spec{Kind: H2Ping, Target: "a:1", Interval: s}, ""},
		"docker":               {Spec{Kind: Docker, Target: "c1", Args: []string{"true"}, Interval: s}, ""},
		"os service":           {Spec{Kind: OSService, Target: "nginx", Interval: s}, ""},
		"alias":                {Spec{Kind: Alias}, ""},
		"alias with interval":  {Spec{Kind: Alias, Interval: s}, "Interval cannot be set for Alias checks"},
		"alias with ttl":       {Spec{Kind: Alias, TTL: s}, "TTL must be not be set for Alias checks"},
		"grpc, no interval":    {Spec{Kind: GRPC, Target: "a:1"}, interval},
		"unknown kind":         {Spec{Kind: "icmp", Interval: s}, `Check type "icmp" is not supported`},
		"docker of nothing":    {Spec{Kind: Docker, Target: "c1", Interval: s}, `Check of type "docker" does not say what to run`},
		"docker nowhere":       {Spec{Kind: Docker, Command: "true", Interval: s}, `Check of type "docker" does not say what to run`},
		"no kind":              {Spec{TTL: s}, "Check type is missing"},
		"script of nothing":    {Spec{Kind: Script, Interval: s}, `Check of type "script" does not say what to run`},
		"http of nothing":      {Spec{Kind: HTTP, Interval: s}, `Check of type "http" does not say what to run`},
		"tcp of nothing":       {Spec{Kind: TCP, Interval: s}, `Check of type "tcp" does not say what to run`},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.spec.Validate()
			_, made := New(c.spec, Result{}, func(Result) {}, Env{Follow: func(context.Context, func(Result)) {}})
			if c.want == "" {
				if err != nil || made != nil {
					t.Fatalf("refused: %v, %v", err, made)
				}
				return
			}
			if err == nil || err.Error() != c.want || !fault.Is(err, fault.Invalid) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if made == nil || made.Error() != c.want {
				t.Fatalf("New: %v", made)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		spec    Spec
		timeout time.Duration
		output  int
	}{
		{Spec{Kind: Script}, 30 * time.Second, 4096},
		{Spec{Kind: HTTP}, 10 * time.Second, 4096},
		{Spec{Kind: TCP, OutputMaxSize: 7}, 10 * time.Second, 7},
		{Spec{Kind: UDP}, 10 * time.Second, 4096},
		{Spec{Kind: GRPC}, 10 * time.Second, 4096},
		{Spec{Kind: H2Ping}, 10 * time.Second, 4096},
		{Spec{Kind: OSService}, 30 * time.Second, 4096},
		{Spec{Kind: Docker}, 0, 4096},
		{Spec{Kind: Script, Timeout: time.Second, OutputMaxSize: 9000}, time.Second, 9000},
	} {
		if c.spec.timeout() != c.timeout || c.spec.outputMax() != c.output {
			t.Errorf("%+v: %v, %d", c.spec, c.spec.timeout(), c.spec.outputMax())
		}
	}
	if _, err := New(Spec{Kind: TTL, TTL: 1}, Result{}, nil, Env{}); err == nil {
		t.Error("a runner without a report function was made")
	}
}

func TestThreshold(t *testing.T) {
	// One letter per result: p, w, c; "." where nothing changes.
	for name, c := range map[string]struct {
		pass, warn, fail int
		in, want         string
	}{
		"none":                     {0, 0, 0, "pcpwc", "pcpwc"},
		"one":                      {1, 1, 1, "pcpwc", "pcpwc"},
		"three failures":           {0, 0, 3, "pcccc", "p..cc"},
		"first failure counts":     {0, 0, 3, "ccpcc", "ccp.."},
		"success starts it anew":   {0, 0, 3, "pccpccc", "p..p..c"},
		"warning is a success":     {0, 0, 2, "wcwcc", "w.w.c"},
		"first success counts":     {3, 0, 0, "ppcpppp", "ppc..pp"},
		"success after a critical": {3, 0, 0, "cpppcppp", "c..pc..p"},
		"failure in between":       {2, 0, 2, "pcpcpp", "p....p"},
		"warning in between":       {0, 2, 4, "pcccccp", "p.wwccp"},
		"warning at once":          {0, 1, 3, "pcccp", "pwwcp"},
		"first over warning":       {0, 2, 4, "cc", "cc"},
	} {
		t.Run(name, func(t *testing.T) {
			names := map[byte]Status{'p': Passing, 'w': Warning, 'c': Critical}
			f := newThreshold(Spec{SuccessBeforePassing: c.pass, FailuresBeforeWarning: c.warn, FailuresBeforeCritical: c.fail})
			var got []byte
			for i := range len(c.in) {
				res, ok := f.judge(Result{names[c.in[i]], "text"})
				if !ok {
					got = append(got, '.')
					continue
				}
				if res.Output != "text" {
					t.Errorf("output %q", res.Output)
				}
				got = append(got, res.Status[0])
			}
			if string(got) != c.want {
				t.Errorf("%s: got %s, want %s", c.in, got, c.want)
			}
		})
	}
}

func FuzzTail(f *testing.F) {
	f.Add([]byte("abcdefghij"), 4, 3)
	f.Add([]byte("abc"), 4, 1)
	f.Add([]byte{}, 1, 1)
	f.Fuzz(func(t *testing.T, data []byte, limit, chunk int) {
		limit, chunk = 1+abs(limit)%64, 1+abs(chunk)%100
		w := &tail{max: limit}
		for rest := data; len(rest) > 0; {
			n := min(chunk, len(rest))
			if k, err := w.Write(rest[:n]); k != n || err != nil {
				t.Fatal(k, err)
			}
			rest = rest[n:]
		}
		want := string(data[max(0, len(data)-limit):])
		if w.String() != want || w.total != int64(len(data)) || len(w.buf) > limit {
			t.Fatalf("got %q of %d, want %q of %d", w, w.total, want, len(data))
		}
	})
}

// abs keeps clear of the most negative number, which has no opposite.
func abs(n int) int { return max(n, -(n + 1)) }
