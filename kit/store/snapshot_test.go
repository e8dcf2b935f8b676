package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tinylib/msgp/msgp"
)

// sample is a small store with rows in every table, one of them long.
func sample(t testing.TB) *Store {
	s := New(worldTables, worldTriggers, Limits{})
	do(t, s, func(tx *Tx) {
		items.Put(tx, &item{Key: "", Group: "g", Tags: []string{"x", "y"}, Value: []byte("first")})
		items.Put(tx, &item{Key: "a/b", Group: "g"})
		items.Put(tx, &item{Key: "gone"})
		tx.SetLineage("the line")
	})
	do(t, s, func(tx *Tx) { items.Delete(tx, "gone"); tx.Touch(Subject{Kind: "k", Name: "n"}) })
	return s
}

// restorable restores into a store that has another state, and checks that a refusal changes nothing of it. It returns
// the state after it, nil if it was refused.
func restorable(t testing.TB, image []byte) []byte {
	s := New(worldTables, worldTriggers, Limits{})
	do(t, s, func(tx *Tx) { items.Put(tx, &item{Key: "old", Group: "old"}); tx.SetLineage("old") })
	before, size := state(t, s), s.Bytes()
	old := s.View()
	defer old.Release()
	verified := s.Verify(bytes.NewReader(image))
	if !bytes.Equal(state(t, s), before) {
		t.Fatal("Verify changed the state")
	}
	// Scan looks into no record, so it may take what Verify does not, never the other way round.
	if _, _, err := scanned(image); err != nil && verified == nil {
		t.Fatalf("Verify takes it, Scan says %v", err)
	}
	err := s.Restore(iotest.OneByteReader(bytes.NewReader(image)))
	if (err == nil) != (verified == nil) {
		t.Fatalf("Verify says %v, Restore %v", verified, err)
	}
	if !bytes.Equal(snapshotOf(t, old), before) {
		t.Fatal("an old view moved")
	}
	if err != nil {
		if !strings.HasPrefix(err.Error(), "cannot read the snapshot: ") {
			t.Fatalf("error %v", err)
		}
		if !bytes.Equal(state(t, s), before) || s.Epoch() != 0 || s.Bytes() != size || s.Lineage() != "old" {
			t.Fatalf("a refused snapshot left something: %v", err)
		}
	}
	do(t, s, func(tx *Tx) { items.Put(tx, &item{Key: "after"}); items.Delete(tx, "after") })
	if err != nil {
		return nil
	}
	s = New(worldTables, worldTriggers, Limits{})
	if err := s.Restore(bytes.NewReader(image)); err != nil {
		t.Fatal(err)
	}
	return state(t, s)
}

// TestDamage flips every bit of a snapshot and cuts it at every length: all that is refused.
func TestDamage(t *testing.T) {
	image := state(t, sample(t))
	if !bytes.Equal(restorable(t, image), image) {
		t.Fatal("the sound snapshot is not restored as it is")
	}
	for i := range image {
		for _, flip := range []byte{1, 0x80, 0xff} {
			bad := bytes.Clone(image)
			bad[i] ^= flip
			if got := restorable(t, bad); got != nil && !bytes.Equal(got, image) {
				t.Errorf("byte %d flipped by %x gives another state", i, flip)
			}
		}
		if restorable(t, image[:i]) != nil {
			t.Errorf("cut to %d bytes it is taken", i)
		}
	}
	for _, more := range [][]byte{{0}, image, image[len(magic):]} {
		if restorable(t, append(bytes.Clone(image), more...)) != nil {
			t.Errorf("%d bytes more, and it is taken", len(more))
		}
	}
	if err := sample(t).Restore(iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(image)))); err == nil {
		t.Error("a reader's error is ignored")
	}
}

// frames splits a snapshot into its payloads; join makes one of payloads, with sound checksums.
func frames(image []byte) (list [][]byte) {
	for b := image[len(magic):]; len(b) > 8; {
		n := 8 + int(binary.BigEndian.Uint32(b))
		if n > len(b) {
			break
		}
		list = append(list, b[8:n])
		b = b[n:]
	}
	return list
}

func join(list [][]byte) []byte {
	b := []byte(magic)
	for _, f := range list {
		b = binary.BigEndian.AppendUint32(b, uint32(len(f)))
		b = append(binary.BigEndian.AppendUint32(b, crc32.Checksum(f, castagnoli)), f...)
	}
	return b
}

func rowFrame(table string, n, fields int, rows ...any) []byte {
	b := msgp.AppendArrayHeader(nil, uint32(fields))
	b = msgp.AppendInt(msgp.AppendString(b, table), n)
	for _, x := range rows {
		switch x := x.(type) {
		case int:
			b = msgp.AppendInt(b, x)
		case []byte:
			b = append(b, x...)
		case msgp.Marshaler:
			b, _ = x.MarshalMsg(b)
		}
	}
	return b
}

func endOf(n int) []byte {
	return msgp.AppendInt(msgp.AppendString(msgp.AppendMapHeader(nil, 1), "rows"), n)
}

// TestForeign: snapshots with sound checksums that this version must not take.
func TestForeign(t *testing.T) {
	head := headerBytes(Header{Index: 9, Lineage: "l", Time: 7})
	a, b := &item{Key: "a"}, &item{Key: "b"}
	log := &logRow{"a", 1}
	newer, _ := log.MarshalMsg(nil)
	newer = append(msgp.AppendMapHeader(nil, 3), newer[1:]...)
	newer = msgp.AppendInt(msgp.AppendString(newer, "New"), 1)
	reordered := msgp.AppendUint64(msgp.AppendString(msgp.AppendMapHeader(nil, 2), "N"), 1)
	reordered = msgp.AppendString(msgp.AppendString(reordered, "Key"), "a")
	huge := append(msgp.AppendArrayHeader(nil, 4), 0xa1, 'a', 0xa1, 'g', 0xdd, 0xff, 0xff, 0xff, 0xff)
	later := msgp.AppendInt(msgp.AppendString(msgp.AppendMapHeader(nil, 1), "format"), 2)
	for _, c := range []struct {
		what, err string
		frames    [][]byte
	}{
		{"sound", "", [][]byte{head, rowFrame("items", 2, 6, 3, a, 9, b), endOf(2)}},
		{"in two frames", "", [][]byte{head, rowFrame("items", 1, 4, 3, a), rowFrame("items", 1, 4, 9, b), endOf(2)}},
		{"empty", "", [][]byte{head, endOf(0)}},
		{"unknown table", `the table "later"`, [][]byte{head, rowFrame("later", 1, 4, 3, a), endOf(1)}},
		{"unknown field", "upgrade this server", [][]byte{head, rowFrame("logs", 1, 4, 3, newer), endOf(1)}},
		{"fields in another order", "form", [][]byte{head, rowFrame("logs", 1, 4, 3, reordered), endOf(1)}},
		{"another record", "cannot decode", [][]byte{head, rowFrame("items", 1, 4, 3, log), endOf(1)}},
		{"same key twice", "does not follow", [][]byte{head, rowFrame("items", 2, 6, 3, a, 3, a), endOf(2)}},
		{"keys descend", "does not follow", [][]byte{head, rowFrame("items", 1, 4, 3, b), rowFrame("items", 1, 4, 3, a), endOf(2)}},
		{"row of the future", "index 10", [][]byte{head, rowFrame("items", 1, 4, 10, a), endOf(1)}},
		{"rows missing", "its end names 3", [][]byte{head, rowFrame("items", 2, 6, 3, a, 9, b), endOf(3)}},
		{"no rows", "claims 0 rows", [][]byte{head, rowFrame("items", 0, 2), endOf(0)}},
		{"negative rows", "claims -1 rows", [][]byte{head, rowFrame("items", -1, 0), endOf(-1)}},
		{"fewer rows than claimed", "items", [][]byte{head, rowFrame("items", 2, 6, 3, a), endOf(2)}},
		{"other fields than rows", "in 9 fields", [][]byte{head, rowFrame("items", 1, 9, 3, a), endOf(1)}},
		{"more bytes than rows", "too many in a frame", [][]byte{head, rowFrame("items", 1, 4, 3, a, 9, b), endOf(1)}},
		{"an array of four billion", "items", [][]byte{head, rowFrame("items", 1, 4, 3, huge), endOf(1)}},
		{"later format", "its format is 2", [][]byte{later, endOf(0)}},
		{"header without its fields", "header", [][]byte{head[:len(head)-6], endOf(0)}},
		{"header with more", "header", [][]byte{append(bytes.Clone(head), 1), endOf(0)}},
		{"no header", "header", [][]byte{endOf(0)}},
		{"two ends", "follows its end", [][]byte{head, endOf(0), endOf(0)}},
		{"end with more", "bad last frame", [][]byte{head, append(endOf(0), 0)}},
		{"no end", "ends early", [][]byte{head}},
		{"empty frame", "row frame", [][]byte{head, {}, endOf(0)}},
	} {
		image := join(c.frames)
		got := restorable(t, image)
		err := sample(t).Verify(bytes.NewReader(image))
		if c.err == "" && (err != nil || got == nil) {
			t.Errorf("%s: %v", c.what, err)
		} else if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: error %v, want %q", c.what, err, c.err)
		}
	}
	long := join([][]byte{head})
	long = binary.BigEndian.AppendUint32(long, frameLimit+1)
	if err := sample(t).Verify(bytes.NewReader(append(long, make([]byte, 9)...))); err == nil || !strings.Contains(err.Error(), "claims") {
		t.Errorf("a frame above the limit: %v", err)
	}
}

// TestTooLong: what could not be read again is not written.
func TestTooLong(t *testing.T) {
	s := New(worldTables, nil, Limits{})
	do(t, s, func(tx *Tx) { items.Put(tx, &item{Value: make([]byte, frameLimit)}) })
	v := s.View()
	defer v.Release()
	if _, err := v.WriteTo(io.Discard); err == nil || !strings.Contains(err.Error(), "above the limit") {
		t.Errorf("error %v", err)
	}
}

// TestManyFrames: a state larger than one frame comes back whole, and rows keep their Commands' indexes.
func TestManyFrames(t *testing.T) {
	s := New(worldTables, nil, Limits{})
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		do(t, s, func(tx *Tx) {
			for range 20 {
				k := fmt.Sprint(r.IntN(5000))
				items.Put(tx, &item{Key: k, Group: k[:1], Value: bytes.Repeat([]byte{byte(i)}, r.IntN(1000))})
			}
		})
	}
	image := state(t, s)
	if n := len(frames(image)); n < 10 {
		t.Fatalf("only %d frames", n)
	}
	c := New(worldTables, nil, Limits{})
	if err := c.Restore(bytes.NewReader(image)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(state(t, c), image) || c.Bytes() != s.Bytes() || c.Index() != s.Index() {
		t.Errorf("%d bytes, index %d; want %d, %d", c.Bytes(), c.Index(), s.Bytes(), s.Index())
	}
	v, w := s.View(), c.View()
	defer v.Release()
	defer w.Release()
	for g := range items.Keys(v, "group") {
		if !slices.EqualFunc(slices.Collect(items.By(v, "group", g)), slices.Collect(items.By(w, "group", g)),
			func(a, b *item) bool { return a.String() == b.String() }) {
			t.Errorf("group %s differs", g)
		}
	}
	if _, known := items.At(w, "1", w.Index()-1); known {
		t.Error("a restored store claims to know its past")
	}
	for i, f := range frames(image) {
		if len(f) > frameBytes+2000 {
			t.Errorf("frame %d has %d bytes", i, len(f))
		}
	}
}

// scanned is what Scan hands on: the header, and a line for each record.
func scanned(image []byte) (head Header, rows []string, err error) {
	err = Scan(bytes.NewReader(image), func(h Header) error { head = h; return nil },
		func(table string, index uint64, record []byte) error {
			text := new(strings.Builder)
			_, err := msgp.UnmarshalAsJSON(text, record)
			rows = append(rows, fmt.Sprintf("%s %d %s", table, index, text))
			return err
		})
	return head, rows, err
}

// TestScan: every record, in order, with its table and index; errors of the callers' end it.
func TestScan(t *testing.T) {
	s := sample(t)
	image := state(t, s)
	head, rows, err := scanned(image)
	if err != nil || head.Index != s.Index() || head.Lineage != "the line" {
		t.Errorf("header %+v, %v", head, err)
	}
	if got := strings.Join(rows, "\n"); got != `store.touched 2 ["k\u0000n",2]
store.touched 1 ["lineage\u0000",1]
items 1 ["","g",["x","y"],"Zmlyc3Q="]
items 1 ["a/b","g",[],""]
logs 2 {"Key":"gone","N":1}` {
		t.Errorf("rows %s", got)
	}
	stop := errors.New("stop")
	if err := Scan(bytes.NewReader(image), func(Header) error { return stop }, nil); !errors.Is(err, stop) {
		t.Errorf("an error of head is lost: %v", err)
	}
	calls := 0
	err = Scan(bytes.NewReader(image), func(Header) error { return nil }, func(string, uint64, []byte) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("an error of row: %v after %d calls", err, calls)
	}
	if _, _, err := scanned([]byte("something else")); err == nil || !strings.Contains(err.Error(), "not a Rostra snapshot") {
		t.Errorf("error %v", err)
	}
	// A table that no version knows is no business of Scan's; a wrong count is.
	list := frames(image)
	foreign := append(slices.Clone(list[:len(list)-1]), rowFrame("later", 1, 4, 1, &item{Key: "x"}))
	if _, rows, err := scanned(join(append(foreign, endOf(len(rows)+1)))); err != nil || !strings.HasPrefix(rows[len(rows)-1], "later 1 ") {
		t.Errorf("%q %v", rows, err)
	}
	if _, _, err := scanned(join(append(foreign, endOf(len(rows))))); err == nil {
		t.Error("a wrong count is taken")
	}
}

// TestRewrite gives a snapshot another header and nothing else.
func TestRewrite(t *testing.T) {
	s := sample(t)
	image := state(t, s)
	var out bytes.Buffer
	if err := Rewrite(&out, bytes.NewReader(image), 41, "new line"); err != nil {
		t.Fatal(err)
	}
	if size, err := RewriteSize(bytes.NewReader(image), int64(len(image)), 41, "new line"); err != nil || size != int64(out.Len()) {
		t.Errorf("%d bytes were announced and %d written, %v", size, out.Len(), err)
	}
	if h, err := ReadHeader(bytes.NewReader(out.Bytes())); err != nil || h != (Header{41, "new line", s.view.Load().time, 41}) {
		t.Errorf("header %+v, %v", h, err)
	}
	if !slices.EqualFunc(frames(image)[1:], frames(out.Bytes())[1:], bytes.Equal) {
		t.Error("rows differ")
	}
	if err := s.Restore(&out); err != nil || s.Index() != 41 || s.Lineage() != "new line" {
		t.Fatalf("index %d, lineage %q, %v", s.Index(), s.Lineage(), err)
	}
	do(t, s, func(tx *Tx) { tx.Touch(Subject{Kind: "k", Name: "n"}) })
	v := s.View()
	defer v.Release()
	if v.Touched(Subject{Kind: "k", Name: "n"}) != 42 || v.Touched(Subject{Kind: "lineage"}) != 1 {
		t.Errorf("touched %d, lineage %d", v.Touched(Subject{Kind: "k", Name: "n"}), v.Touched(Subject{Kind: "lineage"}))
	}
	out.Reset()
	if err := Rewrite(&out, bytes.NewReader(image), 1, "x"); err != nil {
		t.Fatal(err)
	}
	if h, _ := ReadHeader(&out); h.Index != 2 {
		t.Errorf("the index went back to %d", h.Index)
	}
	for i := range image {
		bad := bytes.Clone(image)
		bad[i] ^= 4
		if Rewrite(io.Discard, bytes.NewReader(bad), 9, "x") == nil || Rewrite(io.Discard, bytes.NewReader(image[:i]), 9, "x") == nil {
			t.Fatalf("damage at byte %d is copied", i)
		}
	}
	if Rewrite(io.Discard, bytes.NewReader(append(bytes.Clone(image), 0)), 9, "x") == nil {
		t.Error("what follows the end is ignored")
	}
	if err := Rewrite(&shortWriter{10}, bytes.NewReader(image), 9, "x"); err == nil {
		t.Error("a writer's error is ignored")
	}
	for n := range len(image) {
		if _, err := v.WriteTo(&shortWriter{n}); err == nil {
			t.Fatalf("a writer's error after %d bytes is ignored", n)
		}
	}
}

// shortWriter takes n bytes.
type shortWriter struct{ n int }

func (w *shortWriter) Write(b []byte) (int, error) {
	if w.n -= len(b); w.n < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

// TestDecodeStrict takes what it would write and nothing else, and returns what follows.
func TestDecodeStrict(t *testing.T) {
	sound, _ := (&logRow{"a", 300}).MarshalMsg(nil)
	rest, err := DecodeStrict(append(bytes.Clone(sound), 1, 2), &logRow{})
	if err != nil || !bytes.Equal(rest, []byte{1, 2}) {
		t.Errorf("rest %v, %v", rest, err)
	}
	for i := range sound {
		if _, err := DecodeStrict(sound[:i], &logRow{}); err == nil {
			t.Errorf("%d bytes of %d are taken", i, len(sound))
		}
	}
	wide := append(msgp.AppendString(msgp.AppendMapHeader(nil, 2), "Key"), 0xd9, 1, 'a') // a one-byte length where none is needed
	wide = msgp.AppendUint64(msgp.AppendString(wide, "N"), 300)
	missing := msgp.AppendString(msgp.AppendString(msgp.AppendMapHeader(nil, 1), "Key"), "a")
	for what, b := range map[string][]byte{"another form": wide, "a field missing": missing} {
		if _, err := DecodeStrict(b, &logRow{}); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// FuzzRestore feeds frames with sound checksums (and, now and then, the bytes as they are): never a panic, a refusal
// changes nothing, what is taken is written again as a snapshot that restores to itself.
func FuzzRestore(f *testing.F) {
	image := state(f, sample(f))
	f.Add(image, false)
	list := frames(image)
	var parts []byte
	for _, p := range list {
		parts = append(binary.BigEndian.AppendUint16(parts, uint16(len(p))), p...)
	}
	f.Add(parts, true)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, b []byte, whole bool) {
		image := b
		if whole {
			var list [][]byte
			for len(b) >= 2 {
				n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
				list = append(list, b[2:2+n])
				b = b[2+n:]
			}
			image = join(list)
		}
		got := restorable(t, image)
		_ = Rewrite(io.Discard, bytes.NewReader(image), 1, "x")
		if got != nil && !bytes.Equal(restorable(t, got), got) {
			t.Error("a state taken from a snapshot does not restore to itself")
		}
	})
}
