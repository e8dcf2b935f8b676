package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"rostra/engine/room"
	"rostra/kit/tree"
)

// decode turns a source's value into one of the setting's type. The node is not null; name and line are those of its key.
func decode(set *setting, n *tree.Node, src source, name string, line int) (reflect.Value, error) {
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
	return n.Scalar(set.typ)
}

func decodeList(set *setting, n *tree.Node) (reflect.Value, error) {
	out := reflect.MakeSlice(set.typ, 0, len(n.Items))
	if n.Kind != tree.List {
		return out, n.NeedList()
	}
	for _, item := range n.Items {
		v, err := item.Scalar(set.typ.Elem())
		if err != nil {
			return out, err
		}
		out = reflect.Append(out, v)
	}
	return out, nil
}

func decodeMap(set *setting, n *tree.Node) (reflect.Value, error) {
	out := reflect.MakeMap(set.typ)
	obj, ok := n.Single()
	if !ok {
		return out, n.NeedObject()
	}
	for _, p := range obj.Pairs {
		if p.Val.Kind == tree.Null {
			continue
		}
		v, err := p.Val.Scalar(set.typ.Elem())
		if err != nil {
			err.(*tree.Misfit).Mend += fmt.Sprintf(" (at %q)", p.Key)
			return out, err
		}
		out.SetMapIndex(reflect.ValueOf(p.Key).Convert(set.typ.Key()), v)
	}
	return out, nil
}

func rawObject(n *tree.Node) (reflect.Value, error) {
	obj, ok := n.Single()
	if !ok {
		return reflect.Value{}, n.NeedObject()
	}
	value, _ := obj.Plain()
	return reflect.ValueOf(value), nil
}

// definitions reads a list of objects, or a single block in its place.
func definitions(key string, n *tree.Node, src source, line int) (reflect.Value, error) {
	items := []*tree.Node{n}
	if n.Kind == tree.List {
		items = n.Items
	}
	out := make([]room.Definition, 0, len(items))
	for _, item := range items {
		if item.Kind != tree.Object {
			return reflect.Value{}, item.NeedObjects()
		}
		at := item.Line
		if len(items) == 1 {
			at = line
		}
		value, lines := item.Plain()
		out = append(out, room.Definition{File: src.name(), Line: at, Key: key, Value: value, Lines: lines})
	}
	return reflect.ValueOf(out), nil
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
			return reflect.Value{}, &tree.Misfit{Want: "key:value", Got: fmt.Sprintf("%q", s), Mend: "put a colon between key and value"}
		}
		out := reflect.MakeMap(t)
		val, err := fromText(t.Elem(), v)
		if err == nil {
			out.SetMapIndex(reflect.ValueOf(k).Convert(t.Key()), val)
		}
		return out, err
	}
	n := &tree.Node{Kind: tree.Text, Val: s}
	base := t
	if t.Kind() == reflect.Pointer {
		base = t.Elem()
	}
	switch {
	case base.Kind() == reflect.Bool:
		if b, err := strconv.ParseBool(s); err == nil {
			n = &tree.Node{Kind: tree.Boolean, Val: b}
		}
	case base.Kind() != reflect.String && base != tree.DurationType:
		if v, err := tree.ParseNumber(s); err == nil {
			n = &tree.Node{Kind: tree.Number, Val: v}
		}
	}
	v, err := n.Scalar(t)
	if err != nil && n.Kind == tree.Text && base.Kind() != reflect.String {
		err.(*tree.Misfit).Mend = textMend(base)
	}
	return v, err
}

// textMend is the advice for a command line, where nothing is quoted.
func textMend(t reflect.Type) string {
	switch {
	case t == tree.DurationType:
		return "write numbers with their units (ms, s, m, h), such as 10s or 1h30m"
	case t.Kind() == reflect.Bool:
		return "write true or false"
	}
	return "write a number"
}
