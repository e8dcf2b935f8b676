package relay

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"rostra/engine/room"
	"rostra/kit/delta"
)

// textOf is an answer that is a long text.
func textOf(index uint64, lines []string) room.Answer {
	return room.Answer{Index: index, Value: strings.Join(lines, "\n")}
}

func linesOf(n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf("line %d is not like line %d", i, i*i))
	}
	return lines
}

// bring gives a holder the answer, as changes if they are known; whole reports that they are not.
func bring(t *testing.T, p *Packed, h *held) (whole bool) {
	t.Helper()
	b, err := p.whole(room.String)
	if err != nil {
		t.Fatal(err)
	}
	change, known := p.since(h.index)
	got := b
	if known {
		var ok bool
		if got, ok = h.become(&news{From: h.index, Lineage: h.lineage, Value: change, Sum: p.sum}); !ok || !bytes.Equal(got, b) {
			t.Fatalf("from %d to %d: something else came out", h.index, p.index)
		}
	}
	h.index, h.bytes = p.index, got
	return !known
}

// TestSteps: whoever is some steps behind gets the changes since, made of answers that nobody took in between as well;
// whoever is too far behind, or has something unknown, gets the whole.
func TestSteps(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	lines := linesOf(4000)
	p := Pack(textOf(1, lines), nil)
	var near, far held
	if !bring(t, p, &near) || !bring(t, p, &far) {
		t.Error("changes of nothing")
	}
	for i := range uint64(300) {
		lines[r.IntN(len(lines))] = fmt.Sprint("changed ", i)
		p = Pack(textOf(i+2, lines), p)
		if r.IntN(3) == 0 {
			continue // nobody takes it
		}
		if bring(t, p, &near) {
			t.Fatalf("at %d whoever followed got the whole", i)
		}
		if p.before.Load() != nil || p.value != nil {
			t.Fatal("more is kept than needed")
		}
		if i == 50 && bring(t, p, &far) {
			t.Error("whoever was 50 steps behind got the whole")
		}
	}
	if _, _ = p.whole(room.String); len(p.steps) > mostSteps {
		t.Errorf("%d steps are kept", len(p.steps))
	}
	if !bring(t, p, &far) {
		t.Error("the changes of 250 steps were there")
	}
	if _, known := p.since(1000); known {
		t.Error("changes of an answer that never was")
	}
}

// TestNoSteps: changes that are about as long as the whole, or of short answers, are not kept; nor do answers that nobody
// takes hold on to each other.
func TestNoSteps(t *testing.T) {
	first := Pack(textOf(1, linesOf(1000)), nil)
	_, _ = first.whole(room.String)
	other := Pack(room.Answer{Index: 2, Value: strings.Repeat("something else altogether ", 2000)}, first)
	_, _ = other.whole(room.String)
	fresh := linesOf(3000)[2000:]
	for i := range fresh {
		fresh[i] = fmt.Sprint(i*7, " and ", i*13, " make another line of it")
	}
	p := Pack(textOf(3, fresh), other)
	if _, _ = p.whole(room.String); len(p.steps) > 0 {
		t.Errorf("a change of %d bytes is kept for %d", len(p.steps[0].bytes), len(p.bytes))
	}
	short := Pack(textOf(4, []string{"short"}), p)
	if _, _ = short.whole(room.String); len(short.steps) > 0 {
		t.Error("a short answer has changes")
	}
	for i := range uint64(10) {
		short = Pack(textOf(5+i, []string{"short"}), short)
	}
	count := 0
	for one := short; one != nil; one = one.before.Load() {
		count++
	}
	if count > 2 {
		t.Errorf("%d answers hang together", count)
	}
}

// FuzzBecome: whatever a change says, it applies with the right sum or not at all.
func FuzzBecome(f *testing.F) {
	old := []byte(strings.Join(linesOf(20), "\n"))
	f.Add(delta.Append(delta.Append(nil, old, []byte("new")), []byte("new"), old))
	f.Add([]byte{0, 3})
	f.Add(msgp.AppendString(nil, "x"))
	f.Fuzz(func(t *testing.T, change []byte) {
		h := &held{index: 7, lineage: "l", bytes: old}
		n := &news{From: 7, Lineage: "l", Value: change, Sum: 77}
		if value, ok := h.become(n); ok && sumOf(value) != 77 {
			t.Errorf("%q was taken", value)
		}
		n.From = 8
		if _, ok := h.become(n); ok {
			t.Error("a change of another answer was taken")
		}
		n.From, n.Lineage = 7, "other"
		if _, ok := h.become(n); ok {
			t.Error("a change of another history was taken")
		}
	})
}
