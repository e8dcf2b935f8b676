package check

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestScript(t *testing.T) {
	t.Setenv("SHELL", "") // else the login shell's manners decide
	t.Setenv("CHECK_TEST_WORD", "inherited")
	sh := func(line string) Spec { return Spec{Kind: Script, Args: []string{"/bin/sh", "-c", line}} }
	limited := func(s Spec, n int) Spec { s.OutputMaxSize = n; return s }
	for name, c := range map[string]struct {
		spec Spec
		want Result
	}{
		"passing":            {sh("echo ok"), Result{Passing, "ok\n"}},
		"warning":            {sh("echo hm; exit 1"), Result{Warning, "hm\n"}},
		"critical":           {sh("exit 2"), Result{Critical, ""}},
		"unknown":            {sh("exit 255"), Result{Critical, ""}},
		"signal":             {sh("echo x; kill -TERM $$"), Result{Critical, "x\n"}},
		"merged":             {sh("echo a; echo b >&2; echo c"), Result{Passing, "a\nb\nc\n"}},
		"empty stdin":        {sh("cat; wc -c | tr -d ' '"), Result{Passing, "0\n"}},
		"environment":        {sh("echo $CHECK_TEST_WORD"), Result{Passing, "inherited\n"}},
		"own process group":  {sh(`set -- $(cut -d" " -f1,5 /proc/$$/stat); test $1 = $2 && echo leader`), Result{Passing, "leader\n"}},
		"shell form":         {Spec{Kind: Script, Command: "echo $((1+1)) | cat; exit 1"}, Result{Warning, "2\n"}},
		"no shell for args":  {Spec{Kind: Script, Args: []string{"echo", "$HOME", "; ls"}}, Result{Passing, "$HOME ; ls\n"}},
		"closes its output":  {sh("echo x; exec >&- 2>&-; sleep 0.2; exit 1"), Result{Warning, "x\n"}},
		"late child":         {sh("(sleep 0.2; echo late) & echo soon"), Result{Passing, "soon\nlate\n"}},
		"not there":          {Spec{Kind: Script, Args: []string{"/nowhere/prog"}}, Result{Critical, "fork/exec /nowhere/prog: no such file or directory"}},
		"not in the path":    {Spec{Kind: Script, Args: []string{"no-such-program"}}, Result{Critical, `exec: "no-such-program": executable file not found in $PATH`}},
		"not executable":     {Spec{Kind: Script, Args: []string{"/dev/null"}}, Result{Critical, "fork/exec /dev/null: permission denied"}},
		"exactly the limit":  {limited(sh("printf 12345"), 5), Result{Passing, "12345"}},
		"one over the limit": {limited(sh("printf 123456"), 5), Result{Passing, "Captured 5 of 6 bytes\n...\n23456"}},
		"default limit": {sh("head -c 9000 /dev/zero | tr '\\0' x; printf END"),
			Result{Passing, "Captured 4096 of 9003 bytes\n...\n" + strings.Repeat("x", 4093) + "END"}},
		"much output": {limited(sh("head -c 30000000 /dev/zero; printf END; exit 1"), 3),
			Result{Warning, "Captured 3 of 30000003 bytes\n...\nEND"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := first(t, c.spec, Env{}); got != c.want {
				t.Errorf("got %.200q, want %.200q", got, c.want)
			}
		})
	}
}

func TestScriptUsesSHELL(t *testing.T) {
	shell := filepath.Join(t.TempDir(), "myshell")
	if err := os.WriteFile(shell, []byte("#!/bin/sh\necho mine \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SHELL", shell)
	want := Result{Passing, "mine -c a  b\n"}
	if got := first(t, Spec{Kind: Script, Command: "a  b"}, Env{}); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestScriptTimeout(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"quiet":            {"sleep 60", "Timed out (300ms) running check"},
		"with output":      {"echo before; sleep 60", "Timed out (300ms) running check\n\nbefore\n"},
		"too much output":  {"printf 1234567890; sleep 60", "Timed out (300ms) running check\n\nCaptured 8 of 10 bytes\n...\n34567890"},
		"deaf":             {"trap '' TERM INT HUP; sleep 60", "Timed out (300ms) running check"},
		"output closed":    {"exec >&- 2>&-; sleep 60", "Timed out (300ms) running check"},
		"child holds it":   {"sleep 60 & echo gone", "Timed out (300ms) running check\n\ngone\n"},
		"child, exit code": {"sleep 60 & exit 1", "Timed out (300ms) running check"},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			got := first(t, Spec{Kind: Script, Args: []string{"/bin/sh", "-c", c.line}, Timeout: 300 * time.Millisecond,
				OutputMaxSize: 8}, Env{})
			if got != (Result{Critical, c.want}) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			// Nothing here leaves the group: no waiting for a pipe that somebody still holds.
			if took := time.Since(begin); took < 300*time.Millisecond || took > 300*time.Millisecond+drainTime*8/10 {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestScriptEndlessOutput(t *testing.T) {
	got := first(t, Spec{Kind: Script, Args: []string{"yes"}, Timeout: 300 * time.Millisecond, OutputMaxSize: 4}, Env{})
	head, rest, _ := strings.Cut(got.Output, "\n\n")
	if got.Status != Critical || head != "Timed out (300ms) running check" ||
		!strings.HasPrefix(rest, "Captured 4 of ") || len(rest) > 50 {
		t.Errorf("got %q", got)
	}
}

func TestScriptEscapedChild(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CHECK_TEST_PLAY", "escape")
	begin := time.Now()
	got := first(t, Spec{Kind: Script, Args: []string{self}, Timeout: time.Second}, Env{})
	want := Result{Critical, "Timed out (1s) running check\n\nescaping <nil>\n"}
	if took := time.Since(begin); got != want || took > 4*time.Second {
		t.Errorf("got %q after %v, want %q", got, took, want)
	}
}

// mourn starts a script whose child and grandchild hold a named pipe open, waits until they live, and returns a
// function that waits until all of them are dead: only then does the pipe end.
func mourn(t *testing.T, timeout time.Duration) (r *Runner, got chan Result, alive, dead func()) {
	t.Helper()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pipe.Close() })
	line := `exec 3>` + fifo + `; sh -c 'sleep 300 >/dev/null 2>&1 & echo alive >&3; wait' & wait`
	report, got := collect()
	r, err = New(Spec{Kind: Script, Args: []string{"/bin/sh", "-c", line}, Interval: time.Hour, Timeout: timeout},
		Result{}, report, Env{Rand: func() float64 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	alive = func() {
		t.Helper()
		_ = pipe.SetReadDeadline(time.Now().Add(5 * time.Second))
		for buf := make([]byte, 10); ; {
			n, err := pipe.Read(buf)
			if n > 0 {
				return
			}
			if err != io.EOF { // EOF: nobody has opened it yet
				t.Fatal(err)
			}
		}
	}
	dead = func() {
		t.Helper()
		_ = pipe.SetReadDeadline(time.Now().Add(5 * time.Second))
		if rest, err := io.ReadAll(pipe); err != nil {
			t.Errorf("somebody outlived the kill: %q, %v", rest, err)
		}
	}
	return r, got, alive, dead
}

func TestScriptTimeoutKillsGrandchildren(t *testing.T) {
	r, got, alive, dead := mourn(t, time.Second)
	stop := start(t, r)
	defer stop()
	alive()
	if res := next(t, got); res.Output != "Timed out (1s) running check" {
		t.Errorf("got %q", res)
	}
	dead()
}

func TestScriptEndKillsGrandchildren(t *testing.T) {
	r, got, alive, dead := mourn(t, time.Minute)
	stop := start(t, r)
	alive()
	begin := time.Now()
	stop()
	if took := time.Since(begin); took > drainTime/2 {
		t.Errorf("stopping took %v", took)
	}
	dead()
	if len(got) != 0 {
		t.Errorf("a killed run was reported: %q", <-got)
	}
}

func TestScriptEndWithEscapedChild(t *testing.T) {
	r, w := pipeHolder(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	buf := make([]byte, 1)
	if _, err := w.Read(buf); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		t.Error("Run waits for a process it cannot kill")
		<-done
	}
}

// pipeHolder returns a runner whose script tells the returned file when its escaped child holds the output.
func pipeHolder(t *testing.T) (*Runner, *os.File) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	t.Setenv("CHECK_TEST_PLAY", "escape")
	line := self + `; echo >` + fifo + `; sleep 60`
	r, err := New(Spec{Kind: Script, Args: []string{"/bin/sh", "-c", line}, Interval: time.Hour}, Result{},
		func(res Result) { t.Errorf("reported %q", res) }, Env{Rand: func() float64 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	return r, f
}
