package check

import (
	"os/exec"
	"strconv"
)

// ownGroup does nothing: here a program's children are found by their parents.
func ownGroup(*exec.Cmd) {}

// killGroup kills the program and all that it started. It must not have been waited for yet.
func killGroup(cmd *exec.Cmd) {
	if exec.Command("taskkill", "/F", "/T", "/PID", strconv.Itoa(cmd.Process.Pid)).Run() != nil {
		_ = cmd.Process.Kill()
	}
}
