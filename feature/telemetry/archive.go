package telemetry

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// pack makes an archive of a directory, beside it, and removes the directory. Names in it begin with the directory's.
func pack(dir string) (err error) {
	name := dir + archiveEnd
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	zip := gzip.NewWriter(f)
	to := tar.NewWriter(zip)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return add(to, filepath.Dir(dir), path, d)
	})
	if err = errors.Join(err, to.Close(), zip.Close(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return os.RemoveAll(dir)
}

func add(to *tar.Writer, base, path string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	head, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	if head.Name, err = filepath.Rel(base, path); err != nil {
		return err
	}
	if d.IsDir() {
		head.Name += "/"
	}
	if err := to.WriteHeader(head); err != nil || d.IsDir() {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, f)
	return errors.Join(err, f.Close())
}
