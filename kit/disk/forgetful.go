package disk

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// ErrPowerLost is what every operation answers after the power went.
var ErrPowerLost = errors.New("the power is cut")

// Op is one step of a Forgetful disk: an operation that changes something or makes it durable.
type Op struct {
	Kind string // "create", "write", "truncate", "rename", "remove", "mkdir", "sync" (a file) or "syncdir"
	Name string // the file or directory; the new name of a rename
}

// Forgetful is a disk in memory that forgets what was not synced when its power is cut: bytes without File.Sync and
// names without SyncDir. It is the strictest disk POSIX allows, and made for tests. Safe for concurrent use.
type Forgetful struct {
	mu    sync.Mutex
	root  *node
	steps int
	limit int // -1: no limit
	lost  bool
	lie   func(Op) bool
	ill   func(Op) error
}

// NewForgetful returns an empty disk with power.
func NewForgetful() *Forgetful { return &Forgetful{root: newDir(), limit: -1} }

// CutAfter lets n more steps happen and cuts the power at the next one, which is not done. n < 0: never.
func (d *Forgetful) CutAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = n
	if n >= 0 {
		d.limit = d.steps + n
	}
}

// Steps returns how many steps have happened.
func (d *Forgetful) Steps() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.steps
}

// Lie makes the disk drop every step for which drop returns true and answer success. Meant for syncs: a test that
// passes although one needed sync was dropped tests nothing. drop is called with the disk locked; nil ends it.
func (d *Forgetful) Lie(drop func(Op) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lie = drop
}

// Ail makes the disk slow or failing: f is called before every step, without the disk's lock, so it may wait; a step for
// which it returns an error is not done and answers that error. As on Linux, what a sync that fails should have made
// durable counts as clean from then on: a later sync that succeeds does not write it. nil ends it.
func (d *Forgetful) Ail(f func(Op) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ill = f
}

// ails returns the error of Ail's function for a step.
func (d *Forgetful) ails(kind, name string) error {
	d.mu.Lock()
	f := d.ill
	if d.lost {
		f = nil
	}
	d.mu.Unlock()
	if f == nil {
		return nil
	}
	if err := f(Op{kind, name}); err != nil {
		return pathError(kind, name, err)
	}
	return nil
}

// PowerCut cuts the power, if it is not cut already, and returns the disk as it is found afterwards, with power: what
// was not synced is gone. The old disk and its open files answer ErrPowerLost.
func (d *Forgetful) PowerCut() *Forgetful { return d.PowerCutTorn(nil) }

// PowerCutTorn is a PowerCut in which the disk was busy writing: of what was not synced, some happens to survive, each
// 512-byte sector for itself and of each directory's changes a beginning. chance(n) picks a number in [0,n).
func (d *Forgetful) PowerCutTorn(chance func(n int) int) *Forgetful {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = true
	return &Forgetful{root: d.root.survivor(chance), limit: -1}
}

// step counts an operation. It returns false with nil if the operation is to be lied about.
func (d *Forgetful) step(kind, name string) (bool, error) {
	if !d.lost && d.limit >= 0 && d.steps >= d.limit {
		d.lost = true
	}
	if d.lost {
		return false, pathError(kind, name, ErrPowerLost)
	}
	d.steps++
	if d.lie != nil && d.lie(Op{kind, name}) {
		return false, nil
	}
	return true, nil
}

// find returns the directory that holds name and the last element of name.
func (d *Forgetful) find(name string) (*node, string, error) {
	if d.lost {
		return nil, "", ErrPowerLost
	}
	name = strings.Trim(filepath.ToSlash(filepath.Clean(name)), "/")
	if name == "" || name == "." {
		return d.root, "", nil
	}
	parts := strings.Split(name, "/")
	dir := d.root
	for _, p := range parts[:len(parts)-1] {
		next := dir.names[p]
		if next == nil || next.names == nil {
			return nil, "", os.ErrNotExist
		}
		dir = next
	}
	return dir, parts[len(parts)-1], nil
}

func (d *Forgetful) lookup(name string) (*node, error) {
	dir, base, err := d.find(name)
	if err != nil {
		return nil, err
	}
	if base == "" {
		return dir, nil
	}
	if n := dir.names[base]; n != nil {
		return n, nil
	}
	return nil, os.ErrNotExist
}

// OpenFile implements FS.
func (d *Forgetful) OpenFile(name string, flag int, _ os.FileMode) (File, error) {
	if flag&os.O_CREATE != 0 {
		if err := d.ails("create", name); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.find(name)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	n := dir.names[base]
	if base == "" || n != nil && n.names != nil {
		return nil, pathError("open", name, errors.New("is a directory"))
	}
	if n != nil && flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL {
		return nil, pathError("open", name, os.ErrExist)
	}
	if n == nil {
		if flag&os.O_CREATE == 0 {
			return nil, pathError("open", name, os.ErrNotExist)
		}
		if _, err := d.step("create", name); err != nil {
			return nil, err
		}
		n = newFile()
		dir.change(change{set: map[string]*node{base: n}})
	} else if flag&os.O_TRUNC != 0 {
		if _, err := d.step("truncate", name); err != nil {
			return nil, err
		}
		n.resize(0)
	}
	return &memFile{disk: d, node: n, name: name, flag: flag}, nil
}

// Rename implements FS.
func (d *Forgetful) Rename(from, to string) error {
	if err := d.ails("rename", to); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	oldDir, oldBase, err := d.find(from)
	if err != nil {
		return pathError("rename", from, err)
	}
	newDir, newBase, err := d.find(to)
	if err != nil {
		return pathError("rename", to, err)
	}
	n := oldDir.names[oldBase]
	if n == nil {
		return pathError("rename", from, os.ErrNotExist)
	}
	if there := newDir.names[newBase]; newBase == "" || there != nil && there.names != nil {
		return pathError("rename", to, os.ErrExist)
	}
	if ok, err := d.step("rename", to); !ok {
		return err
	}
	if oldDir == newDir {
		oldDir.change(change{set: map[string]*node{newBase: n}, gone: oldBase})
		return nil
	}
	newDir.change(change{set: map[string]*node{newBase: n}})
	oldDir.change(change{gone: oldBase})
	return nil
}

// Remove implements FS.
func (d *Forgetful) Remove(name string) error {
	if err := d.ails("remove", name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.find(name)
	if err != nil {
		return pathError("remove", name, err)
	}
	n := dir.names[base]
	switch {
	case n == nil:
		return pathError("remove", name, os.ErrNotExist)
	case len(n.names) > 0:
		return pathError("remove", name, errors.New("directory not empty"))
	}
	if ok, err := d.step("remove", name); !ok {
		return err
	}
	dir.change(change{gone: base})
	return nil
}

// List implements FS.
func (d *Forgetful) List(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup(dir)
	if err == nil && n.names == nil {
		err = errors.New("not a directory")
	}
	if err != nil {
		return nil, pathError("list", dir, err)
	}
	return slices.Sorted(maps.Keys(n.names)), nil
}

// MkdirAll implements FS.
func (d *Forgetful) MkdirAll(dir string, perm os.FileMode) error {
	if made, err := d.mkdir(dir); err == nil || !errors.Is(err, os.ErrNotExist) {
		if made {
			return d.SyncDir(filepath.Dir(dir))
		}
		return err
	}
	if err := d.MkdirAll(filepath.Dir(dir), perm); err != nil {
		return err
	}
	return d.MkdirAll(dir, perm)
}

func (d *Forgetful) mkdir(dir string) (bool, error) {
	if err := d.ails("mkdir", dir); err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	parent, base, err := d.find(dir)
	if err != nil {
		return false, pathError("mkdir", dir, err)
	}
	if base == "" {
		return false, nil
	}
	if n := parent.names[base]; n != nil {
		if n.names == nil {
			return false, pathError("mkdir", dir, os.ErrExist)
		}
		return false, nil
	}
	if ok, err := d.step("mkdir", dir); !ok {
		return false, err
	}
	parent.change(change{set: map[string]*node{base: newDir()}})
	return true, nil
}

// SyncDir implements FS.
func (d *Forgetful) SyncDir(dir string) error {
	if err := d.ails("syncdir", dir); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup(dir)
	if err == nil && n.names == nil {
		err = errors.New("not a directory")
	}
	if err != nil {
		return pathError("syncdir", dir, err)
	}
	if ok, err := d.step("syncdir", dir); !ok {
		return err
	}
	n.settle(len(n.changes))
	return nil
}
