//go:build unix

package agent

import "syscall"

// fileLimit is how many files this process may have open. ok is false if that is not known.
func fileLimit() (limit uint64, ok bool) {
	var l syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return uint64(l.Cur), err == nil
}

// umask sets which rights new files do not get, and returns what it was.
func umask(mask int) int { return syscall.Umask(mask) }
