package live

import "testing"

func TestValue(t *testing.T) {
	var none *Value[int]
	if none.Get() != 0 || none.Changed() != nil {
		t.Error("a nil pointer is no zero value")
	}
	var v Value[int]
	v.Set(1) // nobody waits
	changed := v.Changed()
	select {
	case <-changed:
		t.Error("it has changed before it did")
	default:
	}
	if v.Get() != 1 || v.Changed() != changed {
		t.Error("not the value, or another channel")
	}
	v.Set(2)
	<-changed
	if v.Get() != 2 || v.Changed() == changed {
		t.Error("the change is not there")
	}
}
