// Package tree reads the two notations of configuration files, JSON and HCL version 1, into one form that knows on which
// line each thing stands, and says in words for people what does not fit where it stands.
//
// What it returns may be read concurrently. The readers take any bytes and never panic.
package tree

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Kind says what was written in one place.
type Kind uint8

// The kinds. Null stands in JSON alone.
const (
	Null Kind = iota
	Boolean
	Number
	Text
	List
	Object
)

// Node is one value with its place.
type Node struct {
	Kind   Kind
	Line   int     // from 1
	Val    any     // of a scalar: bool, int64, uint64, float64 or string
	Items  []*Node // of a list, in order
	Pairs  []Pair  // of an object, in order; JSON may name a key twice
	Blocks bool    // a list that came about by repeating an HCL block
	labels bool    // an object made of the labels of an HCL block: name "label" { }
}

// Pair is a key of an object with its value.
type Pair struct {
	Key  string // as written
	Line int    // from 1
	Val  *Node
}

// Reader reads a whole text: its root is an object. The error is a *SyntaxError.
type Reader func([]byte) (*Node, error)

// ReaderOf returns the reader of a format, json or hcl, or, if that is empty, of a file by its extension; nil if neither
// tells.
func ReaderOf(path, format string) Reader {
	if format == "" {
		format = filepath.Ext(path)
	}
	switch format {
	case "json", ".json":
		return ParseJSON
	case "hcl", ".hcl":
		return ParseHCL
	}
	return nil
}

// Trim takes off what editors on Windows begin files with.
func Trim(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) }

// SyntaxError is a fault in the text, before any key has a meaning.
type SyntaxError struct {
	Line int // from 1
	text string
}

func (e *SyntaxError) Error() string { return e.text }

// Find returns the pair with the given lower-case key, or nil. A key given twice counts with its last value.
func (n *Node) Find(key string) *Pair {
	for i := len(n.Pairs) - 1; i >= 0; i-- {
		if strings.EqualFold(n.Pairs[i].Key, key) {
			return &n.Pairs[i]
		}
	}
	return nil
}

// Literal returns a scalar as the user would write it without quotes; "" for lists and objects.
func (n *Node) Literal() string {
	switch n.Kind {
	case Boolean, Number, Text:
		return fmt.Sprint(n.Val)
	}
	return ""
}

// Empty reports whether the value asks for nothing: null, "", [] or an object of such.
func (n *Node) Empty() bool {
	switch n.Kind {
	case Null:
		return true
	case Text:
		return n.Val == ""
	case List:
		return len(n.Items) == 0
	case Object:
		for _, p := range n.Pairs {
			if !p.Val.Empty() {
				return false
			}
		}
		return true
	}
	return false
}

// Off reports whether all that the value says is false or empty.
func (n *Node) Off() bool {
	for _, p := range n.Pairs {
		if !p.Val.Off() {
			return false
		}
	}
	return n.Kind == Object || n.Empty() || n.Val == false
}

// Single returns the object that stands where one is expected: itself, or the only element of a list.
func (n *Node) Single() (*Node, bool) {
	if n.Kind == List && len(n.Items) == 1 {
		n = n.Items[0]
	}
	return n, n.Kind == Object
}

// Shown names the value in an error, so that the user recognises it.
func (n *Node) Shown() string {
	switch n.Kind {
	case Boolean:
		return fmt.Sprintf("the boolean %v", n.Val)
	case Number:
		return fmt.Sprintf("the number %v", n.Val)
	case Text:
		s := n.Val.(string)
		if len(s) > 60 {
			s = s[:60] + "…"
		}
		return fmt.Sprintf("the string %q", s)
	case List:
		if n.Blocks {
			return fmt.Sprintf("%d blocks", len(n.Items))
		}
		return "a list"
	case Object:
		return "an object"
	}
	return "null"
}

// Plain turns an object into ordinary Go values (bool, int64, uint64, float64, string, []any, map[string]any) and tells the
// line of every key in it by its lower-case dotted path: "check.script", "checks.1.args". Nulls are left out.
func (n *Node) Plain() (value map[string]any, lines map[string]int) {
	lines = map[string]int{}
	return n.plain("", lines).(map[string]any), lines
}

func (n *Node) plain(path string, lines map[string]int) any {
	switch n.Kind {
	case List:
		out := make([]any, 0, len(n.Items))
		for i, item := range n.Items {
			if item.Kind == Null {
				continue
			}
			sub := Join(path, strconv.Itoa(i))
			lines[sub] = item.Line
			out = append(out, item.plain(sub, lines))
		}
		return out
	case Object:
		out := make(map[string]any, len(n.Pairs))
		for _, p := range n.Pairs {
			if p.Val.Kind == Null {
				continue
			}
			sub := Join(path, strings.ToLower(p.Key))
			lines[sub] = p.Line
			out[p.Key] = p.Val.plain(sub, lines)
		}
		return out
	}
	return n.Val
}

// Join appends a key to a dotted path.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// add appends a pair of an HCL body: repeated keys become a list of blocks, labels of the same key one object.
func (n *Node) add(p Pair) {
	for i := range n.Pairs {
		have := &n.Pairs[i]
		if have.Key != p.Key {
			continue
		}
		switch {
		case have.Val.labels && p.Val.labels:
			for _, label := range p.Val.Pairs {
				have.Val.add(label)
			}
		case have.Val.Blocks:
			have.Val.Items = append(have.Val.Items, p.Val)
		default:
			have.Val = &Node{Kind: List, Line: have.Line, Blocks: true, Items: []*Node{have.Val, p.Val}}
		}
		return
	}
	n.Pairs = append(n.Pairs, p)
}
