package httpd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"rostra/kit/fault"
)

// maxJSON bounds the bodies that Decode reads, in bytes. Larger ones have endpoints of their own with their own limits.
const maxJSON = 8 << 20

var errTooLarge = errors.New("the body is longer than the limit")

// Body reads the whole body. One longer than limit bytes is a 413 whose text is tooLarge(size); size is -1 when the
// client did not say how much it sends. A nil tooLarge gives Consul's text without a link. An empty body is an empty
// slice.
func (r *Request) Body(limit int64, tooLarge func(size int64) string) ([]byte, error) {
	size := r.HTTP.ContentLength
	if size > limit {
		return nil, refuseBody(size, limit, tooLarge)
	}
	if size >= 0 {
		b, err := readSized(r.HTTP.Body, int(size))
		if err != nil {
			return nil, unreadable(err)
		}
		return b, nil
	}
	b, err := io.ReadAll(&capped{r.HTTP.Body, limit})
	switch {
	case errors.Is(err, errTooLarge):
		return nil, refuseBody(-1, limit, tooLarge)
	case err != nil:
		return nil, unreadable(err)
	}
	return b, nil
}

// trusted is how much memory a client gets by announcing a body, in bytes. More it gets as the body comes.
const trusted = 4 << 10

func readSized(from io.Reader, size int) ([]byte, error) {
	b := make([]byte, min(size, trusted))
	for have := 0; ; {
		n, err := io.ReadFull(from, b[have:])
		have += n
		if err != nil || have == size {
			return b, err
		}
		b = append(b, make([]byte, min(size-have, have))...)
	}
}

func unreadable(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fault.New(fault.Invalid, "cannot read the request body: it stopped coming")
	}
	return fault.New(fault.Invalid, "cannot read the request body: %v", err)
}

func refuseBody(size, limit int64, text func(int64) string) error {
	if text != nil {
		return &fault.Error{Kind: fault.TooLarge, Text: text(size)}
	}
	known := ""
	if size >= 0 {
		known = fmt.Sprintf("(%d bytes)", size)
	}
	return fault.New(fault.TooLarge, "Request body%s too large, max size: %d bytes.", known, limit)
}

// Decode reads one JSON value from the body into v; members match case-insensitively and what follows the value is
// ignored. A value that does not fit is a 400 "Request decode failed: …", and so is a member that v does not have if
// strict. A body over 8 MiB is a 413.
func (r *Request) Decode(v any, strict bool) error {
	if r.HTTP.ContentLength > maxJSON {
		return refuseBody(r.HTTP.ContentLength, maxJSON, nil)
	}
	err := decode(&capped{r.HTTP.Body, maxJSON}, v, strict)
	if errors.Is(err, errTooLarge) {
		return refuseBody(-1, maxJSON, nil)
	}
	return asDecodeFault(err)
}

// DecodeJSON is Request.Decode for a body that has been read already.
func DecodeJSON(body []byte, v any, strict bool) error {
	return asDecodeFault(decode(bytes.NewReader(body), v, strict))
}

func decode(from io.Reader, v any, strict bool) error {
	d := json.NewDecoder(from)
	if strict {
		d.DisallowUnknownFields()
	}
	return d.Decode(v)
}

func asDecodeFault(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Invalid, "Request decode failed: %v", err)
}

// capped reads at most left bytes; more is errTooLarge, not a silent end.
type capped struct {
	from io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left < 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > c.left+1 { // one more, to tell the end from too much
		p = p[:c.left+1]
	}
	n, err := c.from.Read(p)
	c.left -= int64(n)
	if c.left < 0 {
		return n - 1, errTooLarge
	}
	return n, err
}
