package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/tinylib/msgp/msgp"

	"rostra/kit/fault"
)

// The snapshot format, version 1. A snapshot is the magic text, then frames. A frame is the length of its payload
// (uint32, big-endian), the payload's CRC-32C (uint32, big-endian) and the payload, MessagePack:
//
//	first frame   map {format, index, lineage, time, tables}
//	row frames    array [table name, n, then n times: index, record]
//	last frame    map {rows}: how many rows there were
//
// Tables come in schema order, rows in key order, so equal states give equal bytes. A record carries the index of the
// Command that wrote it.
const (
	magic      = "ROSTRA STATE\n"
	format     = 1
	frameBytes = 64 << 10 // a row frame is closed once it reaches this
	frameLimit = 64 << 20 // a longer frame is refused as damage
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is the beginning of a snapshot: what it counts and where it stands.
type Header struct {
	Index   uint64 // of the newest Command it contains
	Lineage string // the history Index belongs to
	Time    int64  // leader's clock of that Command, Unix nanoseconds
}

type sizes interface{ rows(v *View) int }

type snapshotter interface {
	encode(v *View, row func(index uint64, rec msgp.Marshaler) error) error
	decode(index uint64, b []byte) (rest []byte, err error)
	adopt(s *Store)
	discard() // makes decode check rows without keeping them
}

func (t *tableState[T, P]) rows(v *View) int { return t.in(v).primary.Len() }

func (t *tableState[T, P]) encode(v *View, row func(uint64, msgp.Marshaler) error) error {
	var err error
	t.in(v).primary.Scan(func(s *slot[T]) bool {
		for x := s.head.Load(); x != nil; x = x.prev.Load() {
			if x.index <= v.index {
				if x.rec != nil {
					err = row(x.index, P(x.rec))
				}
				break
			}
		}
		return err == nil
	})
	return err
}

func (t *tableState[T, P]) decode(index uint64, b []byte) ([]byte, error) {
	rec := new(T)
	rest, err := DecodeStrict(b, P(rec))
	if err != nil {
		return rest, err
	}
	if t.discards {
		return rest, nil
	}
	s := &slot[T]{key: t.schema.Key(rec)}
	s.head.Store(&version[T]{rec: rec, index: index})
	t.trees.primary.Load(s)
	t.refile(s, nil, rec)
	return rest, nil
}

func (t *tableState[T, P]) discard() { t.discards = true }

func (t *tableState[T, P]) adopt(s *Store) {
	t.trees.primary.Scan(func(x *slot[T]) bool {
		s.bytes.Add(int64(size[T, P](x.head.Load().rec)))
		return true
	})
}

// DecodeStrict reads a record from the front of b and returns what follows. A field the record's type does not know is
// an error: it was written by a newer version, and dropping it would make this replica differ from the others.
func DecodeStrict(b []byte, rec interface {
	msgp.Marshaler
	msgp.Unmarshaler
}) (rest []byte, err error) {
	rest, err = rec.UnmarshalMsg(b)
	if err != nil {
		return b, fmt.Errorf("cannot decode %T: %w", rec, err)
	}
	again, err := rec.MarshalMsg(make([]byte, 0, len(b)-len(rest)))
	if err != nil {
		return b, err
	}
	if !bytes.Equal(again, b[:len(b)-len(rest)]) {
		return b, fmt.Errorf("%T holds a field or form that this version does not know; upgrade this server", rec)
	}
	return rest, nil
}

// WriteTo writes the view as a snapshot. It may run while the store goes on.
func (v *View) WriteTo(w io.Writer) (int64, error) {
	f := &frameWriter{w: bufio.NewWriterSize(w, frameBytes)}
	f.text(magic)
	f.frame(headerBytes(Header{v.index, v.lineage, v.time}, len(v.store.order)))
	total := 0
	for _, t := range v.store.order {
		n, err := v.writeTable(f, t)
		if err != nil {
			return f.n, err
		}
		total += n
	}
	f.frame(msgp.AppendInt(msgp.AppendString(msgp.AppendMapHeader(nil, 1), "rows"), total))
	if f.err == nil {
		f.err = f.w.Flush()
	}
	return f.n, f.err
}

func (v *View) writeTable(f *frameWriter, t table) (total int, err error) {
	var rows []byte
	n := 0
	flush := func() error {
		if n > 0 {
			b := msgp.AppendArrayHeader(nil, uint32(2+2*n))
			b = msgp.AppendInt(msgp.AppendString(b, t.named()), n)
			f.frame(append(b, rows...))
		}
		rows, n = rows[:0], 0
		return f.err
	}
	err = t.encode(v, func(index uint64, rec msgp.Marshaler) (err error) {
		rows = msgp.AppendUint64(rows, index)
		if rows, err = rec.MarshalMsg(rows); err != nil {
			return err
		}
		if n++; len(rows) >= frameBytes {
			total += n
			return flush()
		}
		return nil
	})
	if err != nil {
		return total, err
	}
	total += n
	return total, flush()
}

func headerBytes(h Header, tables int) []byte {
	b := msgp.AppendMapHeader(nil, 5)
	b = msgp.AppendInt(msgp.AppendString(b, "format"), format)
	b = msgp.AppendUint64(msgp.AppendString(b, "index"), h.Index)
	b = msgp.AppendString(msgp.AppendString(b, "lineage"), h.Lineage)
	b = msgp.AppendInt64(msgp.AppendString(b, "time"), h.Time)
	return msgp.AppendInt(msgp.AppendString(b, "tables"), tables)
}

type frameWriter struct {
	w   *bufio.Writer
	n   int64
	err error
}

func (f *frameWriter) text(s string) {
	if f.err == nil {
		_, f.err = f.w.WriteString(s)
		f.n += int64(len(s))
	}
}

func (f *frameWriter) frame(payload []byte) {
	var h [8]byte
	binary.BigEndian.PutUint32(h[:], uint32(len(payload)))
	binary.BigEndian.PutUint32(h[4:], crc32.Checksum(payload, castagnoli))
	f.text(string(h[:]))
	if f.err == nil {
		_, f.err = f.w.Write(payload)
		f.n += int64(len(payload))
	}
}

// Damaged returns the error of a snapshot that cannot be trusted.
func damaged(why string, args ...any) error {
	return fault.New(fault.Internal, "cannot read the snapshot: %s", fmt.Sprintf(why, args...))
}
