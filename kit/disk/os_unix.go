//go:build unix

package disk

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func (osFS) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	fd, err := open(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{os.NewFile(uintptr(fd), name)}, nil
}

// open is os.OpenFile without what that does to let files be polled: half of its system calls, and files of a disk
// cannot be polled.
func open(name string, flag int, perm os.FileMode) (fd int, err error) {
	err = again(func() error {
		fd, err = unix.Open(name, flag|unix.O_CLOEXEC, uint32(perm.Perm()))
		return err
	})
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// again repeats a system call that a signal interrupted.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (osFS) SyncDir(dir string) error {
	fd, err := open(dir, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	if err = again(func() error { return unix.Fsync(fd) }); err != nil {
		err = &os.PathError{Op: "fsync", Path: dir, Err: err}
	}
	return errors.Join(err, unix.Close(fd))
}

// readOnly is ST_RDONLY on Linux and MNT_RDONLY on the BSDs.
const readOnly = 1

// SpaceOf returns how much may still be written where dir lies on the machine's own disk.
func SpaceOf(dir string) (Space, error) {
	var s unix.Statfs_t
	if err := again(func() error { return unix.Statfs(dir, &s) }); err != nil {
		return Space{}, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	size := uint64(s.Bsize)
	return Space{Free: uint64(s.Bavail) * size, Total: s.Blocks * size, ReadOnly: uint64(s.Flags)&readOnly != 0}, nil
}

// Owner returns the user that a file belongs to, -1 if that is not known.
func Owner(info os.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}
