package tree

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

// ParseHCL reads a source in HCL version 1. A text that begins with { is JSON, as Consul's HCL reader has it.
func ParseHCL(data []byte) (n *Node, err error) {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return ParseJSON(data)
	}
	// The parser panics on some malformed texts, as do its tokens on bad strings and heredocs.
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *SyntaxError:
			n, err = nil, r
		default:
			n, err = nil, &SyntaxError{1, "cannot read the HCL: " + oneLine(fmt.Sprint(r))}
		}
	}()
	file, err := parser.ParseDontErrorOnDuplicateKeys(data)
	if err != nil {
		return nil, hclError(data, err)
	}
	root, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, &SyntaxError{1, "cannot read the HCL: no keys found"}
	}
	if line := openAssignment(data); line > 0 {
		return nil, &SyntaxError{line, "cannot read the HCL: the text ends where a value is expected"}
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
	if strings.Contains(err.Error(), "EOF") {
		if open := openBracket(data); open != nil {
			return open
		}
	}
	var pos *parser.PosError
	if errors.As(err, &pos) {
		return &SyntaxError{max(1, pos.Pos.Line), "cannot read the HCL: " + oneLine(pos.Err.Error())}
	}
	last := bytes.Count(bytes.TrimRight(data, "\r\n\t "), []byte("\n")) + 1
	return &SyntaxError{last, "cannot read the HCL: " + oneLine(err.Error())}
}

// openBracket tells which bracket of a text that ends too early is the last one nobody closes; nil if all are closed.
func openBracket(data []byte) error {
	s := scanner.New(data)
	s.Error = func(token.Pos, string) {}
	var open []token.Token
	for t := s.Scan(); t.Type != token.EOF && t.Type != token.ILLEGAL; t = s.Scan() {
		switch t.Type {
		case token.LBRACE, token.LBRACK:
			open = append(open, t)
		case token.RBRACE, token.RBRACK:
			open = open[:max(0, len(open)-1)]
		}
	}
	if len(open) == 0 {
		return nil
	}
	last := open[len(open)-1]
	return neverClosed("HCL", last.Pos.Line, last.Text[0])
}

// neverClosed is the error about a bracket, of which closing ones are missing in a text.
func neverClosed(format string, line int, bracket byte) error {
	return &SyntaxError{line, fmt.Sprintf("cannot read the %s: the %c of this line is never closed: add a %c where it ends", format, bracket, bracket+2)}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// hclBody turns the items between two braces into an object.
func hclBody(l *ast.ObjectList, line int) (*Node, error) {
	body := &Node{Kind: Object, Line: line}
	assigned := map[string]int{}
	for _, item := range l.Items {
		val, err := hclValue(item.Val)
		if err != nil {
			return nil, err
		}
		for i := len(item.Keys) - 1; i > 0; i-- { // name "label" { } is name { "label" { } }
			key, at := hclKey(item.Keys[i])
			val = &Node{Kind: Object, Line: at, labels: true, Pairs: []Pair{{key, at, val}}}
		}
		if len(item.Keys) == 0 {
			return nil, &SyntaxError{line, "cannot read the HCL: a value without a key"}
		}
		key, at := hclKey(item.Keys[0])
		if item.Assign.Line > 0 {
			if first, ok := assigned[key]; ok {
				return nil, &SyntaxError{at, fmt.Sprintf("%s is set twice, first on line %d: keep one of them", key, first)}
			}
			assigned[key] = at
		}
		body.add(Pair{key, at, val})
	}
	return body, nil
}

func hclKey(k *ast.ObjectKey) (string, int) {
	return fmt.Sprint(literal(k.Token)), k.Token.Pos.Line
}

// literal returns a token's value; a token that cannot give it panics with a SyntaxError that knows the line.
func literal(t token.Token) any {
	defer func() {
		if r := recover(); r != nil {
			panic(&SyntaxError{t.Pos.Line, "cannot read the HCL: " + oneLine(fmt.Sprint(r))})
		}
	}()
	return t.Value()
}

func hclValue(v ast.Node) (*Node, error) {
	switch v := v.(type) {
	case *ast.ObjectType:
		return hclBody(v.List, v.Lbrace.Line)
	case *ast.ListType:
		n := &Node{Kind: List, Line: v.Lbrack.Line}
		for _, item := range v.List {
			sub, err := hclValue(item)
			if err != nil {
				return nil, err
			}
			n.Items = append(n.Items, sub)
		}
		return n, nil
	case *ast.LiteralType:
		return hclLiteral(v.Token)
	}
	return nil, &SyntaxError{1, fmt.Sprintf("cannot read the HCL: unexpected %T", v)}
}

func hclLiteral(t token.Token) (*Node, error) {
	n := &Node{Line: t.Pos.Line}
	switch t.Type {
	case token.BOOL:
		n.Kind, n.Val = Boolean, t.Text == "true"
	case token.NUMBER, token.FLOAT:
		v, err := ParseNumber(t.Text)
		if err != nil {
			return nil, &SyntaxError{n.Line, "cannot read the HCL: " + err.Error()}
		}
		n.Kind, n.Val = Number, v
	default:
		n.Kind, n.Val = Text, fmt.Sprint(literal(t))
	}
	return n, nil
}
