package delta

import (
	"encoding/binary"
	"errors"
)

var errDamaged = errors.New("cannot apply a delta: it is damaged, or of other bytes")

// Apply makes the new bytes by the delta at the front of d, and returns what follows that. More than most bytes are
// refused, and so is whatever would keep what old does not have. It keeps neither old nor d.
func Apply(old, d []byte, most int) (fresh, rest []byte, err error) {
	r := reader{d: d}
	size := r.length(most)
	fresh = make([]byte, 0, min(size, len(old)+len(d)))
	for at := 0; !r.bad && len(fresh) < size; {
		left := size - len(fresh)
		keep := r.length(min(len(old), left))
		if keep > 0 {
			at = r.place(at, len(old)-keep)
			if r.bad {
				break
			}
			fresh = append(fresh, old[at:at+keep]...)
			at += keep
		}
		put := r.take(r.length(left - keep))
		fresh = append(fresh, put...)
		at += len(put)
		r.bad = r.bad || keep == 0 && len(put) == 0
	}
	if r.bad {
		return nil, nil, errDamaged
	}
	return fresh, r.d, nil
}

// reader takes a delta apart. After the first damage it gives zeros.
type reader struct {
	d   []byte
	bad bool
}

// length reads a number up to most.
func (r *reader) length(most int) int {
	n, size := binary.Uvarint(r.d)
	if r.bad || size <= 0 || n > uint64(most) {
		r.bad = true
		return 0
	}
	r.d = r.d[size:]
	return int(n)
}

// place reads how far it is from at to a place from 0 to last.
func (r *reader) place(at, last int) int {
	n, size := binary.Varint(r.d)
	if r.bad || size <= 0 || n < int64(-at) || n > int64(last-at) {
		r.bad = true
		return 0
	}
	r.d = r.d[size:]
	return at + int(n)
}

func (r *reader) take(n int) []byte {
	if n > len(r.d) {
		r.bad = true
		return nil
	}
	b := r.d[:n]
	r.d = r.d[n:]
	return b
}
