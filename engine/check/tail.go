package check

import (
	"fmt"
	"io"
)

// tail is a writer that keeps the last max bytes written to it, in a ring that grows no larger than what was written.
type tail struct {
	max   int // > 0
	buf   []byte
	at    int   // where the oldest byte is, once buf is full
	total int64 // bytes written
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	t.total += int64(n)
	if n >= t.max {
		t.buf, t.at = append(t.buf[:0], p[n-t.max:]...), 0
		return n, nil
	}
	fits := min(n, t.max-len(t.buf))
	t.buf = append(t.buf, p[:fits]...)
	for p = p[fits:]; len(p) > 0; {
		done := copy(t.buf[t.at:], p)
		t.at = (t.at + done) % t.max
		p = p[done:]
	}
	return n, nil
}

// ReadFrom reads r to its end. io.Copy uses it, which spares each run io.Copy's buffer of 32 KiB.
func (t *tail) ReadFrom(r io.Reader) (int64, error) {
	before := t.total
	for buf := make([]byte, 4096); ; {
		n, err := r.Read(buf)
		_, _ = t.Write(buf[:n])
		switch err {
		case nil:
		case io.EOF:
			return t.total - before, nil
		default:
			return t.total - before, err
		}
	}
}

// String returns the bytes kept.
func (t *tail) String() string { return string(t.buf[t.at:]) + string(t.buf[:t.at]) }

// captured returns the bytes kept, with Consul's line on top if some were lost.
func (t *tail) captured() string {
	if t.total <= int64(t.max) {
		return t.String()
	}
	return fmt.Sprintf("Captured %d of %d bytes\n...\n%s", t.max, t.total, t.String())
}
