package config

import (
	"fmt"
	"strconv"
	"strings"

	"rostra/engine/room"
)

// kind says what a source wrote in one place.
type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	list
	object
)

// node is one value of a source with its place, the common form of JSON and HCL.
type node struct {
	kind   kind
	line   int
	val    any     // bool, int64, uint64, float64 or string
	items  []*node // of a list, in order
	pairs  []pair  // of an object, in order; JSON may name a key twice
	blocks bool    // a list that came about by repeating an HCL block
	labels bool    // an object made of the labels of an HCL block: name "label" { }
}

type pair struct {
	key  string
	line int
	val  *node
}

// find returns the pair with the given lower-case key, or nil. A key given twice counts with its last value.
func (n *node) find(key string) *pair {
	for i := len(n.pairs) - 1; i >= 0; i-- {
		if strings.EqualFold(n.pairs[i].key, key) {
			return &n.pairs[i]
		}
	}
	return nil
}

// literal returns a scalar as the user would write it without quotes; "" for lists and objects.
func (n *node) literal() string {
	switch n.kind {
	case boolean, number, text:
		return fmt.Sprint(n.val)
	}
	return ""
}

// empty reports whether the value asks for nothing: null, "", [] or an object of such.
func (n *node) empty() bool {
	switch n.kind {
	case null:
		return true
	case text:
		return n.val == ""
	case list:
		return len(n.items) == 0
	case object:
		for _, p := range n.pairs {
			if !p.val.empty() {
				return false
			}
		}
		return true
	}
	return false
}

// off reports whether all that the value says is false or empty.
func (n *node) off() bool {
	for _, p := range n.pairs {
		if !p.val.off() {
			return false
		}
	}
	return n.kind == object || n.empty() || n.val == false
}

// single returns the object that stands where one is expected: itself, or the only element of a list.
func (n *node) single() (*node, bool) {
	if n.kind == list && len(n.items) == 1 {
		n = n.items[0]
	}
	return n, n.kind == object
}

// shown names the value in an error, so that the user recognises it.
func (n *node) shown() string {
	switch n.kind {
	case boolean:
		return fmt.Sprintf("the boolean %v", n.val)
	case number:
		return fmt.Sprintf("the number %v", n.val)
	case text:
		s := n.val.(string)
		if len(s) > 60 {
			s = s[:60] + "…"
		}
		return fmt.Sprintf("the string %q", s)
	case list:
		if n.blocks {
			return fmt.Sprintf("%d blocks", len(n.items))
		}
		return "a list"
	case object:
		return "an object"
	}
	return "null"
}

// plain turns the value into ordinary Go values and notes the line of every key on the way. Nulls are left out.
func (n *node) plain(path string, lines map[string]int) any {
	switch n.kind {
	case list:
		out := make([]any, 0, len(n.items))
		for i, item := range n.items {
			if item.kind == null {
				continue
			}
			sub := join(path, strconv.Itoa(i))
			lines[sub] = item.line
			out = append(out, item.plain(sub, lines))
		}
		return out
	case object:
		out := make(map[string]any, len(n.pairs))
		for _, p := range n.pairs {
			if p.val.kind == null {
				continue
			}
			sub := join(path, strings.ToLower(p.key))
			lines[sub] = p.line
			out[p.key] = p.val.plain(sub, lines)
		}
		return out
	}
	return n.val
}

// definition makes a raw definition of an object.
func (n *node) definition(src source, key string, line int) room.Definition {
	lines := map[string]int{}
	return room.Definition{File: src.name(), Line: line, Key: key, Value: n.plain("", lines).(map[string]any), Lines: lines}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// add appends a pair of an HCL body: repeated keys become a list of blocks, labels of the same key one object.
func (n *node) add(p pair) {
	for i := range n.pairs {
		have := &n.pairs[i]
		if have.key != p.key {
			continue
		}
		switch {
		case have.val.labels && p.val.labels:
			for _, label := range p.val.pairs {
				have.val.add(label)
			}
		case have.val.blocks:
			have.val.items = append(have.val.items, p.val)
		default:
			have.val = &node{kind: list, line: have.line, blocks: true, items: []*node{have.val, p.val}}
		}
		return
	}
	n.pairs = append(n.pairs, p)
}
