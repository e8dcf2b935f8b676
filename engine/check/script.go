package check

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// drainTime is how long output is still read after the group was killed. Only a process that left the group can hold
// the pipe that long.
const drainTime = time.Second

// defaultShell is there on every machine and in nearly every container.
const defaultShell = "/bin/sh"

// newScript returns the probe of a script check. A run lasts until the script has ended and its output is closed by
// everybody who inherited it, so that two runs never overlap; at the timeout the whole process group is killed. A
// process that the kernel cannot kill is waited for.
func newScript(spec Spec, _ Env) func(context.Context) Result {
	shell := os.Getenv("SHELL")
	if shell == "" {
		shell = defaultShell
	}
	args, timeout, keep := spec.program(shell), spec.timeout(), spec.outputMax()
	return func(ctx context.Context) Result { return runScript(ctx, args, timeout, keep) }
}

// runScript runs args once and judges how they end.
func runScript(ctx context.Context, args []string, timeout time.Duration, keep int) Result {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A pipe of our own, not os/exec's: with the script's end only, os/exec stops looking at timeouts once the script
	// has exited, while a child of it may hold the output open.
	output, err := startPiped(cmd)
	if err != nil {
		return Result{Critical, err.Error()}
	}
	defer output.Close()

	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	killed := make(chan struct{})
	unhook := context.AfterFunc(limited, func() {
		defer close(killed)
		// Until its output ends the script is not reaped, so the number is the group's even if only children live.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		drain := drainTime
		if ctx.Err() != nil {
			drain = 0 // nobody will read it
		}
		_ = output.SetReadDeadline(time.Now().Add(drain))
	})
	kept := &tail{max: keep}
	_, _ = io.Copy(kept, output) // ends with the output or with the deadline; neither is an error of the check
	err = cmd.Wait()

	if !unhook() {
		<-killed
		return timedOut(timeout, kept)
	}
	return Result{exitStatus(cmd, err), kept.captured()}
}

// timedOut is the result of a program that did not end in time.
func timedOut(timeout time.Duration, kept *tail) Result {
	text := fmt.Sprintf("Timed out (%s) running check", timeout)
	if kept.total > 0 {
		text += "\n\n" + kept.captured()
	}
	return Result{Critical, text}
}

// startPiped starts cmd with stdout and stderr in one pipe and returns the pipe's reading end.
func startPiped(cmd *exec.Cmd) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close() // the processes have their own copies
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// exitStatus translates the end of a script.
func exitStatus(cmd *exec.Cmd, err error) Status {
	switch {
	case err == nil:
		return Passing
	case cmd.ProcessState == nil:
		return Critical
	}
	return exitCode(cmd.ProcessState.ExitCode())
}

// exitCode translates an exit code, as Nagios plugins mean it but for 2 and up being one, and so -1, a signal.
func exitCode(code int) Status {
	switch code {
	case 0:
		return Passing
	case 1:
		return Warning
	}
	return Critical
}
