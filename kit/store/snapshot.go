package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/tinylib/msgp/msgp"

	"rostra/kit/fault"
)

// The snapshot format, version 1. A snapshot is the magic text, then frames. A frame is the length of its payload
// (uint32, big-endian), the payload's CRC-32C (uint32, big-endian) and the payload, MessagePack:
//
//	first frame   map {format, index, lineage, time, restored}, in this order
//	row frames    array [table name, n, then n times: index, record], n above 0
//	last frame    map {rows}: how many rows there were
//
// Tables come in schema order, rows in key order, so equal states give equal bytes. A record carries the index of the
// Command that wrote it. What deviates from this in any way is refused.
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
	Time    int64  // the log's clock of that Command, Unix nanoseconds
	// Restored is the index at which an archive replaced the state, 0 if none did: no answer's index is below it.
	Restored uint64
}

// scratches are buffers of DecodeStrict, which compares what it has decoded with what it was given.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

// DecodeStrict reads a record from the front of b and returns what follows. A field the record's type does not know is
// an error: it was written by a newer version, and dropping it would make this replica differ from the others. Nothing is
// allocated on the word of a length that the bytes do not bear out.
func DecodeStrict(b []byte, rec interface {
	msgp.Marshaler
	msgp.Unmarshaler
}) (rest []byte, err error) {
	rest, err = msgp.Skip(b) // generated code makes slices of whatever length it reads
	if err != nil {
		return b, fmt.Errorf("cannot decode %T: %w", rec, err)
	}
	whole := b[:len(b)-len(rest)]
	if _, err = rec.UnmarshalMsg(whole); err != nil {
		return b, fmt.Errorf("cannot decode %T: %w", rec, err)
	}
	scratch := scratches.Get().(*[]byte)
	again, err := rec.MarshalMsg((*scratch)[:0])
	if cap(again) <= frameBytes {
		*scratch = again[:0]
	}
	defer scratches.Put(scratch)
	if err != nil {
		return b, err
	}
	if !bytes.Equal(again, whole) {
		return b, fmt.Errorf("%T holds a field or form that this version does not know; upgrade this server", rec)
	}
	return rest, nil
}

// WriteTo writes the view as a snapshot. It may run while the store goes on.
func (v *View) WriteTo(w io.Writer) (int64, error) {
	f := &frameWriter{w: bufio.NewWriterSize(w, frameBytes)}
	f.text(magic)
	f.frame(headerBytes(Header{v.index, v.lineage, v.time, v.restored}))
	total := 0
	for _, d := range v.schema {
		n, err := v.writeTable(f, d)
		if err != nil {
			return f.n, fmt.Errorf("cannot write table %s to the snapshot: %w", d.Name(), err)
		}
		total += n
	}
	f.frame(msgp.AppendInt(msgp.AppendString(msgp.AppendMapHeader(nil, 1), "rows"), total))
	return f.n, f.flush()
}

func (v *View) writeTable(f *frameWriter, d AnyTable) (total int, err error) {
	var head, rows []byte
	n := 0
	flush := func() error {
		if n > 0 {
			head = msgp.AppendArrayHeader(head[:0], uint32(2+2*n))
			head = msgp.AppendInt(msgp.AppendString(head, d.Name()), n)
			f.frame(head, rows)
		}
		total += n
		rows, n = rows[:0], 0
		return f.err
	}
	err = d.encode(v, func(index uint64, rec msgp.Marshaler) (err error) {
		rows = msgp.AppendUint64(rows, index)
		if rows, err = rec.MarshalMsg(rows); err != nil {
			return err
		}
		if n++; len(rows) >= frameBytes {
			return flush()
		}
		return nil
	})
	if err != nil {
		return total, err
	}
	return total, flush()
}

func headerBytes(h Header) []byte {
	b := msgp.AppendMapHeader(nil, 5)
	b = msgp.AppendInt(msgp.AppendString(b, "format"), format)
	b = msgp.AppendUint64(msgp.AppendString(b, "index"), h.Index)
	b = msgp.AppendString(msgp.AppendString(b, "lineage"), h.Lineage)
	b = msgp.AppendInt64(msgp.AppendString(b, "time"), h.Time)
	return msgp.AppendUint64(msgp.AppendString(b, "restored"), h.Restored)
}

// frameWriter writes a snapshot's frames; its first error sticks.
type frameWriter struct {
	w   *bufio.Writer
	n   int64
	err error
}

func (f *frameWriter) text(s string) { f.bytes([]byte(s)) }

func (f *frameWriter) bytes(b []byte) {
	if f.err == nil {
		_, f.err = f.w.Write(b)
		f.n += int64(len(b))
	}
}

// frame writes one frame; its payload comes in parts.
func (f *frameWriter) frame(parts ...[]byte) {
	size, sum := 0, uint32(0)
	for _, p := range parts {
		size += len(p)
		sum = crc32.Update(sum, castagnoli, p)
	}
	if size > frameLimit && f.err == nil {
		f.err = fmt.Errorf("a frame of %d bytes is above the limit of %d", size, frameLimit)
	}
	var h [8]byte
	binary.BigEndian.PutUint32(h[:], uint32(size))
	binary.BigEndian.PutUint32(h[4:], sum)
	f.bytes(h[:])
	for _, p := range parts {
		f.bytes(p)
	}
}

func (f *frameWriter) flush() error {
	if f.err == nil {
		f.err = f.w.Flush()
	}
	return f.err
}

// damaged returns the error of a snapshot that cannot be trusted.
func damaged(why string, args ...any) error {
	return fault.New(fault.Internal, "cannot read the snapshot: %s", fmt.Sprintf(why, args...))
}
