package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/scanner"
	"github.com/hashicorp/hcl/hcl/token"
)

// parseHCL reads a source in HCL version 1. A text that begins with { is JSON, as Consul's HCL reader has it.
func parseHCL(data []byte) (n *node, err error) {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return parseJSON(data)
	}
	// The parser panics on some malformed texts, as do its tokens on bad strings and heredocs.
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *syntaxError:
			n, err = nil, r
		default:
			n, err = nil, &syntaxError{1, "cannot read the HCL: " + oneLine(fmt.Sprint(r))}
		}
	}()
	file, err := parser.ParseDontErrorOnDuplicateKeys(data)
	if err != nil {
		return nil, hclError(data, err)
	}
	root, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, &syntaxError{1, "cannot read the HCL: no keys found"}
	}
	if line := openAssignment(data); line > 0 {
		return nil, &syntaxError{line, "cannot read the HCL: the text ends where a value is expected"}
	}
	return hclBody(root, 1)
}

// openAssignment returns the line of an = at the very end of the text, which the parser drops without a word, or 0.
func openAssignment(data []byte) int {
	s := scanner.New(data)
	s.Error = func(token.Pos, string) {}
	open := 0
	for t := s.Scan(); t.Type != token.EOF && t.Type != token.ILLEGAL; t = s.Scan() {
		switch t.Type {
		case token.ASSIGN:
			open = t.Pos.Line
		case token.COMMENT:
		default:
			open = 0
		}
	}
	return open
}

func hclError(data []byte, err error) error {
	var pos *parser.PosError
	if errors.As(err, &pos) {
		return &syntaxError{max(1, pos.Pos.Line), "cannot read the HCL: " + oneLine(pos.Err.Error())}
	}
	last := bytes.Count(bytes.TrimRight(data, "\r\n\t "), []byte("\n")) + 1
	return &syntaxError{last, "cannot read the HCL: " + oneLine(err.Error())}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// hclBody turns the items between two braces into an object.
func hclBody(l *ast.ObjectList, line int) (*node, error) {
	body := &node{kind: object, line: line}
	assigned := map[string]int{}
	for _, item := range l.Items {
		val, err := hclValue(item.Val)
		if err != nil {
			return nil, err
		}
		for i := len(item.Keys) - 1; i > 0; i-- { // name "label" { } is name { "label" { } }
			key, at := hclKey(item.Keys[i])
			val = &node{kind: object, line: at, labels: true, pairs: []pair{{key, at, val}}}
		}
		if len(item.Keys) == 0 {
			return nil, &syntaxError{line, "cannot read the HCL: a value without a key"}
		}
		key, at := hclKey(item.Keys[0])
		if item.Assign.Line > 0 {
			if first, ok := assigned[key]; ok {
				return nil, &syntaxError{at, fmt.Sprintf("%s is set twice, first on line %d: keep one of them", key, first)}
			}
			assigned[key] = at
		}
		body.add(pair{key, at, val})
	}
	return body, nil
}

func hclKey(k *ast.ObjectKey) (string, int) {
	return fmt.Sprint(literal(k.Token)), k.Token.Pos.Line
}

// literal returns a token's value; a token that cannot give it panics with a syntaxError that knows the line.
func literal(t token.Token) any {
	defer func() {
		if r := recover(); r != nil {
			panic(&syntaxError{t.Pos.Line, "cannot read the HCL: " + oneLine(fmt.Sprint(r))})
		}
	}()
	return t.Value()
}

func hclValue(v ast.Node) (*node, error) {
	switch v := v.(type) {
	case *ast.ObjectType:
		return hclBody(v.List, v.Lbrace.Line)
	case *ast.ListType:
		n := &node{kind: list, line: v.Lbrack.Line}
		for _, item := range v.List {
			sub, err := hclValue(item)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, sub)
		}
		return n, nil
	case *ast.LiteralType:
		return hclLiteral(v.Token)
	}
	return nil, &syntaxError{1, fmt.Sprintf("cannot read the HCL: unexpected %T", v)}
}

func hclLiteral(t token.Token) (*node, error) {
	n := &node{line: t.Pos.Line}
	switch t.Type {
	case token.BOOL:
		n.kind, n.val = boolean, t.Text == "true"
	case token.NUMBER, token.FLOAT:
		v, err := parseNumber(t.Text)
		if err != nil {
			return nil, &syntaxError{n.line, "cannot read the HCL: " + err.Error()}
		}
		n.kind, n.val = number, v
	default:
		n.kind, n.val = text, fmt.Sprint(literal(t))
	}
	return n, nil
}
