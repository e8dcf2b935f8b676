package delta

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
)

// block is the length of the pieces by which common parts are found: one of twice that length holds a whole piece. The
// smaller it is, the less stands out as belonging to one row alone.
const block = 32

// blocks finds the pieces of some bytes that occur once among all of its pieces: only they tell rows of one kind apart.
type blocks struct {
	of    []byte
	slots []int32 // by hash, the end of a piece; 0 for none, negative if there are several
	shift int
}

// slotsPerBlock is so many that few pieces fall on the same slot, of which one is then not found.
const slotsPerBlock = 4

func blocksOf(of []byte, from int) blocks {
	n := (len(of) - from) / block
	if n == 0 || len(of) > math.MaxInt32 {
		return blocks{}
	}
	size := bits.Len(uint(n*slotsPerBlock - 1))
	b := blocks{of, make([]int32, 1<<size), 64 - size}
	for end := from + block; end <= len(of); end += block {
		piece := of[end-block : end]
		slot := b.slot(hash(piece))
		switch other := abs(*slot); {
		case other == 0:
			*slot = int32(end)
		case bytes.Equal(piece, of[other-block:other]):
			*slot = -other
		}
	}
	return b
}

func (b *blocks) slot(h uint64) *int32 { return &b.slots[h*0x9e3779b97f4a7c15>>b.shift] }

// find returns where a piece begins.
func (b *blocks) find(h uint64, piece []byte) (at int, found bool) {
	if b.slots == nil {
		return 0, false
	}
	end := int(*b.slot(h))
	if end <= 0 || !bytes.Equal(piece, b.of[end-block:end]) {
		return 0, false
	}
	return end - block, true
}

func abs(n int32) int32 { return max(n, -n) }

// prime is the base of the hash, a polynomial; leading is its power for the first of a piece.
const prime = 0x100000001b3

var leading = func() uint64 {
	p := uint64(1)
	for range block - 1 {
		p *= prime
	}
	return p
}()

// hash returns the hash of the first piece of b, 0 if it is shorter.
func hash(b []byte) (h uint64) {
	if len(b) < block {
		return 0
	}
	for _, c := range b[:block] {
		h = h*prime + uint64(c)
	}
	return h
}

// roll moves a hash on by a byte.
func roll(h uint64, out, in byte) uint64 { return (h-uint64(out)*leading)*prime + uint64(in) }

// common returns how many bytes are the same at the beginning of both.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// commonEnd returns how many bytes are the same at the end of both.
func commonEnd(a, b []byte) int {
	n := min(len(a), len(b))
	a, b = a[len(a)-n:], b[len(b)-n:]
	i := n
	for ; i >= 8; i -= 8 {
		if x := binary.LittleEndian.Uint64(a[i-8:]) ^ binary.LittleEndian.Uint64(b[i-8:]); x != 0 {
			return n - i + bits.LeadingZeros64(x)/8
		}
	}
	for i > 0 && a[i-1] == b[i-1] {
		i--
	}
	return n - i
}
