package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync/atomic"

	"github.com/tinylib/msgp/msgp"
)

// Restore replaces the whole state by a snapshot's. The old state stays in place and readable until the new one is
// complete and has proved sound; on an error nothing has changed. All watches are woken and the Epoch rises. Open views
// of the old state stay readable until their Release. It waits for an open Batch when it has read all.
func (s *Store) Restore(r io.Reader) error {
	l := loader{tables: s.build(), schema: s.schema}
	h, err := l.load(r)
	if err != nil {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	s.tables, s.index, s.lineage, s.restored = l.tables, h.Index, h.Lineage, h.Restored
	s.bytes.Store(l.bytes)
	s.history.reset(h.Index)
	clear(s.cut)
	old := s.view.Load()
	v := s.next(nil)
	v.time, v.epoch = h.Time, old.epoch+1
	s.registry.touching.Store(true)
	s.view.Store(v)
	if old.refs.Load() != uncut {
		old.Release()
	}
	s.registry.wakeAll()
	s.registry.touching.Store(false)
	s.moved.Add(1)
	return nil
}

// Verify reads a snapshot to its end and returns an error if this store could not Restore it. Nothing changes, nothing
// waits.
func (s *Store) Verify(r io.Reader) error {
	_, err := s.Peek(r, nil)
	return err
}

// Peek is Verify, and returns what the snapshot holds of one of the store's tables.
func (s *Store) Peek(r io.Reader, at AnyTable) (Reader, error) {
	l := loader{tables: s.build(), schema: s.schema}
	for _, d := range s.schema {
		l.tables[d.id()].common().discards = d != at
	}
	h, err := l.load(r)
	if err != nil {
		return nil, err
	}
	seen := &Store{schema: s.schema, tables: l.tables, cut: make([]any, len(l.tables)), index: h.Index}
	seen.history.floor = new(atomic.Uint64)
	v := seen.next(nil)
	seen.capture(v)
	return v, nil
}

// loader reads a snapshot into empty tables.
type loader struct {
	tables []table // by descriptor id
	schema []AnyTable
	bytes  int64 // rough size of what was read
}

func (l *loader) load(r io.Reader) (Header, error) {
	return readFrames(r, func(Header) error { return nil }, func(name string) (takeRow, error) {
		t, err := l.table(name)
		if err != nil {
			return nil, err
		}
		return func(index uint64, b []byte) ([]byte, error) {
			rest, size, err := t.decode(index, b)
			if err != nil {
				return nil, damaged("table %s: %v", name, err)
			}
			l.bytes += size
			return rest, nil
		}, nil
	})
}

// Scan reads a snapshot to its end, whatever its tables, and proves it sound but for what is in the records. It hands
// head the header, then row every record in order: its table, the index of the Command that wrote it and its MessagePack,
// valid until row returns. The first error of either ends it and is returned.
func Scan(r io.Reader, head func(Header) error, row func(table string, index uint64, record []byte) error) error {
	_, err := readFrames(r, head, func(table string) (takeRow, error) {
		return func(index uint64, b []byte) ([]byte, error) {
			rest, err := msgp.Skip(b)
			if err != nil {
				return nil, damaged("table %s: %v", table, err)
			}
			return rest, row(table, index, b[:len(b)-len(rest)])
		}, nil
	})
	return err
}

// takeRow reads the record at the front of b and returns what follows it.
type takeRow func(index uint64, b []byte) (rest []byte, err error)

// readFrames reads a snapshot to its end and has every record taken by the taker of its table, which may be asked for
// several times.
func readFrames(r io.Reader, head func(Header) error, taker func(table string) (takeRow, error)) (Header, error) {
	f, h, err := openSnapshot(r)
	if err != nil {
		return h, err
	}
	if err := head(h); err != nil {
		return h, err
	}
	for rows := 0; ; {
		b, err := f.next()
		if err != nil {
			return h, err
		}
		if msgp.NextType(b) == msgp.MapType {
			if err := endFrame(b, rows); err != nil {
				return h, err
			}
			return h, f.end()
		}
		n, err := readRows(b, h.Index, taker)
		if err != nil {
			return h, err
		}
		rows += n
	}
}

// readRows reads a frame of rows and returns how many there were; none is newer than the snapshot's index.
func readRows(b []byte, newest uint64, taker func(table string) (takeRow, error)) (int, error) {
	fields, b, err := msgp.ReadArrayHeaderBytes(b)
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
	if n < 1 || int64(fields) != 2+2*int64(n) {
		return 0, damaged("a frame of table %s claims %d rows in %d fields", name, n, fields)
	}
	take, err := taker(name)
	if err != nil {
		return 0, err
	}
	for range n {
		var index uint64
		if index, b, err = msgp.ReadUint64Bytes(b); err != nil {
			return 0, damaged("table %s: %v", name, err)
		}
		if index > newest {
			return 0, damaged("table %s: a row of index %d, in a snapshot of index %d", name, index, newest)
		}
		if b, err = take(index, b); err != nil {
			return 0, err
		}
	}
	if len(b) > 0 {
		return 0, damaged("table %s: %d bytes too many in a frame", name, len(b))
	}
	return n, nil
}

func (l *loader) table(name string) (table, error) {
	for _, d := range l.schema {
		if d.Name() == name {
			return l.tables[d.id()], nil
		}
	}
	return nil, damaged("it holds the table %q that this version does not know; upgrade this server", name)
}

func endFrame(b []byte, rows int) error {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	if err != nil || n != 1 {
		return damaged("bad last frame")
	}
	key, b, err := msgp.ReadStringBytes(b)
	if err != nil || key != "rows" {
		return damaged("bad last frame")
	}
	want, b, err := msgp.ReadIntBytes(b)
	if err != nil || len(b) > 0 {
		return damaged("bad last frame")
	}
	if want != rows {
		return damaged("it holds %d rows, its end names %d", rows, want)
	}
	return nil
}

// ReadHeader reads where a snapshot stands. It may read on beyond the header.
func ReadHeader(r io.Reader) (Header, error) {
	_, h, err := openSnapshot(r)
	return h, err
}

// Rewrite copies a snapshot with another header: the restored state continues above both histories under a new lineage
// (design rule 6). Rows are copied unread, but for their checksums. After an error what was written is worthless.
func Rewrite(w io.Writer, r io.Reader, index uint64, lineage string) error {
	f, h, err := openSnapshot(r)
	if err != nil {
		return err
	}
	out := &frameWriter{w: bufio.NewWriterSize(w, frameBytes)}
	out.text(magic)
	out.frame(headerBytes(h.rewritten(index, lineage)))
	for out.err == nil {
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
	return out.flush()
}

// RewriteSize reads the header of a snapshot of size bytes, and returns how many bytes Rewrite makes of it.
func RewriteSize(r io.Reader, size int64, index uint64, lineage string) (int64, error) {
	f, h, err := openSnapshot(r)
	if err != nil {
		return 0, err
	}
	return size - int64(f.head) + int64(len(headerBytes(h.rewritten(index, lineage)))), nil
}

func (h Header) rewritten(index uint64, lineage string) Header {
	index = max(index, h.Index)
	return Header{index, lineage, h.Time, index}
}

// frameReader reads a snapshot's frames after the header.
type frameReader struct {
	r    *bufio.Reader
	buf  []byte
	head int // bytes of the header
}

func openSnapshot(r io.Reader) (*frameReader, Header, error) {
	f := &frameReader{r: bufio.NewReaderSize(r, frameBytes)}
	got := make([]byte, len(magic))
	if _, err := io.ReadFull(f.r, got); err != nil || string(got) != magic {
		return nil, Header{}, damaged("it is not a Rostra snapshot")
	}
	b, err := f.next()
	if err != nil {
		return nil, Header{}, err
	}
	f.head = len(b)
	h, err := readHeader(b)
	return f, h, err
}

// readHeader reads the first frame. The format comes first, so that a later format is named as what it is.
func readHeader(b []byte) (h Header, err error) {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		return h, damaged("header: %v", err)
	}
	var v int
	fields := []struct {
		name string
		read func() error
	}{
		{"format", func() error { v, b, err = msgp.ReadIntBytes(b); return err }},
		{"index", func() error { h.Index, b, err = msgp.ReadUint64Bytes(b); return err }},
		{"lineage", func() error { h.Lineage, b, err = msgp.ReadStringBytes(b); return err }},
		{"time", func() error { h.Time, b, err = msgp.ReadInt64Bytes(b); return err }},
		{"restored", func() error { h.Restored, b, err = msgp.ReadUint64Bytes(b); return err }},
	}
	for i, f := range fields {
		var name string
		if name, b, err = msgp.ReadStringBytes(b); err != nil {
			return h, damaged("header: %v", err)
		}
		if name != f.name {
			return h, damaged("header: the field %q where %q belongs", name, f.name)
		}
		if err := f.read(); err != nil {
			return h, damaged("header: %s: %v", name, err)
		}
		if i == 0 && v != format {
			return h, damaged("its format is %d, this version reads %d; use a version of Rostra that knows it", v, format)
		}
	}
	if int(n) != len(fields) || len(b) > 0 {
		return h, damaged("header: it has fields that format %d does not know", format)
	}
	return h, nil
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
