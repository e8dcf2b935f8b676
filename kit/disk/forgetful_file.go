package disk

import (
	"errors"
	"io"
	"maps"
	"os"
	"slices"
)

const (
	pageSize   = 4096
	sectorSize = 512
)

type page [pageSize]byte

// node is a file or a directory: what programs see, and what is on the platter.
type node struct {
	// A directory: names is not nil. kept is the durable half, changes lead from kept to names.
	names, kept map[string]*node
	changes     []change

	// A file. Pages that are missing read as zeros. dirty pages differ from their safe copy.
	size, safeSize int64
	pages, safe    map[int64]*page
	dirty          map[int64]bool
}

// change is one step of a directory's names.
type change struct {
	set  map[string]*node
	gone string
}

func newDir() *node { return &node{names: map[string]*node{}, kept: map[string]*node{}} }

func newFile() *node {
	return &node{pages: map[int64]*page{}, safe: map[int64]*page{}, dirty: map[int64]bool{}}
}

func (c change) apply(names map[string]*node) {
	if c.gone != "" {
		delete(names, c.gone)
	}
	maps.Copy(names, c.set)
}

func (n *node) change(c change) {
	c.apply(n.names)
	n.changes = append(n.changes, c)
}

// settle makes the first count changes durable.
func (n *node) settle(count int) {
	for _, c := range n.changes[:count] {
		c.apply(n.kept)
	}
	n.changes = n.changes[count:]
}

// survivor returns what a power cut leaves of the tree below n. The old tree is given up.
func (n *node) survivor(chance func(int) int) *node {
	if n.names == nil {
		return n.fileSurvivor(chance)
	}
	if chance != nil {
		n.settle(chance(len(n.changes) + 1))
	}
	out := newDir()
	for _, name := range slices.Sorted(maps.Keys(n.kept)) { // in order, so that a seeded chance repeats
		c := n.kept[name].survivor(chance)
		out.names[name], out.kept[name] = c, c
	}
	return out
}

func (n *node) fileSurvivor(chance func(int) int) *node {
	out := newFile()
	out.size, out.safeSize = n.safeSize, n.safeSize
	if chance != nil && n.size != n.safeSize && chance(2) == 1 {
		out.size, out.safeSize = n.size, n.size
	}
	for i, p := range n.safe {
		c := *p
		out.safe[i] = &c
	}
	if chance != nil {
		for _, i := range slices.Sorted(maps.Keys(n.dirty)) {
			out.tear(i, n.pages[i], chance)
		}
	}
	for i, p := range out.safe {
		if i*pageSize >= out.size {
			delete(out.safe, i)
			continue
		}
		c := *p
		out.pages[i] = &c
	}
	return out
}

// tear lets each sector of a page that was being written survive by chance.
func (n *node) tear(i int64, written *page, chance func(int) int) {
	if n.safe[i] == nil {
		n.safe[i] = new(page)
	}
	if written == nil {
		written = new(page)
	}
	for s := 0; s < pageSize; s += sectorSize {
		if chance(2) == 1 {
			copy(n.safe[i][s:s+sectorSize], written[s:s+sectorSize])
		}
	}
}

func (n *node) sync() {
	for i := range n.dirty {
		if p := n.pages[i]; p != nil {
			c := *p
			n.safe[i] = &c
		} else {
			delete(n.safe, i)
		}
	}
	clear(n.dirty)
	n.safeSize = n.size
}

func (n *node) resize(size int64) {
	for i, p := range n.pages {
		switch start := i * pageSize; {
		case start >= size:
			delete(n.pages, i)
			n.dirty[i] = true
		case start+pageSize > size:
			clear(p[size-start:])
			n.dirty[i] = true
		}
	}
	n.size = size
}

func (n *node) readAt(b []byte, off int64) (int, error) {
	if off >= n.size {
		return 0, io.EOF
	}
	want := len(b)
	b = b[:min(int64(want), n.size-off)]
	done := 0
	for done < len(b) {
		at := off + int64(done)
		part := b[done:min(len(b), done+int(pageSize-at%pageSize))]
		if p := n.pages[at/pageSize]; p != nil {
			copy(part, p[at%pageSize:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	if done < want {
		return done, io.EOF
	}
	return done, nil
}

func (n *node) writeAt(b []byte, off int64) {
	for len(b) > 0 {
		i := off / pageSize
		if n.pages[i] == nil {
			n.pages[i] = new(page)
		}
		c := copy(n.pages[i][off%pageSize:], b)
		n.dirty[i] = true
		b, off = b[c:], off+int64(c)
	}
	n.size = max(n.size, off)
}

// memFile is an open file of a Forgetful disk.
type memFile struct {
	disk   *Forgetful
	node   *node
	name   string
	flag   int
	pos    int64
	closed bool
}

// use takes the disk's lock if the file may be used; the caller gives it back.
func (f *memFile) use(op string, write bool) error {
	f.disk.mu.Lock()
	err := error(nil)
	switch {
	case f.closed:
		err = os.ErrClosed
	case f.disk.lost:
		err = ErrPowerLost
	case write && f.flag&(os.O_WRONLY|os.O_RDWR) == 0:
		err = errors.New("not open for writing")
	case !write && f.flag&os.O_WRONLY != 0 && op == "read":
		err = errors.New("not open for reading")
	default:
		return nil
	}
	f.disk.mu.Unlock()
	return pathError(op, f.name, err)
}

func (f *memFile) Read(b []byte) (int, error) {
	if err := f.use("read", false); err != nil {
		return 0, err
	}
	defer f.disk.mu.Unlock()
	n, err := f.node.readAt(b, f.pos)
	f.pos += int64(n)
	if n > 0 || len(b) == 0 {
		err = nil
	}
	return n, err
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.use("read", false); err != nil {
		return 0, err
	}
	defer f.disk.mu.Unlock()
	return f.node.readAt(b, off)
}

func (f *memFile) Write(b []byte) (int, error) {
	if err := f.disk.ails("write", f.name); err != nil {
		return 0, err
	}
	if err := f.use("write", true); err != nil {
		return 0, err
	}
	defer f.disk.mu.Unlock()
	if f.flag&os.O_APPEND != 0 {
		f.pos = f.node.size
	}
	n, err := f.write(b, f.pos)
	f.pos += int64(n)
	return n, err
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.disk.ails("write", f.name); err != nil {
		return 0, err
	}
	if err := f.use("write", true); err != nil {
		return 0, err
	}
	defer f.disk.mu.Unlock()
	return f.write(b, off)
}

func (f *memFile) write(b []byte, off int64) (int, error) {
	ok, err := f.disk.step("write", f.name)
	if err != nil {
		return 0, err
	}
	if ok {
		f.node.writeAt(b, off)
	}
	return len(b), nil
}

func (f *memFile) Truncate(size int64) error {
	if err := f.disk.ails("truncate", f.name); err != nil {
		return err
	}
	if err := f.use("truncate", true); err != nil {
		return err
	}
	defer f.disk.mu.Unlock()
	if ok, err := f.disk.step("truncate", f.name); !ok {
		return err
	}
	f.node.resize(size)
	return nil
}

func (f *memFile) Sync() error {
	failed := f.disk.ails("sync", f.name)
	if err := f.use("sync", false); err != nil {
		return err
	}
	defer f.disk.mu.Unlock()
	if failed != nil {
		clear(f.node.dirty)
		return failed
	}
	if ok, err := f.disk.step("sync", f.name); !ok {
		return err
	}
	f.node.sync()
	return nil
}

func (f *memFile) Size() (int64, error) {
	if err := f.use("stat", false); err != nil {
		return 0, err
	}
	defer f.disk.mu.Unlock()
	return f.node.size, nil
}

// Close works without power too: it only gives the handle back.
func (f *memFile) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, os.ErrClosed)
	}
	f.closed = true
	return nil
}
