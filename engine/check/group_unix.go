//go:build unix

package check

import (
	"os/exec"
	"syscall"
)

// ownGroup lets a program that is not started yet lead a process group of its own.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills the program and all that it started. It must not have been waited for yet.
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
