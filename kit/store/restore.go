package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/tinylib/msgp/msgp"
)

// Restore replaces the whole state by a snapshot's. The old state stays in place and readable until the new one is
// complete and has proved sound; on an error nothing has changed. All watches are woken and Epoch rises.
func (s *Store) Restore(r io.Reader) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	fresh := &Store{triggers: s.triggers}
	fresh.build(s.descriptors())
	h, err := fresh.load(r)
	if err != nil {
		return err
	}
	s.tables, s.order = fresh.tables, fresh.order
	s.index, s.lineage = h.Index, h.Lineage
	s.bytes.Store(0)
	for _, t := range s.order {
		t.adopt(s)
	}
	old := s.view.Load()
	v := newView(s, nil)
	v.time = h.Time
	s.epoch.Add(1)
	s.view.Store(v)
	old.refs.Add(-1)
	s.history = history{limits: s.history.limits}
	s.history.floor.Store(h.Index)
	s.registry.wakeAll()
	return nil
}

// Verify reads a snapshot to its end and returns an error if this store could not Restore it. Nothing changes.
func (s *Store) Verify(r io.Reader) error {
	fresh := &Store{triggers: s.triggers}
	s.writing.Lock()
	list := s.descriptors()
	s.writing.Unlock()
	fresh.build(list)
	for _, t := range fresh.order {
		t.discard()
	}
	_, err := fresh.load(r)
	return err
}

func (s *Store) descriptors() []AnyTable {
	var list []AnyTable
	for _, t := range s.order {
		list = append(list, t.(interface{ descriptor() AnyTable }).descriptor())
	}
	return list
}

func (t *tableState[T, P]) descriptor() AnyTable { return t.Table }

// load reads a snapshot into the empty store's tables.
func (s *Store) load(r io.Reader) (Header, error) {
	f, h, err := openSnapshot(r)
	if err != nil {
		return h, err
	}
	total := 0
	for {
		b, err := f.next()
		if err != nil {
			return h, err
		}
		if msgp.NextType(b) == msgp.MapType {
			if err := endFrame(b, total); err != nil {
				return h, err
			}
			return h, f.end()
		}
		n, err := s.loadRows(b)
		if err != nil {
			return h, err
		}
		total += n
	}
}

func (s *Store) loadRows(b []byte) (int, error) {
	_, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return 0, damaged("row frame: %v", err)
	}
	name, b, err := msgp.ReadStringBytes(b)
	if err != nil {
		return 0, damaged("row frame: %v", err)
	}
	n, b, err := msgp.ReadIntBytes(b)
	if err != nil {
		return 0, damaged("row frame: %v", err)
	}
	t := s.byName(name)
	if t == nil {
		return 0, damaged("it holds the table %q that this version does not know; upgrade this server", name)
	}
	for range n {
		var index uint64
		if index, b, err = msgp.ReadUint64Bytes(b); err != nil {
			return 0, damaged("table %s: %v", name, err)
		}
		if b, err = t.decode(index, b); err != nil {
			return 0, damaged("table %s: %v", name, err)
		}
	}
	if len(b) > 0 {
		return 0, damaged("table %s: %d bytes too many in a frame", name, len(b))
	}
	return n, nil
}

func (s *Store) byName(name string) table {
	for _, t := range s.order {
		if t.named() == name {
			return t
		}
	}
	return nil
}

func endFrame(b []byte, rows int) error {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	if err != nil || n != 1 {
		return damaged("bad last frame")
	}
	if key, rest, err := msgp.ReadStringBytes(b); err != nil || key != "rows" {
		return damaged("bad last frame")
	} else if want, _, err := msgp.ReadIntBytes(rest); err != nil || want != rows {
		return damaged("it holds %d rows, its end names %d", rows, want)
	}
	return nil
}

// ReadHeader reads where a snapshot stands and returns a reader of the same snapshot from its beginning.
func ReadHeader(r io.Reader) (Header, error) {
	_, h, err := openSnapshot(r)
	return h, err
}

// Rewrite copies a snapshot with another header: the restored state continues above both histories under a new lineage
// (design rule 6). Rows are copied unread; their checksums travel along.
func Rewrite(w io.Writer, r io.Reader, index uint64, lineage string) error {
	f, h, err := openSnapshot(r)
	if err != nil {
		return err
	}
	out := &frameWriter{w: bufio.NewWriterSize(w, frameBytes)}
	out.text(magic)
	out.frame(headerBytes(Header{max(index, h.Index), lineage, h.Time}, f.tables))
	for {
		b, err := f.next()
		if err != nil {
			return err
		}
		out.frame(b)
		if msgp.NextType(b) == msgp.MapType {
			break
		}
	}
	if out.err != nil {
		return out.err
	}
	if err := f.end(); err != nil {
		return err
	}
	return out.w.Flush()
}

type frameReader struct {
	r      *bufio.Reader
	tables int
	buf    []byte
}

func openSnapshot(r io.Reader) (*frameReader, Header, error) {
	f := &frameReader{r: bufio.NewReaderSize(r, frameBytes)}
	var h Header
	got := make([]byte, len(magic))
	if _, err := io.ReadFull(f.r, got); err != nil || string(got) != magic {
		return nil, h, damaged("it is not a Rostra snapshot")
	}
	b, err := f.next()
	if err != nil {
		return nil, h, err
	}
	n, b, err := msgp.ReadMapHeaderBytes(b)
	for ; err == nil && n > 0; n-- {
		var key string
		if key, b, err = msgp.ReadStringBytes(b); err == nil {
			b, err = f.headerField(&h, key, b)
		}
	}
	if err != nil {
		return nil, h, damaged("header: %v", err)
	}
	return f, h, nil
}

func (f *frameReader) headerField(h *Header, key string, b []byte) (rest []byte, err error) {
	switch key {
	case "format":
		var v int
		v, rest, err = msgp.ReadIntBytes(b)
		if err == nil && v != format {
			err = damaged("its format is %d, this version reads %d; use a version of Rostra that knows it", v, format)
		}
	case "index":
		h.Index, rest, err = msgp.ReadUint64Bytes(b)
	case "lineage":
		h.Lineage, rest, err = msgp.ReadStringBytes(b)
	case "time":
		h.Time, rest, err = msgp.ReadInt64Bytes(b)
	case "tables":
		f.tables, rest, err = msgp.ReadIntBytes(b)
	default:
		err = damaged("unknown header field %q; upgrade this server", key)
	}
	return rest, err
}

// next returns the next frame's payload, valid until the call after.
func (f *frameReader) next() ([]byte, error) {
	var h [8]byte
	if _, err := io.ReadFull(f.r, h[:]); err != nil {
		return nil, damaged("it ends early: %v", err)
	}
	n := binary.BigEndian.Uint32(h[:])
	if n > frameLimit {
		return nil, damaged("a frame claims %d bytes", n)
	}
	if uint32(cap(f.buf)) < n {
		f.buf = make([]byte, n)
	}
	f.buf = f.buf[:n]
	if _, err := io.ReadFull(f.r, f.buf); err != nil {
		return nil, damaged("it ends early: %v", err)
	}
	if crc32.Checksum(f.buf, castagnoli) != binary.BigEndian.Uint32(h[4:]) {
		return nil, damaged("a frame's checksum is wrong")
	}
	return f.buf, nil
}

// end makes sure that nothing follows the last frame.
func (f *frameReader) end() error {
	if _, err := f.r.ReadByte(); !errors.Is(err, io.EOF) {
		return damaged("something follows its end")
	}
	return nil
}
