package logfile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rostra/kit/disk"
)

// clock is a time that stands until it is moved.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newClock() *clock { return &clock{time.Unix(1_000_000_000, 0)} }

func open(t *testing.T, o Options) *File {
	t.Helper()
	o.FS, o.Name = disk.OS(), "consul.log"
	f, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func write(t *testing.T, f *File, line string) {
	t.Helper()
	if _, err := f.Write([]byte(line + "\n")); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	list, err := disk.OS().List(dir)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestPath: log_file is a file or a directory, and the default name is consul.log (spec agent.md §16); only its owner
// reads it.
func TestPath(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir: "consul.log", filepath.Join(dir, "new") + "/": "new/consul.log", filepath.Join(dir, "a.txt"): "a.txt",
		filepath.Join(dir, "deep/er/agent"): "deep/er/agent",
	} {
		f := open(t, Options{Path: path})
		write(t, f, "line")
		info, err := os.Stat(filepath.Join(dir, want))
		if err != nil {
			t.Errorf("%s: %v", path, err)
		} else if info.Mode() != 0o600 {
			t.Errorf("%s: mode %v", path, info.Mode())
		}
		if f.Path() != filepath.Join(dir, want) {
			t.Errorf("%s: is at %s", path, f.Path())
		}
	}
}

// TestRotation: by size and by age the file becomes NAME-STAMP.EXT (spec agent.md §16), and no line is cut.
func TestRotation(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	f := open(t, Options{Path: filepath.Join(dir, "a.txt"), MaxBytes: 10, MaxAge: time.Hour, Now: c.Now})
	write(t, f, "one")
	write(t, f, "two")
	c.now = c.now.Add(time.Second)
	write(t, f, "three")
	c.now = c.now.Add(time.Hour)
	write(t, f, "4")
	write(t, f, "a line longer than the limit stands alone")
	want := []string{"a-1000000001000000000.txt", "a-1000003601000000000.txt", "a.txt"}
	// The long line put "4" aside at the same moment as the age did "three": the name is taken, and nothing may be lost.
	got := names(t, dir)
	all := ""
	for _, n := range got {
		all += content(t, filepath.Join(dir, n))
	}
	for _, line := range []string{"one\ntwo\n", "three\n", "4\n", "a line longer than the limit stands alone\n"} {
		if !strings.Contains(all, line) {
			t.Errorf("%q is lost: %v", line, got)
		}
	}
	for _, n := range want {
		if !slices.Contains(got, n) {
			t.Errorf("%s is missing: %v", n, got)
		}
	}
	g := open(t, Options{Path: filepath.Join(dir, "plain"), MaxBytes: 1, Now: c.Now})
	write(t, g, "x")
	write(t, g, "y")
	if got := content(t, filepath.Join(dir, "plain-1000003601000000000.log")); got != "x\n" {
		t.Errorf("put aside: %q", got)
	}
}

// TestKeep: log_rotate_max_files keeps all with 0 and none below (spec config.md §2); other files are let be.
func TestKeep(t *testing.T) {
	for keep, want := range map[int]int{0: 5, 2: 2, -1: 0} {
		c, dir := newClock(), t.TempDir()
		for _, other := range []string{"consul-x.log", "consul-1.txt", "other-1.log"} {
			if err := os.WriteFile(filepath.Join(dir, other), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f := open(t, Options{Path: dir, MaxBytes: 1, Keep: keep, Now: c.Now})
		for range 6 {
			c.now = c.now.Add(time.Second)
			write(t, f, "x")
		}
		if got := names(t, dir); len(got) != want+1+3 {
			t.Errorf("keep %d: %v", keep, got)
		} else if keep == 2 && !slices.Contains(got, "consul-1000000006000000000.log") {
			t.Errorf("the newest are kept: %v", got)
		}
	}
}

// TestGoesOn: what was there is kept at a start, and a file that another program put aside is let go of when asked.
func TestGoesOn(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "consul.log")
	write(t, open(t, Options{Path: dir}), "before")
	f := open(t, Options{Path: dir, MaxBytes: 20})
	write(t, f, "after")
	if got := content(t, path); got != "before\nafter\n" {
		t.Errorf("it holds %q", got)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, f, "new")
	if got := content(t, path) + content(t, path+".1"); got != "new\nbefore\nafter\n" {
		t.Errorf("they hold %q", got)
	}
	if err := os.Rename(dir, dir+".away"); err != nil { // with all that is in it
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir + ".away") })
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, f, "in a new directory")
	if got := content(t, path); got != "in a new directory\n" {
		t.Errorf("it holds %q", got)
	}
}

// TestTrouble: a full disk costs lines, not the file; when there is space again it goes on.
func TestTrouble(t *testing.T) {
	d := disk.NewForgetful()
	c := newClock()
	f, err := Open(Options{FS: d, Path: "/log/consul.log", MaxBytes: 1, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	put := func(line string) error {
		c.now = c.now.Add(time.Second)
		_, err := f.Write([]byte(line + "\n"))
		return err
	}
	sick := ""
	d.Ail(func(op disk.Op) error {
		if op.Kind == sick {
			return syscall.ENOSPC
		}
		return nil
	})
	for _, sick = range []string{"", "create", "write", "", "rename", ""} {
		err := put("while " + sick + " fails")
		if (sick != "") != errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", sick, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := put("after a Close"); err != nil {
		t.Error(err)
	}
	b, err := disk.ReadFile(d, "/log/consul.log")
	if err != nil || string(b) != "after a Close\n" {
		t.Errorf("%q, %v", b, err)
	}
}
