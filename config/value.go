package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"rostra/engine/room"
)

// wrongType says what a place should hold, what it holds and how to mend it; the walk adds where.
type wrongType struct {
	line      int
	want, got string
	mend      string
}

func (e *wrongType) Error() string {
	return fmt.Sprintf("expected %s, got %s: %s", e.want, e.got, e.mend)
}

// decode turns a source's value into one of the setting's type. The node is not null; name and line are those of its key.
func decode(set *setting, n *node, src source, name string, line int) (reflect.Value, error) {
	switch {
	case set.typ == definitionsType:
		return definitions(strings.ToLower(name), n, src, line)
	case set.typ == rawType:
		return rawObject(n)
	}
	switch set.typ.Kind() {
	case reflect.Slice:
		return decodeList(set, n)
	case reflect.Map:
		return decodeMap(set, n)
	}
	return decodeScalar(set.typ, n)
}

func decodeList(set *setting, n *node) (reflect.Value, error) {
	out := reflect.MakeSlice(set.typ, 0, len(n.items))
	if n.kind != list {
		mend := "write a list, [\"…\"]"
		if n.kind == text {
			mend = fmt.Sprintf("write [%q]", n.val)
		}
		return out, &wrongType{n.line, "a list of strings", n.shown(), mend}
	}
	for _, item := range n.items {
		v, err := decodeScalar(set.typ.Elem(), item)
		if err != nil {
			return out, err
		}
		out = reflect.Append(out, v)
	}
	return out, nil
}

func decodeMap(set *setting, n *node) (reflect.Value, error) {
	out := reflect.MakeMap(set.typ)
	obj, ok := n.single()
	if !ok {
		return out, needObject(n)
	}
	for _, p := range obj.pairs {
		if p.val.kind == null {
			continue
		}
		v, err := decodeScalar(set.typ.Elem(), p.val)
		if err != nil {
			err.(*wrongType).mend += fmt.Sprintf(" (at %q)", p.key)
			return out, err
		}
		out.SetMapIndex(reflect.ValueOf(p.key).Convert(set.typ.Key()), v)
	}
	return out, nil
}

func needObject(n *node) error {
	if n.blocks {
		return &wrongType{n.items[1].line, "one block", n.shown(), "put all of it into one block"}
	}
	return &wrongType{n.line, "an object", n.shown(), "write a block, { … }"}
}

func rawObject(n *node) (reflect.Value, error) {
	obj, ok := n.single()
	if !ok {
		return reflect.Value{}, needObject(n)
	}
	return reflect.ValueOf(obj.plain("", map[string]int{})), nil
}

// definitions reads a list of objects, or a single block in its place.
func definitions(key string, n *node, src source, line int) (reflect.Value, error) {
	items := []*node{n}
	if n.kind == list {
		items = n.items
	}
	out := make([]room.Definition, 0, len(items))
	for _, item := range items {
		if item.kind != object {
			return reflect.Value{}, &wrongType{item.line, "a list of objects", item.shown(), "write [{ … }]"}
		}
		at := item.line
		if len(items) == 1 {
			at = line
		}
		out = append(out, item.definition(src, key, at))
	}
	return reflect.ValueOf(out), nil
}

func decodeScalar(t reflect.Type, n *node) (reflect.Value, error) {
	if t.Kind() == reflect.Pointer {
		v, err := decodeScalar(t.Elem(), n)
		if err != nil {
			return v, err
		}
		p := reflect.New(t.Elem())
		p.Elem().Set(v)
		return p, nil
	}
	out := reflect.New(t).Elem()
	want, mend := wants(t)
	wrong := func() error { return &wrongType{n.line, want, n.shown(), mend(n)} }
	switch {
	case t == durationType:
		d, err := time.ParseDuration(n.literal())
		if n.kind != text || err != nil {
			return out, wrong()
		}
		out.SetInt(int64(d))
	case t.Kind() == reflect.String && n.kind == text:
		out.SetString(n.val.(string))
	case t.Kind() == reflect.Bool && n.kind == boolean:
		out.SetBool(n.val.(bool))
	case n.kind == number && setNumber(out, n.val):
	default:
		return out, wrong()
	}
	return out, nil
}

// setNumber stores a number that the field can hold exactly.
func setNumber(out reflect.Value, val any) bool {
	if f, ok := val.(float64); ok && out.Kind() != reflect.Float64 {
		if f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
			return false
		}
		val = int64(f)
	}
	switch out.Kind() {
	case reflect.Int, reflect.Int64:
		i, ok := val.(int64)
		if !ok || out.OverflowInt(i) {
			return false
		}
		out.SetInt(i)
	case reflect.Uint64:
		switch v := val.(type) {
		case uint64:
			out.SetUint(v)
		case int64:
			if v < 0 {
				return false
			}
			out.SetUint(uint64(v))
		}
	case reflect.Float64:
		out.SetFloat(reflect.ValueOf(val).Convert(reflect.TypeFor[float64]()).Float())
	default:
		return false
	}
	return true
}

// wants names what a field takes, and how to turn what was written into it.
func wants(t reflect.Type) (want string, mend func(*node) string) {
	switch {
	case t == durationType:
		return "a duration", func(n *node) string {
			if n.kind == number {
				return fmt.Sprintf("add a unit and quotes, such as %q", n.literal()+"s")
			}
			return `write numbers with their units (ms, s, m, h), such as "10s" or "1h30m"`
		}
	case t.Kind() == reflect.String:
		return "a string", func(n *node) string {
			if n.kind == number || n.kind == boolean {
				return fmt.Sprintf("write it in quotes, %q", n.literal())
			}
			return `write a string in quotes, "…"`
		}
	case t.Kind() == reflect.Bool:
		return "true or false", func(n *node) string {
			if _, err := strconv.ParseBool(n.literal()); n.kind == text && err == nil {
				return "write it without quotes"
			}
			return "write true or false, without quotes"
		}
	case t.Kind() == reflect.Float64:
		return "a number", mendNumber
	case t.Kind() == reflect.Uint64:
		return "a whole number from 0", mendNumber
	}
	return "a whole number", mendNumber
}

func mendNumber(n *node) string {
	if _, err := strconv.ParseFloat(n.literal(), 64); n.kind == text && err == nil {
		return fmt.Sprintf("write %s without quotes", n.val)
	}
	return "write a number, without quotes"
}

// fromText reads the text of a flag or a default: one element of a list, one key:value of a map.
func fromText(t reflect.Type, s string) (reflect.Value, error) {
	switch t.Kind() {
	case reflect.Slice:
		out := reflect.MakeSlice(t, 1, 1)
		out.Index(0).SetString(s)
		return out, nil
	case reflect.Map:
		k, v, ok := strings.Cut(s, ":")
		if !ok {
			return reflect.Value{}, &wrongType{0, "key:value", fmt.Sprintf("%q", s), "put a colon between key and value"}
		}
		out := reflect.MakeMap(t)
		val, err := fromText(t.Elem(), v)
		if err == nil {
			out.SetMapIndex(reflect.ValueOf(k).Convert(t.Key()), val)
		}
		return out, err
	}
	n := &node{kind: text, val: s}
	base := t
	if t.Kind() == reflect.Pointer {
		base = t.Elem()
	}
	switch {
	case base.Kind() == reflect.Bool:
		if b, err := strconv.ParseBool(s); err == nil {
			n = &node{kind: boolean, val: b}
		}
	case base.Kind() != reflect.String && base != durationType:
		if v, err := parseNumber(s); err == nil {
			n = &node{kind: number, val: v}
		}
	}
	v, err := decodeScalar(t, n)
	if err != nil && n.kind == text && base.Kind() != reflect.String {
		err.(*wrongType).mend = textMend(base)
	}
	return v, err
}

// textMend is the advice for a command line, where nothing is quoted.
func textMend(t reflect.Type) string {
	switch {
	case t == durationType:
		return "write numbers with their units (ms, s, m, h), such as 10s or 1h30m"
	case t.Kind() == reflect.Bool:
		return "write true or false"
	}
	return "write a number"
}
