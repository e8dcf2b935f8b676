package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// paced returns a Runner whose runs last d in virtual time and log when they start and end.
func paced(t *testing.T, spec Spec, spread float64, d time.Duration, result Status) (*Runner, *[]string) {
	t.Helper()
	var log []string
	begin := time.Now()
	note := func(what string) { log = append(log, fmt.Sprint(what, " ", time.Since(begin))) }
	spec.Kind, spec.Target = TCP, "a:1"
	r, err := New(spec, Result{}, func(res Result) { note(string(res.Status)) },
		Env{Rand: func() float64 { return spread }})
	if err != nil {
		t.Fatal(err)
	}
	r.probe = func(ctx context.Context) Result {
		note("run")
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
		return Result{Status: result}
	}
	return r, &log
}

func TestSchedule(t *testing.T) {
	for name, c := range map[string]struct {
		interval time.Duration
		spread   float64
		lasts    time.Duration
		until    time.Duration
		want     []string
	}{
		"spread": {10 * time.Second, 0.25, 0, 13 * time.Second,
			[]string{"run 2.5s", "passing 2.5s", "run 12.5s", "passing 12.5s"}},
		"at once": {10 * time.Second, 0, 0, time.Second, []string{"run 0s", "passing 0s"}},
		"counted from the end": {10 * time.Second, 0, 25 * time.Second, 40 * time.Second,
			[]string{"run 0s", "passing 25s", "run 35s"}}, // the second is cut by the end and says nothing
		"never under a second": {time.Millisecond, 0.5, 0, 2 * time.Second,
			[]string{"run 500ms", "passing 500ms", "run 1.5s", "passing 1.5s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, log := paced(t, Spec{Interval: c.interval}, c.spread, c.lasts, Passing)
				ctx, cancel := context.WithTimeout(t.Context(), c.until)
				defer cancel()
				if err := r.Run(ctx); err != nil {
					t.Error(err)
				}
				if !slices.Equal(*log, c.want) {
					t.Errorf("got %v, want %v", *log, c.want)
				}
			})
		})
	}
}

func TestRandomSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, interval = 200, 100 * time.Second
		var mu sync.Mutex
		halves := map[bool]int{}
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), interval-1)
		defer cancel()
		var group sync.WaitGroup
		for range n {
			r, err := New(Spec{Kind: TCP, Target: "a:1", Interval: interval}, Result{}, func(Result) {}, Env{})
			if err != nil {
				t.Fatal(err)
			}
			r.probe = func(context.Context) Result {
				mu.Lock()
				halves[time.Since(begin) < interval/2]++
				mu.Unlock()
				return Result{Status: Passing}
			}
			group.Go(func() { _ = r.Run(ctx) })
		}
		group.Wait()
		if halves[true]+halves[false] != n || halves[true] < n/4 || halves[false] < n/4 {
			t.Errorf("first runs by half of the interval: %v", halves)
		}
	})
}

func TestThresholdInRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seq := []Status{Passing, Critical, Critical, Critical, Passing, Passing}
		begin := time.Now()
		var got []string
		r, err := New(Spec{Kind: TCP, Target: "a:1", Interval: 10 * time.Second, SuccessBeforePassing: 2,
			FailuresBeforeWarning: 2, FailuresBeforeCritical: 3}, Result{}, func(res Result) {
			got = append(got, fmt.Sprint(res.Status, time.Since(begin)))
		}, Env{Rand: func() float64 { return 0 }})
		if err != nil {
			t.Fatal(err)
		}
		r.probe = func(context.Context) Result {
			next := seq[0]
			seq = seq[1:]
			return Result{Status: next}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 55*time.Second)
		defer cancel()
		_ = r.Run(ctx)
		want := []string{"passing0s", "warning20s", "critical30s", "passing50s"}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// The dialer handed in is the one used, under the check's timeout.
func TestTimeoutOfDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			spec Spec
			want time.Duration
		}{
			{Spec{Kind: TCP, Target: "a:1"}, 10 * time.Second},
			{Spec{Kind: TCP, Target: "a:1", Timeout: 3 * time.Second}, 3 * time.Second},
			{Spec{Kind: HTTP, Target: "http://a/"}, 10 * time.Second},
			{Spec{Kind: HTTP, Target: "http://a/", Timeout: time.Minute}, time.Minute},
		} {
			c.spec.Interval = time.Hour
			begin := time.Now()
			ctx, cancel := context.WithCancel(t.Context())
			var got Result
			r, err := New(c.spec, Result{}, func(res Result) { got = res; cancel() }, Env{
				Rand: func() float64 { return 0 },
				Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
					<-ctx.Done()
					return nil, errors.New("nobody home")
				}})
			if err != nil {
				t.Fatal(err)
			}
			_ = r.Run(ctx)
			if took := time.Since(begin); got.Status != Critical || got.Output == "" || took != c.want {
				t.Errorf("%s: %+v after %v, want %v", c.spec.Kind, got, took, c.want)
			}
		}
	})
}

// TestUntilBeat: checks of one interval run together from their second run on, never earlier than the interval says and at most
// a hundredth later.
func TestUntilBeat(t *testing.T) {
	base := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, interval := range []time.Duration{minInterval, 10 * time.Second, 7 * time.Second, 24 * time.Hour, 1<<62 - 1} {
		for _, since := range []time.Duration{0, 1, time.Millisecond, 1234567891, 3 * time.Hour} {
			now := base.Add(since)
			wait := untilBeat(now, interval)
			if wait < interval || wait > interval+interval/100 {
				t.Errorf("%v after the start a check of every %v waits for %v", since, interval, wait)
			}
			if interval <= 24*time.Hour && now.Add(wait).UnixNano()%int64(interval/100) != 0 {
				t.Errorf("%v after the start a check of every %v runs at %v", since, interval, now.Add(wait))
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		at := map[time.Duration]int{}
		crew, begin := NewCrew(), time.Now()
		for range 200 {
			r, err := New(Spec{Kind: Script, Args: []string{"none"}, Interval: 10 * time.Second, Timeout: time.Second}, Result{}, func(Result) {}, Env{})
			if err != nil {
				t.Fatal(err)
			}
			r.probe = func(context.Context) Result {
				mu.Lock()
				defer mu.Unlock()
				at[time.Since(begin)]++
				return Result{Status: Passing}
			}
			crew.Launch(r)
		}
		time.Sleep(10 * time.Second)
		mu.Lock()
		first := len(at)
		clear(at)
		mu.Unlock()
		time.Sleep(20 * time.Second)
		crew.Close()
		if len(at) > 202 || first < 150 {
			t.Errorf("200 checks ran at %d moments in their first interval, at %d in the next two", first, len(at))
		}
	})
}
