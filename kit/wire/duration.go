package wire

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// Duration is a length of time in nanoseconds. In JSON it reads a Go duration text ("10s") or a number of nanoseconds,
// and writes the text.
type Duration time.Duration

// String returns the Go duration text.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes the text form.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads either form; null and "" are zero.
func (d *Duration) UnmarshalJSON(b []byte) error {
	if string(b) == "null" || string(b) == `""` {
		*d = 0
		return nil
	}
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		v, err := time.ParseDuration(s)
		*d = Duration(v)
		return err
	}
	var n float64
	if err := json.Unmarshal(b, &n); err != nil {
		return fmt.Errorf("cannot read %s as a duration: write a text like \"10s\" or a number of nanoseconds", b)
	}
	*d = Duration(n)
	return nil
}

// MarshalMsg appends the nanoseconds.
func (d Duration) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendInt64(b, int64(d)), nil }

// UnmarshalMsg reads the nanoseconds.
func (d *Duration) UnmarshalMsg(b []byte) ([]byte, error) {
	n, b, err := msgp.ReadInt64Bytes(b)
	*d = Duration(n)
	return b, err
}

// Msgsize bounds the encoded size, in bytes.
func (d Duration) Msgsize() int { return 9 }
