package check

// threshold lets a status change through only after enough results in a row.
type threshold struct {
	passAt, warnAt, failAt int // results in a row at which they count
	successes, failures    int // results in a row so far; one of them is 0 after the first result
}

// newThreshold returns the filter of spec, saturated: the first result counts whatever it is, because nothing better is
// known.
func newThreshold(spec Spec) threshold {
	t := threshold{passAt: spec.SuccessBeforePassing, warnAt: spec.FailuresBeforeWarning,
		failAt: spec.FailuresBeforeCritical}
	if t.warnAt <= 0 {
		t.warnAt = t.failAt
	}
	t.successes, t.failures = t.passAt, t.failAt
	return t
}

// judge takes the next result and returns what it counts as, or false if nothing changes yet. A warning is a success:
// the check answered.
func (t *threshold) judge(res Result) (Result, bool) {
	if res.Status != Critical {
		t.successes, t.failures = t.successes+1, 0
		return res, t.successes >= t.passAt
	}
	t.failures, t.successes = t.failures+1, 0
	switch {
	case t.failures >= t.failAt:
		return res, true
	case t.failures >= t.warnAt:
		return Result{Warning, res.Output}, true
	}
	return Result{}, false
}
