package fault

import (
	"errors"
	"fmt"
	"testing"
)

// TestStatus is the one table from kinds to statuses (spec http/conventions.md §4).
func TestStatus(t *testing.T) {
	for kind, want := range map[Kind]int{Internal: 500, Invalid: 400, Denied: 403, NotFound: 404, Method: 405, Conflict: 409,
		TooLarge: 413, Busy: 429, Refused: 500, NotApplied: 500, Unknown: 500, NoLeader: 500, Disabled: 401, Unavailable: 503, Elsewhere: 429} {
		err := fmt.Errorf("wrapped: %w", New(kind, "text %d", 1))
		if Status(err) != want || KindOf(err) != kind || !Is(err, kind) {
			t.Errorf("kind %d: status %d, kind %d", kind, Status(err), KindOf(err))
		}
	}
	if Status(errors.New("plain")) != 500 || Is(nil, Internal) {
		t.Error("an error without a kind is internal, no error is none")
	}
}

// TestText: the text goes to the client unchanged, percent signs included.
func TestText(t *testing.T) {
	if got := New(Invalid, "%s", "100% sure").Error(); got != "100% sure" {
		t.Errorf("text %q", got)
	}
}
