package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// LockName is the file that Lock holds in a directory.
const LockName = "LOCK"

// ErrLocked is in the chain of Lock's error when another process holds the directory.
var ErrLocked = errors.New("another agent is using it")

// Lock takes the directory, which must exist, for this process until release is called or the process ends, however it
// ends: the lock is the kernel's, a LOCK file that lies about from before means nothing. It does not wait.
func Lock(dir string) (release func() error, err error) {
	name := filepath.Join(dir, LockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the data directory %s: %w", dir, err)
	}
	if err := flock(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot lock the data directory %s: %w", dir, err)
	}
	return f.Close, nil // closing gives the lock back
}
