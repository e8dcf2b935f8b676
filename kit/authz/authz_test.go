package authz

import (
	"testing"

	"rostra/kit/fault"
)

// only allows one name.
type only string

func (o only) Allowed(_ Resource, _ Access, name string, _ bool) bool { return name == string(o) }

// TestRequire: the refusal names right and name as spec http/conventions.md §4 has them.
func TestRequire(t *testing.T) {
	if err := Require(AllowAll{}, Key, Write, "a"); err != nil {
		t.Error(err)
	}
	if err := Require(only("a"), Key, Write, "a"); err != nil {
		t.Error(err)
	}
	err := Require(only("a"), Key, Write, "b")
	if !fault.Is(err, fault.Denied) || err.Error() != `Permission denied: token lacks permission 'key:write' on "b"` {
		t.Errorf("refusal %v", err)
	}
	if err := Require(only("a"), Operator, Read, ""); err.Error() != `Permission denied: token lacks permission 'operator:read'` {
		t.Errorf("refusal without a name: %v", err)
	}
}
