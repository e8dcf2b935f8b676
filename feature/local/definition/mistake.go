package definition

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"rostra/engine/room"
	"rostra/kit/spell"
	"rostra/kit/tree"
	"rostra/kit/wire"
)

// mistake is one thing that is wrong with a definition.
type mistake struct {
	path  string // where: dotted, of its members as they were written; "" is the definition as a whole
	cause error  // a fault with Consul's text, an unknownMember, a wrongType or a mended one of these
}

// mistakes are all that is wrong with a definition, never none. Their text is that of the first alone, without its place:
// over HTTP that is all Consul says. Files add what told says.
type mistakes []mistake

func (m mistakes) Error() string { return m[0].cause.Error() }
func (m mistakes) Unwrap() error { return m[0].cause }

// of returns a list of one mistake.
func of(path string, cause error) mistakes { return mistakes{{path, cause}} }

// within returns the mistakes of a member's value as those of the whole.
func (m mistakes) within(key string) mistakes {
	out := make(mistakes, len(m))
	for i, one := range m {
		out[i] = mistake{dotted(key, one.path), one.cause}
	}
	return out
}

// dotted puts a path inside a key.
func dotted(key, path string) string { return strings.TrimSuffix(key+"."+path, ".") }

// clear returns the mistakes that do not follow from earlier ones, because those are neither at their place nor in or around it.
func (m mistakes) clear(earlier mistakes) (out mistakes) {
	for _, one := range m {
		if !slices.ContainsFunc(earlier, func(e mistake) bool { return inside(e.path, one.path) || inside(one.path, e.path) }) {
			out = append(out, one)
		}
	}
	return out
}

func inside(path, outer string) bool { return outer == "" || strings.HasPrefix(path+".", outer+".") }

// unknownMember is the cause of a member nobody knows.
type unknownMember struct {
	key   string
	known members
}

func (u unknownMember) Error() string { return fmt.Sprintf("json: unknown field %q", u.key) }

// near returns the member that was meant, most likely, as it is spelled in files; "" if none is spelt alike.
func (u unknownMember) near() string {
	return spell.Nearest(strings.ToLower(u.key), u.known.spelled(), max(1, min(3, len(u.key)/3)))
}

// wrongType is the cause of a value that does not fit its member; its text is of encoding/json.
type wrongType struct {
	error
	want reflect.Type
	raw  []byte // the value
}

func (w wrongType) Unwrap() error { return w.error }

// mended is a cause with advice for who can edit the definition. Clients see the cause alone.
type mended struct {
	error
	mend string
}

func (m mended) Unwrap() error { return m.error }

// told returns the mistakes of a definition, a line of words for people each, with place, key, name and what to do, in the
// order of their places.
func (m mistakes) told(d room.Definition) (all []error) {
	m = m.apart()
	slices.SortStableFunc(m, func(a, b mistake) int { return cmp.Compare(d.LineOf(a.path), d.LineOf(b.path)) })
	for _, one := range m {
		at, key := place(d, one.path), subject(d, one.path)
		var unknown unknownMember
		var advised mended
		switch {
		case errors.As(one.cause, &unknown):
			mend := "remove it, or see the documentation for the keys there are"
			if near := unknown.near(); near != "" {
				mend = "did you mean " + kindOf(d) + "." + strings.TrimSuffix(one.path, unknown.key) + near + "?"
			}
			all = append(all, fmt.Errorf("%s: invalid config key %s: %s", at, key, mend))
		case errors.As(one.cause, &advised):
			all = append(all, fmt.Errorf("%s: %s: %w: %s", at, key, advised.error, advised.mend))
		default:
			all = append(all, fmt.Errorf("%s: %s: %w", at, key, one.cause))
		}
	}
	return all
}

// apart returns the mistakes with those of a value that does not fit taken apart, as far as they lie inside it.
func (m mistakes) apart() (all mistakes) {
	for _, one := range m {
		var wrong wrongType
		if errors.As(one.cause, &wrong) {
			all = append(all, wrong.places(one.path)...)
		} else {
			all = append(all, one)
		}
	}
	return all
}

// subject says what an error is about: service.port of "web", or service "web" as a whole.
func subject(d room.Definition, path string) string {
	name := named(d.Value)
	switch {
	case name == "":
		return dotted(kindOf(d), path)
	case path == "":
		return fmt.Sprintf("%s %q", kindOf(d), name)
	}
	return fmt.Sprintf("%s.%s of %q", kindOf(d), path, name)
}

// named returns the name that a definition has, or its ID; "" if it has neither.
func named(value map[string]any) string {
	for _, want := range []string{"name", "id"} {
		for _, key := range slices.Sorted(maps.Keys(value)) {
			if s, is := value[key].(string); is && s != "" && strings.EqualFold(key, want) {
				return s
			}
		}
	}
	return ""
}

// place names where a definition, or the key at path in it, stands.
func place(d room.Definition, path string) string {
	if strings.HasPrefix(d.File, fromFlag) {
		return d.File
	}
	return fmt.Sprintf("%s:%d", d.File, d.LineOf(path))
}

// places finds what of the value does not fit.
func (w wrongType) places(path string) (all mistakes) {
	n, err := tree.ParseJSON(slices.Concat([]byte(`{"value":`), w.raw, []byte("}")))
	if err == nil {
		all = misfits(w.want, n.Pairs[0].Val, path)
	}
	if len(all) == 0 {
		return of(path, w.error)
	}
	return all
}

// misfits finds what of a value at a path does not fit a type, as encoding/json reads it.
func misfits(t reflect.Type, n *tree.Node, path string) (all mistakes) {
	switch {
	case n.Kind == tree.Null:
		return nil
	case t == durationType:
		t = tree.DurationType
	case t == reflect.TypeFor[wire.Pairs]():
		t = reflect.TypeFor[map[string]string]()
	case t.Kind() == reflect.Pointer:
		return misfits(t.Elem(), n, path)
	}
	switch t.Kind() {
	case reflect.Slice:
		if n.Kind != tree.List {
			return of(path, n.NeedList())
		}
		for i, item := range n.Items {
			all = append(all, misfits(t.Elem(), item, tree.Join(path, fmt.Sprint(i)))...)
		}
	case reflect.Map, reflect.Struct:
		if n.Kind != tree.Object {
			return of(path, n.NeedObject())
		}
		for _, p := range n.Pairs {
			if t.Kind() == reflect.Map {
				all = append(all, misfits(t.Elem(), p.Val, tree.Join(path, p.Key))...)
			} else if f, known := t.FieldByNameFunc(func(name string) bool { return strings.EqualFold(name, p.Key) }); known {
				all = append(all, misfits(f.Type, p.Val, tree.Join(path, p.Key))...)
			}
		}
	default:
		if _, err := n.Scalar(t); err != nil {
			return of(path, err)
		}
	}
	return all
}
