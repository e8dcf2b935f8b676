package config

import (
	"fmt"
	"reflect"
	"slices"
)

// Changed compares two fillings of the same settings structs, given in the same order, and returns the keys that differ,
// sorted: those that a running agent takes over, and those that need a restart. Structs of different types are a
// programmer's mistake and panic.
func Changed(old, new []any) (reloadable, restart []string) {
	before, err := newSchema(old)
	if err != nil {
		panic(err)
	}
	after, err := newSchema(new)
	if err != nil {
		panic(err)
	}
	if len(before.order) != len(after.order) {
		panic("settings of different kinds cannot be compared")
	}
	for i, b := range before.order {
		a := after.order[i]
		if a.key != b.key || a.typ != b.typ {
			panic(fmt.Sprintf("setting %s cannot be compared with %s", b.key, a.key))
		}
		if equal(a.fields[0], b.fields[0]) {
			continue
		}
		if a.reload {
			reloadable = append(reloadable, a.key)
		} else {
			restart = append(restart, a.key)
		}
	}
	slices.Sort(reloadable)
	slices.Sort(restart)
	return reloadable, restart
}

// equal takes nil and empty lists and maps for the same.
func equal(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Slice, reflect.Map:
		if a.Len() == 0 && b.Len() == 0 {
			return true
		}
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
