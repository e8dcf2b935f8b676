//go:build unix

package disk

import (
	"errors"
	"os"
	"syscall"
)

// flock locks a file for this process, or answers ErrLocked.
func flock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}
