package check

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rostra/kit/fault"
)

func TestTTL(t *testing.T) {
	const ttl = 10 * time.Second
	type say struct {
		at     time.Duration
		status Status
		output string
	}
	for name, c := range map[string]struct {
		initial   string
		remaining time.Duration
		says      []say
		until     time.Duration
		want      []string
	}{
		"silence": {"", 0, nil, time.Minute, []string{"10s critical TTL expired"}},
		"updates": {"", 0, []say{{time.Second, Passing, "fine"}, {9 * time.Second, Warning, "so so"}}, time.Minute,
			[]string{"1s passing fine", "9s warning so so",
				"19s critical TTL expired (last output before timeout follows): so so"}},
		"update without text": {"", 0, []say{{time.Second, Passing, ""}}, time.Minute,
			[]string{"1s passing ", "11s critical TTL expired"}},
		"comes back": {"", 0, []say{{15 * time.Second, Passing, "back"}}, time.Minute,
			[]string{"10s critical TTL expired", "15s passing back",
				"25s critical TTL expired (last output before timeout follows): back"}},
		"critical is not refreshed by expiry": {"", 0, []say{{time.Second, Critical, "down"}}, 30 * time.Second,
			[]string{"1s critical down", "11s critical TTL expired (last output before timeout follows): down"}},
		"restored": {"was fine", 4 * time.Second, nil, time.Minute,
			[]string{"4s critical TTL expired (last output before timeout follows): was fine"}},
		"restored, then whole again": {"", 4 * time.Second, []say{{3 * time.Second, Passing, "x"}}, 13*time.Second + 1,
			[]string{"3s passing x", "13s critical TTL expired (last output before timeout follows): x"}},
		"remaining is at most the TTL": {"", time.Hour, nil, time.Minute, []string{"10s critical TTL expired"}},
		"own text is not quoted":       {"TTL expired", 0, nil, time.Minute, []string{"10s critical TTL expired"}},
		"own text does not grow": {"TTL expired (last output before timeout follows): x", 0, nil, time.Minute,
			[]string{"10s critical TTL expired (last output before timeout follows): x"}},
		"end stops it": {"", 0, nil, 9 * time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				var got []string
				r, err := New(Spec{Kind: TTL, TTL: ttl, Remaining: c.remaining}, Result{Critical, c.initial},
					func(res Result) { got = append(got, fmt.Sprint(time.Since(begin), " ", res.Status, " ", res.Output)) }, Env{})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), c.until)
				defer cancel()
				var group sync.WaitGroup
				group.Go(func() {
					for _, s := range c.says {
						time.Sleep(s.at - time.Since(begin))
						if err := r.Update(s.status, s.output); err != nil {
							t.Error(err)
						}
					}
				})
				if err := r.Run(ctx); err != nil {
					t.Error(err)
				}
				group.Wait()
				if !slices.Equal(got, c.want) {
					t.Errorf("got  %q\nwant %q", got, c.want)
				}
			})
		})
	}
}

// An update at the very moment of expiry must have the last word for a whole TTL.
func TestTTLUpdateAtExpiry(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			var mu sync.Mutex
			var last string
			r, err := New(Spec{Kind: TTL, TTL: time.Second}, Result{}, func(res Result) {
				mu.Lock()
				defer mu.Unlock()
				last = fmt.Sprint(res.Status, " at ", time.Since(begin))
			}, Env{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			var group sync.WaitGroup
			group.Go(func() { _ = r.Run(ctx) })
			time.Sleep(time.Second)
			if err := r.Update(Passing, "just in time"); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second / 2)
			mu.Lock()
			if last != "passing at 1s" {
				t.Error(last)
			}
			mu.Unlock()
			group.Wait()
			if last != "critical at 2s" {
				t.Error(last)
			}
		})
	}
}

func TestTTLUpdateRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report, got := collect()
		r, err := New(Spec{Kind: TTL, TTL: 10 * time.Second, OutputMaxSize: 5}, Result{}, report, Env{})
		if err != nil {
			t.Fatal(err)
		}
		// Before Run, and longer than allowed.
		if err := r.Update(Passing, "123456789"); err != nil {
			t.Error(err)
		}
		want := Result{Passing, "12345 ... (captured 5 of 9 bytes)"}
		if res := <-got; res != want {
			t.Errorf("got %+v, want %+v", res, want)
		}
		time.Sleep(4 * time.Second)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() { _ = r.Run(ctx) })
		if res := <-got; !strings.HasSuffix(res.Output, ": "+want.Output) || time.Since(begin) != 6*time.Second {
			t.Errorf("%+v after %v: the time must run from the update before Run", res, time.Since(begin))
		}
		if err := r.Update("fine", ""); !fault.Is(err, fault.Invalid) || err.Error() != "Invalid check status: 'fine'" {
			t.Errorf("got %v", err)
		}
		cancel()
		group.Wait()
		if err := r.Update(Passing, "too late"); !fault.Is(err, fault.Refused) {
			t.Errorf("update after the end: %v", err)
		}
		if len(got) != 0 {
			t.Errorf("reported %v", <-got)
		}
	})

	r, err := New(Spec{Kind: Script, Command: "true", Interval: time.Second}, Result{}, func(Result) {}, Env{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Update(Passing, ""); !fault.Is(err, fault.Refused) {
		t.Errorf("update of a script check: %v", err)
	}
}

// Many checks, each updated from several goroutines: for the race detector, and for updates to be reported in full.
func TestTTLMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const checks, each = 1000, 3
		ctx, cancel := context.WithCancel(t.Context())
		counts := make([]int, checks)
		var running, group sync.WaitGroup
		for i := range checks {
			r, err := New(Spec{Kind: TTL, TTL: time.Minute}, Result{}, func(Result) { counts[i]++ }, Env{})
			if err != nil {
				t.Fatal(err)
			}
			running.Go(func() { _ = r.Run(ctx) })
			for range each {
				group.Go(func() {
					if err := r.Update(Passing, ""); err != nil {
						t.Error(err)
					}
				})
			}
		}
		group.Wait()
		cancel()
		running.Wait()
		for i, n := range counts {
			if n != each {
				t.Fatalf("check %d: %d reports", i, n)
			}
		}
	})
}
