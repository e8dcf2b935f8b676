// Package logfile is a file that log lines are appended to and that is put aside when it is large or old. The agent writes
// its log_file through it.
//
// The file keeps its name; what is put aside is called NAME-STAMP.EXT, where STAMP is the time in nanoseconds since 1970,
// so that names sort by age (spec agent.md §16).
package logfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"rostra/kit/disk"
)

// perm are the rights of the file: what an agent logs is its owner's business.
const perm = 0o600

// Options say where the file is and when it is put aside.
type Options struct {
	FS disk.FS
	// Path is the file, or the directory that holds it: one that is there, or a path that ends in a separator. Missing
	// directories are made.
	Path string
	// Name is the file's name where Path is a directory.
	Name     string
	MaxBytes int64         // the file is put aside before it becomes longer; 0: never
	MaxAge   time.Duration // and when it was written to for so long; 0: never
	// Keep is how many files put aside are kept: 0 keeps all, less than 0 none.
	Keep int
	Now  func() time.Time // nil: time.Now
}

// File is an open log file. It is safe for concurrent use.
type File struct {
	Options
	path string // of the file itself

	mu    sync.Mutex // guards the rest; held over writes, so that lines do not mix
	file  disk.File  // nil when it could not be opened again
	size  int64
	since time.Time // when this process opened it
	stamp int64     // of the file put aside last
}

// Open opens the file, or makes it.
func Open(o Options) (*File, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	f := &File{Options: o, path: o.Path}
	if info, err := os.Stat(o.Path); err == nil && info.IsDir() || strings.HasSuffix(filepath.ToSlash(o.Path), "/") {
		f.path = filepath.Join(o.Path, o.Name)
	}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

// Path is where the file is.
func (f *File) Path() string { return f.path }

// open opens the file, or makes it and its directory.
func (f *File) open() error {
	if err := f.FS.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return fmt.Errorf("cannot make the directory of %s: %w", f.path, err)
	}
	file, err := f.FS.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, perm)
	if err != nil {
		return err
	}
	size, err := file.Size()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.size, f.since = file, size, f.Now()
	return nil
}

// Write appends one line, which ends in a newline. When the file was put aside but old ones could not be removed, the
// line is written all the same, and the error says so. A line that fails in its middle leaves its beginning.
func (f *File) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var rotated error
	if f.file == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	if f.due(len(line)) {
		if rotated = f.rotate(); f.file == nil {
			return 0, rotated
		}
	}
	n, err := f.file.Write(line)
	f.size += int64(n)
	return n, errors.Join(err, rotated)
}

// due says whether the file is put aside before the next line. An empty one never is.
func (f *File) due(next int) bool {
	if f.size == 0 {
		return false
	}
	return f.MaxBytes > 0 && f.size+int64(next) > f.MaxBytes || f.MaxAge > 0 && f.Now().Sub(f.since) >= f.MaxAge
}

// rotate puts the file aside and begins a new one; the file is closed for it, as some systems want it. When the rename
// fails, the file goes on: lines are worth more than order.
func (f *File) rotate() error {
	all := []error{f.file.Close()}
	f.file = nil
	f.stamp = max(f.Now().UnixNano(), f.stamp+1) // clocks stand still, or go back: no file may replace another
	if err := f.FS.Rename(f.path, f.aside(f.stamp)); err != nil {
		all = append(all, fmt.Errorf("cannot put the log file aside: %w", err))
	} else {
		all = append(all, f.prune())
	}
	return errors.Join(append(all, f.open())...)
}

// aside is the name of the file put aside at a time.
func (f *File) aside(stamp int64) string {
	return filepath.Join(filepath.Dir(f.path), f.stem()+strconv.FormatInt(stamp, 10)+f.ext())
}

// stem and ext are what surrounds the time in the names of files put aside.
func (f *File) stem() string {
	name := filepath.Base(f.path)
	return strings.TrimSuffix(name, filepath.Ext(name)) + "-"
}

func (f *File) ext() string {
	if e := filepath.Ext(f.path); e != "" {
		return e
	}
	return ".log"
}

// prune removes the oldest files that are more than should be kept.
func (f *File) prune() error {
	if f.Keep == 0 {
		return nil
	}
	dir := filepath.Dir(f.path)
	names, err := f.FS.List(dir)
	if err != nil {
		return fmt.Errorf("cannot look for old log files: %w", err)
	}
	var stamps []int64
	for _, name := range names {
		middle, is := strings.CutPrefix(name, f.stem())
		middle, ends := strings.CutSuffix(middle, f.ext())
		if stamp, err := strconv.ParseInt(middle, 10, 64); is && ends && err == nil && stamp > 0 {
			stamps = append(stamps, stamp)
		}
	}
	slices.Sort(stamps)
	var all []error
	for len(stamps) > max(f.Keep, 0) {
		all = append(all, f.FS.Remove(f.aside(stamps[0])))
		stamps = stamps[1:]
	}
	return errors.Join(all...)
}

// Reopen lets go of the file and opens the one that has its name now: a program that renames log files asks for it. If
// that fails, the file so far goes on.
func (f *File) Reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.file
	if err := f.open(); err != nil || old == nil {
		return err
	}
	return old.Close()
}

// Close closes the file. Lines written afterwards open it again.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}
