package check

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets the test binary play the scripts that a shell cannot.
func TestMain(m *testing.M) {
	switch os.Getenv("CHECK_TEST_PLAY") {
	case "":
		goleak.VerifyTestMain(m)
	case "escape": // a child in a session of its own holds our output open, out of reach of the group's killer
		child := exec.Command("sleep", "5")
		child.Stdout, child.SysProcAttr = os.Stdout, &syscall.SysProcAttr{Setsid: true}
		fmt.Println("escaping", child.Start())
	}
}

// collect returns a report function and the channel it fills.
func collect() (func(Result), chan Result) {
	got := make(chan Result, 100)
	return func(r Result) { got <- r }, got
}

// start runs r until the returned stop is called; stop fails the test if Run outlives it by 5 s.
func start(t *testing.T, r *Runner) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("Run did not return")
		}
	}
	t.Cleanup(stop)
	return stop
}

// next waits for a result.
func next(t *testing.T, got <-chan Result) Result {
	t.Helper()
	select {
	case r := <-got:
		return r
	case <-time.After(10 * time.Second):
		t.Fatal("no result")
		return Result{}
	}
}

// first makes a Runner of spec that starts at once and returns its first result.
func first(t *testing.T, spec Spec, env Env) Result {
	t.Helper()
	if spec.Interval == 0 {
		spec.Interval = time.Hour
	}
	env.Rand = func() float64 { return 0 }
	report, got := collect()
	r, err := New(spec, Result{}, report, env)
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, r)
	defer stop()
	return next(t, got)
}

// listen returns a listener on loopback that is closed with the test.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
