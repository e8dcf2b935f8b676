// Package disk is the disk handed in: the few file operations that keep data, behind an interface, so that what must
// survive a power cut can be tested on a disk that forgets (NewForgetful). The agent hands OS() to whatever stores
// something: the Raft log, snapshots, the agent's own files.
//
// Two things are durable only after they were asked to be: the bytes of a file after File.Sync, and the names in a
// directory (created, renamed, removed) after FS.SyncDir of that directory. WriteFile does all of it in the right order.
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is a disk. Names are ordinary paths; errors are those of package os (errors.Is with os.ErrNotExist and
// os.ErrExist works). All methods may be called concurrently.
type FS interface {
	// OpenFile opens or creates a file like os.OpenFile, with its flags (O_RDONLY, O_RDWR, O_CREATE, O_EXCL, O_TRUNC,
	// O_APPEND). A directory cannot be opened.
	OpenFile(name string, flag int, perm os.FileMode) (File, error)
	// Rename gives a file or a directory another name and replaces a file that has it.
	Rename(from, to string) error
	// Remove removes one file or one empty directory. See RemoveTree for more.
	Remove(name string) error
	// List returns the names in a directory, sorted, "." and ".." left out.
	List(dir string) ([]string, error)
	// MkdirAll creates a directory and its missing parents and makes their names durable. It does nothing if dir exists.
	MkdirAll(dir string, perm os.FileMode) error
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
}

// Reader is the reading half of an open file.
type Reader interface {
	io.ReadCloser
	io.ReaderAt
	// Size returns the file's length in bytes now.
	Size() (int64, error)
}

// File is an open file. ReadAt, WriteAt, Size and Sync may be called concurrently; Read and Write share one position.
type File interface {
	Reader
	io.Writer
	io.WriterAt
	// Truncate makes the file size bytes long; a longer file reads as zeros there.
	Truncate(size int64) error
	// Sync returns when all that was written is on the disk.
	Sync() error
}

// ReadFile returns the bytes of a whole file.
func ReadFile(fs FS, name string) ([]byte, error) {
	f, err := fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	n, err := io.ReadFull(f, data)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil // it became shorter meanwhile
	}
	return data[:n], err
}

// TempSuffix ends the names of files that WriteFile has not finished. After a power cut such a file may be found: it was
// never the file, whoever lists a directory skips or removes it.
const TempSuffix = ".tmp"

// WriteFile replaces the file atomically and durably: after a power cut it is the old one or the new one, and once
// WriteFile has returned nil the new one. It writes name+TempSuffix first, so one name has one writer at a time.
func WriteFile(fs FS, name string, data []byte, perm os.FileMode) error {
	temp := name + TempSuffix
	if err := writeTemp(fs, temp, data, perm); err != nil {
		_ = fs.Remove(temp)
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	if err := fs.Rename(temp, name); err != nil {
		_ = fs.Remove(temp)
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	if err := fs.SyncDir(filepath.Dir(name)); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return nil
}

func writeTemp(fs FS, temp string, data []byte, perm os.FileMode) error {
	f, err := fs.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if errors.Is(err, os.ErrExist) {
		// A temporary file left by a power cut may have other rights than perm, so it is not reused.
		if err := fs.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		f, err = fs.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	}
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// RemoveTree removes a file, or a directory with all in it, and makes the removal durable. It is no error if it does
// not exist. A power cut in the middle may leave part of the tree.
func RemoveTree(fs FS, name string) error {
	if err := removeTree(fs, name); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("cannot remove %s: %w", name, err)
	}
	return fs.SyncDir(filepath.Dir(name))
}

func removeTree(fs FS, name string) error {
	err := fs.Remove(name)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return err
	}
	names, listErr := fs.List(name)
	if listErr != nil {
		return err // not a directory: what Remove said counts
	}
	for _, n := range names {
		if err := removeTree(fs, filepath.Join(name, n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return fs.Remove(name)
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }
