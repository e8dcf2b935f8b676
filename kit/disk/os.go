package disk

import (
	"errors"
	"os"
	"path/filepath"
)

// OS returns the machine's own disk.
func OS() FS { return osFS{} }

// Space is what there is where a directory lies, in bytes. Free is what this user may take.
type Space struct {
	Free, Total uint64
	ReadOnly    bool
}

type osFS struct{}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (o osFS) MkdirAll(dir string, perm os.FileMode) error {
	err := os.Mkdir(dir, perm)
	if errors.Is(err, os.ErrExist) {
		info, statErr := os.Stat(dir)
		if statErr == nil && info.IsDir() {
			return nil
		}
		return err
	}
	parent := filepath.Dir(dir)
	if errors.Is(err, os.ErrNotExist) && parent != dir {
		if err := o.MkdirAll(parent, perm); err != nil {
			return err
		}
		err = os.Mkdir(dir, perm)
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return o.SyncDir(parent)
}
