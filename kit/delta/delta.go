// Package delta says how to make some bytes of others that the receiver has: what to keep of those, and what to put
// between. It knows nothing of what the bytes mean, so that a row which came, went, moved or changed in one field costs
// about its own new bytes, whatever list it stands in. engine/relay sends long answers so.
//
// A delta is the length of the new bytes (uvarint), and then, until that many are made, any number of
//
//	how many bytes to keep of the old ones (uvarint); if any, how far on in them those begin (varint), counted from
//	where the last kept ones ended and on by the length of what was put in since: 0 behind a field changed in its place
//	how many bytes to put in (uvarint), and the bytes
//
// so that its end is known, and deltas that apply one after the other can simply be joined.
package delta

import "encoding/binary"

// Append appends the delta that makes fresh of old. It takes time in proportion to their lengths: that of a comparison
// where they are the same at both ends, a few nanoseconds a byte between.
func Append(b, old, fresh []byte) []byte {
	head := common(old, fresh)
	tail := commonEnd(old[head:], fresh[head:])
	w := writer{b: binary.AppendUvarint(b, uint64(len(fresh)))}
	w.keep(0, head)
	w.between(old[:len(old)-tail], fresh[:len(fresh)-tail], head)
	w.keep(len(old)-tail, tail)
	w.flush()
	return w.b
}

// writer appends instructions.
type writer struct {
	b    []byte
	at   int    // where in the old bytes those to be kept next are expected
	kept bool   // some were, and what is put in behind them is not written yet
	put  []byte // what that is so far
}

// keep writes that n of the old bytes are kept.
func (w *writer) keep(from, n int) {
	if n == 0 {
		return
	}
	w.flush()
	w.b = binary.AppendUvarint(w.b, uint64(n))
	w.b = binary.AppendVarint(w.b, int64(from-w.at))
	w.at, w.kept = from+n, true
}

// flush writes what is put in behind the last kept bytes.
func (w *writer) flush() {
	if !w.kept && len(w.put) == 0 {
		return
	}
	if !w.kept {
		w.b = append(w.b, 0)
	}
	w.b = append(binary.AppendUvarint(w.b, uint64(len(w.put))), w.put...)
	w.at += len(w.put)
	w.kept, w.put = false, nil
}

// between writes how fresh comes of old, both from at on: what is the same there is found by its blocks.
func (w *writer) between(old, fresh []byte, at int) {
	blocks := blocksOf(old, at)
	done := at // all of fresh before it is written
	for i, h := at, hash(fresh[at:]); i+block <= len(fresh); {
		from, found := blocks.find(h, fresh[i:i+block])
		if !found {
			if i+block < len(fresh) {
				h = roll(h, fresh[i], fresh[i+block])
			}
			i++
			continue
		}
		back := commonEnd(old[at:from], fresh[done:i])
		n := common(old[from:], fresh[i:])
		w.put = fresh[done : i-back]
		w.keep(from-back, back+n)
		i += n
		done = i
		h = hash(fresh[i:])
	}
	w.put = fresh[done:]
}
