package filter

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"rostra/kit/fault"
)

type operator uint8

const (
	equal operator = iota
	in
	matches
	empty
)

// match is one comparison. The parser fills the first four fields, bind the others.
type match struct {
	path   []string
	op     operator
	negate bool
	value  string

	steps  []step
	want   reflect.Value // value as the type compared with
	regexp *regexp.Regexp
}

// step leads from a value to one inside it: a struct's field by index, or a map's entry by key.
type step struct {
	field int
	key   string
	isKey bool
	keyAs reflect.Value // key as the map's key type
}

var mapType = reflect.TypeFor[Map]()

func deref(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// bind resolves the selector in t and converts the value to what it is compared with.
func (m *match) bind(t reflect.Type) error {
	for i, name := range m.path {
		// Lists of structs are gone through, element by element.
		for t = deref(t); t.Kind() == reflect.Slice && !t.Implements(mapType); {
			if t = deref(t.Elem()); t.Kind() != reflect.Struct {
				return m.invalid(i)
			}
		}
		switch {
		case t.Implements(mapType):
			m.steps = append(m.steps, step{key: name, isKey: true})
			t = reflect.TypeFor[string]()
		case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
			m.steps = append(m.steps, step{key: name, isKey: true, keyAs: reflect.ValueOf(name).Convert(t.Key())})
			t = t.Elem()
		case t.Kind() == reflect.Struct:
			found, steps := field(t, name)
			if found == nil {
				return m.invalid(i)
			}
			m.steps = append(m.steps, steps...)
			t = found
		default:
			return m.invalid(i)
		}
	}
	return m.bindLeaf(deref(t))
}

func (m *match) invalid(i int) error {
	return fault.New(fault.Internal, "Selector %q is not valid", strings.Join(m.path[:i+1], "."))
}

// field finds a struct's selectable field, also in embedded structs.
func field(t reflect.Type, name string) (reflect.Type, []step) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("bexpr")
		if tag == "-" {
			continue
		}
		if f.Anonymous && !tagged {
			if inner := deref(f.Type); inner.Kind() == reflect.Struct {
				if found, steps := field(inner, name); found != nil {
					return found, append([]step{{field: i}}, steps...)
				}
				continue
			}
		}
		if !tagged {
			tag = f.Name
		}
		if tag == name && f.IsExported() && selectable(f.Type) {
			return f.Type, []step{{field: i}}
		}
	}
	return nil, nil
}

// selectable reports whether the language knows what to do with a type.
func selectable(t reflect.Type) bool {
	t = deref(t)
	if t.Implements(mapType) || t.Kind() == reflect.Struct {
		return true
	}
	switch t.Kind() {
	case reflect.Slice:
		inner := deref(t.Elem())
		return inner.Kind() == reflect.Struct || primitive(inner.Kind())
	case reflect.Map:
		return t.Key().Kind() == reflect.String && selectable(t.Elem())
	}
	return primitive(t.Kind())
}

func primitive(k reflect.Kind) bool {
	return k == reflect.String || k == reflect.Bool || number(k)
}

func number(k reflect.Kind) bool {
	return k >= reflect.Int && k <= reflect.Float64 && k != reflect.Uintptr
}

// bindLeaf checks that the operator suits the selected type and converts the value.
func (m *match) bindLeaf(t reflect.Type) error {
	isMap := t.Implements(mapType) || t.Kind() == reflect.Map
	list := !isMap && t.Kind() == reflect.Slice
	if list {
		t = deref(t.Elem())
		if t.Implements(mapType) {
			return m.invalid(len(m.path) - 1)
		}
	}
	ok := false
	switch m.op {
	case equal:
		ok = !list && !isMap && primitive(t.Kind())
	case matches:
		ok = !list && !isMap && t.Kind() == reflect.String
	case in:
		ok = isMap || t.Kind() == reflect.String || list && primitive(t.Kind())
	case empty:
		ok = isMap || list
	}
	switch {
	case !ok:
		return fault.New(fault.Internal, "Invalid match operator %q for selector %q", m.opName(), strings.Join(m.path, "."))
	case m.op == empty:
		return nil
	case m.op == matches:
		compiled, err := regexp.Compile(m.value)
		if err != nil {
			return fault.New(fault.Internal, "Failed to compile regular expression %q: %v", m.value, err)
		}
		m.regexp = compiled
		return nil
	case t.Implements(mapType):
		return nil
	case isMap:
		m.want = reflect.ValueOf(m.value).Convert(t.Key())
		return nil
	}
	return m.convert(t)
}

func (m *match) opName() string {
	name := [...]string{equal: "Equal", in: "In", matches: "Matches", empty: "Is Empty"}[m.op]
	switch {
	case m.negate && m.op == empty:
		return "Is Not Empty"
	case m.negate:
		return "Not " + name
	}
	return name
}

// convert turns the value's text into t, a primitive. Numbers may have a base prefix (0x10), so only in quotes.
func (m *match) convert(t reflect.Type) error {
	v := reflect.New(t).Elem()
	var err error
	switch k := t.Kind(); {
	case k == reflect.String:
		v.SetString(m.value)
	case k == reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(m.value)
		v.SetBool(b)
	case k >= reflect.Int && k <= reflect.Int64:
		var n int64
		n, err = strconv.ParseInt(m.value, 0, t.Bits())
		v.SetInt(n)
	case k >= reflect.Uint && k <= reflect.Uint64:
		var n uint64
		n, err = strconv.ParseUint(m.value, 0, t.Bits())
		v.SetUint(n)
	default:
		var f float64
		f, err = strconv.ParseFloat(m.value, t.Bits())
		v.SetFloat(f)
	}
	if err != nil {
		return fault.New(fault.Internal, "Failed to convert value %q for selector %q: %v", m.value, strings.Join(m.path, "."), err)
	}
	m.want = v
	return nil
}

func (m *match) eval(v reflect.Value) bool { return m.walk(v, m.steps) }

// walk follows the steps; of a list on the way any element may match.
func (m *match) walk(v reflect.Value, steps []step) bool {
	for i, s := range steps {
		v = indirect(v)
		switch {
		case !v.IsValid():
			return m.absent()
		case s.keyAs.IsValid():
			v = lookUp(v, s)
		case s.isKey:
			text, ok := v.Interface().(Map).Get(s.key)
			if !ok {
				return m.absent()
			}
			return m.test(reflect.ValueOf(text))
		case v.Kind() == reflect.Slice:
			for j := range v.Len() {
				if m.walk(v.Index(j), steps[i:]) {
					return true
				}
			}
			return false
		default:
			v = v.Field(s.field)
		}
		if !v.IsValid() {
			return m.absent()
		}
	}
	v = indirect(v)
	if !v.IsValid() {
		return m.absent()
	}
	return m.test(v)
}

func indirect(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return v
}

// lookUp is MapIndex, without its copies for the common type.
func lookUp(v reflect.Value, s step) reflect.Value {
	if plain, ok := v.Interface().(map[string]string); ok {
		text, found := plain[s.key]
		if !found {
			return reflect.Value{}
		}
		return reflect.ValueOf(text)
	}
	return v.MapIndex(s.keyAs)
}

// absent is the outcome for a map without the key: only ==, in and "is not empty" are false, and, as ever, matches is
// true (conventions §11).
func (m *match) absent() bool {
	switch m.op {
	case equal, in:
		return m.negate
	case empty:
		return !m.negate
	}
	return true
}

func (m *match) test(v reflect.Value) bool {
	var yes bool
	switch m.op {
	case equal:
		yes = same(v, m.want)
	case matches:
		yes = m.regexp.MatchString(v.String())
	case empty:
		yes = size(v) == 0
	case in:
		yes = m.contains(v)
	}
	return yes != m.negate
}

func size(v reflect.Value) int {
	if as, ok := v.Interface().(Map); ok {
		return as.Len()
	}
	return v.Len()
}

func (m *match) contains(v reflect.Value) bool {
	if v.Kind() == reflect.String {
		return strings.Contains(v.String(), m.value)
	}
	if !m.want.IsValid() { // bindLeaf converts no value for a Map
		_, found := v.Interface().(Map).Get(m.value)
		return found
	}
	if v.Kind() == reflect.Map {
		return v.MapIndex(m.want).IsValid()
	}
	for i := range v.Len() {
		if item := indirect(v.Index(i)); item.IsValid() && same(item, m.want) {
			return true
		}
	}
	return false
}

// same compares two primitives of one type.
func same(a, b reflect.Value) bool {
	switch k := a.Kind(); {
	case k == reflect.String:
		return a.String() == b.String()
	case k == reflect.Bool:
		return a.Bool() == b.Bool()
	case a.CanInt():
		return a.Int() == b.Int()
	case a.CanUint():
		return a.Uint() == b.Uint()
	}
	return a.Float() == b.Float()
}
