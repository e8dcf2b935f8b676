package disk

import (
	"os"

	"golang.org/x/sys/windows"
)

func (osFS) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// SyncDir does nothing but look whether there is such a directory: Windows does not sync directories, its file system
// keeps a journal of names.
func (osFS) SyncDir(dir string) error {
	_, err := os.Stat(dir)
	return err
}

// SpaceOf returns how much may still be written where dir lies on the machine's own disk.
func SpaceOf(dir string) (s Space, err error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err == nil {
		err = windows.GetDiskFreeSpaceEx(name, &s.Free, &s.Total, nil)
	}
	if err != nil {
		return s, &os.PathError{Op: "look for space in", Path: dir, Err: err}
	}
	return s, nil
}

// Owner returns the user that a file belongs to, -1 if that is not known: here users have no numbers.
func Owner(os.FileInfo) int { return -1 }
