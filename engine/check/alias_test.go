package check

import (
	"context"
	"testing"
)

// Spec agent.md §6, alias: the worst of the checks, and its texts.
func TestWorst(t *testing.T) {
	good, bad, worse := Aliased{"a", Result{Passing, "fine"}}, Aliased{"b", Result{Warning, "hm"}}, Aliased{"c", Result{Critical, "no"}}
	for name, c := range map[string]struct {
		checks []Aliased
		want   Result
	}{
		"none":     {nil, Result{Passing, "No checks found."}},
		"passing":  {[]Aliased{good, good}, Result{Passing, "All checks passing."}},
		"warning":  {[]Aliased{good, bad}, Result{Warning, `Aliased check "b" failing: hm`}},
		"critical": {[]Aliased{bad, worse, good}, Result{Critical, `Aliased check "c" failing: no`}},
		"first":    {[]Aliased{worse, {"d", Result{Critical, "too"}}}, Result{Critical, `Aliased check "c" failing: no`}},
	} {
		if got := Worst(c.checks); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// An alias has no runs, no interval and no thresholds: what it finds counts at once.
func TestAliasFollows(t *testing.T) {
	report, got := collect()
	r, err := New(Spec{Kind: Alias, FailuresBeforeCritical: 3}, Result{Passing, ""}, report, Env{Follow: func(ctx context.Context, tell func(Result)) {
		tell(Result{Critical, "one"})
		tell(Result{Passing, "two"})
		<-ctx.Done()
	}})
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, r)
	if a, b := next(t, got), next(t, got); a != (Result{Critical, "one"}) || b != (Result{Passing, "two"}) {
		t.Error(a, b)
	}
	stop()
	if _, err := New(Spec{Kind: Alias}, Result{}, report, Env{}); err == nil {
		t.Error("an alias of nothing was made")
	}
}
