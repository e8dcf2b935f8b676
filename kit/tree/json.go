package tree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// ParseJSON reads one JSON object. encoding/json checks the syntax first, so that the walk over the tokens, which keeps
// the places, cannot fail.
func ParseJSON(data []byte) (*Node, error) {
	lines := lineTable(data)
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, jsonError(data, lines, err)
	}
	p := &jsonParser{dec: json.NewDecoder(bytes.NewReader(data)), lines: lines}
	p.dec.UseNumber()
	n, err := p.value()
	if err != nil {
		return nil, jsonError(data, lines, err)
	}
	if n.Kind != Object {
		return nil, &SyntaxError{n.Line, "the file must hold one object, { … }, got " + n.Shown()}
	}
	return n, nil
}

type jsonParser struct {
	dec   *json.Decoder
	lines []int
}

func (p *jsonParser) value() (*Node, error) {
	tok, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	n := &Node{Line: lineAt(p.lines, p.dec.InputOffset()-1)}
	switch v := tok.(type) {
	case nil:
	case bool:
		n.Kind, n.Val = Boolean, v
	case string:
		n.Kind, n.Val = Text, v
	case json.Number:
		n.Kind = Number
		n.Val, err = ParseNumber(v.String())
	case json.Delim:
		if v == '[' {
			return n, p.list(n)
		}
		return n, p.object(n)
	}
	return n, err
}

func (p *jsonParser) list(n *Node) error {
	n.Kind = List
	for p.dec.More() {
		item, err := p.value()
		if err != nil {
			return err
		}
		n.Items = append(n.Items, item)
	}
	_, err := p.dec.Token()
	return err
}

func (p *jsonParser) object(n *Node) error {
	n.Kind = Object
	for p.dec.More() {
		tok, err := p.dec.Token()
		if err != nil {
			return err
		}
		key := tok.(string)
		line := lineAt(p.lines, p.dec.InputOffset()-1)
		val, err := p.value()
		if err != nil {
			return err
		}
		n.Pairs = append(n.Pairs, Pair{key, line, val})
	}
	_, err := p.dec.Token()
	return err
}

func jsonError(data []byte, lines []int, err error) error {
	var syn *json.SyntaxError
	if !errors.As(err, &syn) {
		return &SyntaxError{1, "cannot read the JSON: " + err.Error()}
	}
	at := syn.Offset - 1
	if strings.HasPrefix(syn.Error(), "unexpected end") {
		if offset := openJSON(data); offset >= 0 {
			return neverClosed("JSON", lineAt(lines, int64(offset)), data[offset])
		}
	}
	hint := ""
	if at >= 0 && at < int64(len(data)) {
		switch c := data[at]; {
		case c == '#' || c == '/':
			hint = "; JSON has no comments: remove it, or rename the file to .hcl"
		case (c == '}' || c == ']') && strings.Contains(syn.Error(), "looking for beginning"):
			hint = "; remove the comma before it"
		}
	}
	return &SyntaxError{lineAt(lines, at), "cannot read the JSON: " + syn.Error() + hint}
}

// openJSON returns the offset of the last bracket that nobody closes in a text that ends too early; -1 if there is none.
func openJSON(data []byte) int {
	var open []int
	quoted := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '{' || c == '[':
			open = append(open, i)
		case c == '}' || c == ']':
			open = open[:max(0, len(open)-1)]
		}
	}
	if quoted || len(open) == 0 {
		return -1
	}
	return open[len(open)-1]
}

// ParseNumber keeps integers exact; the bases of HCL (0x1f, 0644) are read too.
func ParseNumber(s string) (any, error) {
	if i, err := strconv.ParseInt(s, 0, 64); err == nil {
		return i, nil
	}
	if u, err := strconv.ParseUint(s, 0, 64); err == nil {
		return u, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, fmt.Errorf("the number %s is out of range", s)
	}
	return f, nil
}

// lineTable returns the offset at which each line begins.
func lineTable(data []byte) []int {
	starts := []int{0}
	for i, c := range data {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

func lineAt(starts []int, offset int64) int {
	return max(1, sort.SearchInts(starts, int(offset)+1))
}
