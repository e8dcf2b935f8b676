package delta

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// row looks like one of a list that travels: names of fields, a number that others share, and what is its own.
func row(place, id, change int) []byte {
	return fmt.Appendf(nil, "\x82\xa4Node\xcd%c%c\xa7Service\x8a\xa2ID\xaeinstance-%05d\xa4Port\xcd\x1f\x90\xa7Address\xa810.0.%03d\xa6Create\xce\x00%03d\xa6Modify\xce\x00%06d",
		place>>8, place, id, id%1000, id%997, change)
}

// list is a table whose rows come, go and change.
type list struct {
	ids     []int
	changes map[int]int
	next    int
}

func newList(n int) *list {
	l := &list{changes: map[int]int{}}
	for range n {
		l.add(len(l.ids))
	}
	return l
}

func (l *list) add(at int) {
	l.ids = slices.Insert(l.ids, at, l.next)
	l.next++
}

func (l *list) bytes() []byte {
	var b []byte
	for i, id := range l.ids {
		b = append(b, row(i, id, l.changes[id])...)
	}
	return b
}

// step changes something.
func (l *list) step(r *rand.Rand) {
	for range 1 + r.IntN(3) {
		n := len(l.ids)
		switch what := r.IntN(10); {
		case what < 2 || n == 0:
			l.add(r.IntN(n + 1))
		case what < 4:
			at := r.IntN(n)
			l.ids = slices.Delete(l.ids, at, at+1)
		case what < 5:
			i, k := r.IntN(n), r.IntN(n)
			l.ids[i], l.ids[k] = l.ids[k], l.ids[i]
		case what < 6 && r.IntN(20) == 0:
			l.ids = nil
		default:
			l.changes[l.ids[r.IntN(n)]]++
		}
	}
}

// TestAnyChanges: whatever happens to a list, in one step or several joined, its deltas make it of what it was.
func TestAnyChanges(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		l := newList(r.IntN(200))
		held, now := l.bytes(), l.bytes()
		var behind []byte // what the holder has not got yet
		for range 50 {
			l.step(r)
			fresh := l.bytes()
			behind = Append(behind, now, fresh)
			now = fresh
			if r.IntN(3) == 0 {
				continue // a step is skipped
			}
			for len(behind) > 0 {
				var err error
				if held, behind, err = Apply(held, behind, 1<<20); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			if !bytes.Equal(held, now) {
				t.Fatalf("seed %d: it became something else", seed)
			}
		}
	}
}

// TestSize: what a change costs on the wire.
func TestSize(t *testing.T) {
	const rows = 5000
	whole := len(newList(rows).bytes())
	for _, c := range []struct {
		what   string
		change func(*list)
		most   int
	}{
		{"nothing", func(*list) {}, 16},
		{"a field", func(l *list) { l.changes[l.ids[rows/2]]++ }, 32},
		{"a row comes, and all behind it get other numbers", func(l *list) { l.add(rows / 2) }, rows / 2 * 13},
		{"a row goes, likewise", func(l *list) { l.ids = slices.Delete(l.ids, rows/2, rows/2+1) }, rows / 2 * 14},
		{"the last row comes", func(l *list) { l.add(rows) }, 256},
		{"two rows change places", func(l *list) { l.ids[100], l.ids[4000] = l.ids[4000], l.ids[100] }, 512},
		{"a hundred fields", func(l *list) {
			for i := range 100 {
				l.changes[l.ids[i*50]]++
			}
		}, 100 * 16},
		{"a third of the rows go", func(l *list) { l.ids = slices.DeleteFunc(l.ids, func(id int) bool { return id%3 == 0 }) }, rows * 12},
	} {
		l := newList(rows)
		old := l.bytes()
		c.change(l)
		d := Append(nil, old, l.bytes())
		if len(d) > c.most {
			t.Errorf("%s: %d bytes of %d; want at most %d", c.what, len(d), whole, c.most)
		}
		if got, rest, err := Apply(old, d, 1<<24); err != nil || len(rest) > 0 || !bytes.Equal(got, l.bytes()) {
			t.Errorf("%s: it becomes something else: %v", c.what, err)
		}
	}
}

// TestOtherBytes: bytes with nothing in common, or of one kind all through, cost no more than themselves.
func TestOtherBytes(t *testing.T) {
	r := rand.NewChaCha8([32]byte{})
	random := make([]byte, 10_000)
	_, _ = r.Read(random)
	texts := [][]byte{nil, {1}, random[:31], random[:32], random[:64], random, make([]byte, 10_000), bytes.Repeat([]byte("abc"), 3000),
		append(slices.Clone(random[5000:]), random[:5000]...)}
	for i, old := range texts {
		for k, fresh := range texts {
			d := Append([]byte("x"), old, fresh)[1:]
			if len(d) > len(fresh)+16 {
				t.Errorf("%d to %d: %d bytes for %d", i, k, len(d), len(fresh))
			}
			if got, rest, err := Apply(old, d, len(fresh)); err != nil || len(rest) > 0 || !bytes.Equal(got, fresh) {
				t.Errorf("%d to %d: %v", i, k, err)
			}
			if len(fresh) > 0 {
				if _, _, err := Apply(old, d, len(fresh)-1); err == nil {
					t.Errorf("%d to %d: more was made than allowed", i, k)
				}
				if _, _, err := Apply(old, d[:len(d)-1], len(fresh)); err == nil {
					t.Errorf("%d to %d: a cut delta was applied", i, k)
				}
			}
		}
	}
}

// FuzzApply: any bytes are applied or refused, and never make more than allowed.
func FuzzApply(f *testing.F) {
	l := newList(3)
	old := l.bytes()
	l.step(rand.New(rand.NewPCG(1, 1)))
	f.Add(old, Append(nil, old, l.bytes()))
	f.Add([]byte{}, []byte{3, 0, 0})
	f.Add([]byte("abc"), []byte{3, 3, 1, 0})
	f.Add([]byte("abc"), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, old, d []byte) {
		const most = 1 << 16
		fresh, rest, err := Apply(old, d, most)
		if err == nil && (len(fresh) > most || len(rest) >= len(d)) {
			t.Errorf("%d bytes were made, %d of %d left", len(fresh), len(rest), len(d))
		}
	})
}

// FuzzAppend: whatever two texts are, the delta makes the one of the other.
func FuzzAppend(f *testing.F) {
	l := newList(5)
	old := l.bytes()
	l.step(rand.New(rand.NewPCG(2, 2)))
	f.Add(old, l.bytes())
	f.Add([]byte{}, []byte{1})
	f.Fuzz(func(t *testing.T, old, fresh []byte) {
		got, rest, err := Apply(old, Append(nil, old, fresh), len(fresh))
		if err != nil || len(rest) > 0 || !bytes.Equal(got, fresh) {
			t.Errorf("%q became %q of %q: %v", fresh, got, old, err)
		}
	})
}

// BenchmarkAppend: in a list of 5,000 rows one field changes, or a row comes in the middle and all behind it change a
// number.
func BenchmarkAppend(b *testing.B) {
	for name, change := range map[string]func(*list){
		"field": func(l *list) { l.changes[l.ids[2500]]++ },
		"row":   func(l *list) { l.add(2500) },
		"third": func(l *list) { l.ids = slices.DeleteFunc(l.ids, func(id int) bool { return id%3 == 0 }) },
	} {
		l := newList(5000)
		old := l.bytes()
		change(l)
		fresh := l.bytes()
		d := Append(nil, old, fresh)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(fresh)))
			for b.Loop() {
				d = Append(d[:0], old, fresh)
			}
			b.ReportMetric(float64(len(d)), "wire-B")
		})
		b.Run(name+"/apply", func(b *testing.B) {
			b.SetBytes(int64(len(fresh)))
			for b.Loop() {
				_, _, _ = Apply(old, d, 1<<24)
			}
		})
	}
}
