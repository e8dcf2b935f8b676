package shelf

import (
	"fmt"
	"testing"
)

func TestShelf(t *testing.T) {
	s, other := new(Shelf), new(Shelf)
	if v, ok := Find[fmt.Stringer](s); v != nil || ok {
		t.Errorf("an empty shelf holds %v", v)
	}
	Put(s, 7)
	Put(s, 8)
	Put[any](s, "eight") // another type than int or string
	if v, ok := Find[int](s); v != 8 || !ok {
		t.Errorf("%v, %v", v, ok)
	}
	if v, ok := Find[any](s); v != "eight" || !ok {
		t.Errorf("%v, %v", v, ok)
	}
	if _, ok := Find[string](s); ok {
		t.Error("a string that was left as any")
	}
	if _, ok := Find[int](other); ok {
		t.Error("two shelves share what is on them")
	}
	Put[int](nil, 7)
	if _, ok := Find[int](nil); ok {
		t.Error("no shelf keeps something")
	}
}
