package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// syntaxError is a fault in the text of a source, before any key has a meaning.
type syntaxError struct {
	line int
	text string
}

func (e *syntaxError) Error() string { return e.text }

// parseJSON reads one JSON object. encoding/json checks the syntax first, so that the walk over the tokens, which keeps
// the places, cannot fail.
func parseJSON(data []byte) (*node, error) {
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
	if n.kind != object {
		return nil, &syntaxError{n.line, "the file must hold one object, { … }, got " + n.shown()}
	}
	return n, nil
}

type jsonParser struct {
	dec   *json.Decoder
	lines []int
}

func (p *jsonParser) value() (*node, error) {
	tok, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	n := &node{line: lineAt(p.lines, p.dec.InputOffset()-1)}
	switch v := tok.(type) {
	case nil:
	case bool:
		n.kind, n.val = boolean, v
	case string:
		n.kind, n.val = text, v
	case json.Number:
		n.kind = number
		n.val, err = parseNumber(v.String())
	case json.Delim:
		if v == '[' {
			return n, p.list(n)
		}
		return n, p.object(n)
	}
	return n, err
}

func (p *jsonParser) list(n *node) error {
	n.kind = list
	for p.dec.More() {
		item, err := p.value()
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	_, err := p.dec.Token()
	return err
}

func (p *jsonParser) object(n *node) error {
	n.kind = object
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
		n.pairs = append(n.pairs, pair{key, line, val})
	}
	_, err := p.dec.Token()
	return err
}

func jsonError(data []byte, lines []int, err error) error {
	var syn *json.SyntaxError
	if !errors.As(err, &syn) {
		return &syntaxError{1, "cannot read the JSON: " + err.Error()}
	}
	at := syn.Offset - 1
	hint := ""
	if at >= 0 && at < int64(len(data)) {
		switch c := data[at]; {
		case c == '#' || c == '/':
			hint = "; JSON has no comments: remove it, or rename the file to .hcl"
		case (c == '}' || c == ']') && strings.Contains(syn.Error(), "looking for beginning"):
			hint = "; remove the comma before it"
		}
	}
	return &syntaxError{lineAt(lines, at), "cannot read the JSON: " + syn.Error() + hint}
}

// parseNumber keeps integers exact; the bases of HCL (0x1f, 0644) are read too.
func parseNumber(s string) (any, error) {
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
