package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/tree"
)

// ReadServices returns the services of a configuration file's content, in their order. They are read as the agent will read
// them, so that nothing is sent of a file that has a mistake, and each has a name and is kept in JSON. Other settings in the
// file are passed over. path names the file, and its extension says the format if format is empty; hcl reads JSON, too. The
// error is all that is wrong, a line for people each, with file, line and key.
func ReadServices(content []byte, path, format string) (all []*ServiceText, err error) {
	read := tree.ReaderOf(path, format)
	if read == nil {
		return nil, fmt.Errorf("file %s has unknown extension; must be .hcl or .json", path)
	}
	content = tree.Trim(content)
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, nil
	}
	root, err := read(content)
	var syntax *tree.SyntaxError
	if errors.As(err, &syntax) {
		return nil, fmt.Errorf("%s:%d: %w", path, syntax.Line, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var wrong []error
	taken := map[string]bool{}
	for _, p := range root.Pairs {
		list, err := stanzas(p)
		if key := strings.ToLower(p.Key); len(list) > 0 && taken[key] {
			list, err = nil, errTwice
		} else if len(list) > 0 {
			taken[key] = true
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s:%d: %s: %w", path, p.Line, p.Key, err))
		}
		for _, n := range list {
			t, mistaken := stanza(room.Definition{File: path, Line: n.Line, Key: p.Key}, n)
			wrong = append(wrong, mistaken...)
			all = append(all, t)
		}
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return all, nil
}

// errTwice is the error of a key that JSON gives twice, or of two service blocks.
var errTwice = errors.New("it is given more than once: write services = [ … ], or one services block for each")

// stanzas returns the objects under a key of a file that are services; none under other keys.
func stanzas(p tree.Pair) ([]*tree.Node, error) {
	one, many := strings.EqualFold(p.Key, "service"), strings.EqualFold(p.Key, "services")
	list := []*tree.Node{p.Val}
	if p.Val.Kind == tree.List {
		list = p.Val.Items
	}
	switch {
	case !one && !many || p.Val.Kind == tree.Null:
		return nil, nil
	case one && len(list) > 1:
		return nil, errTwice
	}
	for _, n := range list {
		if n.Kind != tree.Object {
			return nil, n.NeedObjects()
		}
	}
	return list, nil
}

// stanza reads one service, whose place d says.
func stanza(d room.Definition, n *tree.Node) (*ServiceText, []error) {
	if p := n.Find("checks"); p != nil && p.Val.Kind == tree.Object { // one block of HCL; over HTTP it is a list
		p.Val = &tree.Node{Kind: tree.List, Line: p.Line, Items: []*tree.Node{p.Val}}
	}
	d.Value, d.Lines = n.Plain()
	raw, err := json.Marshal(d.Value)
	if err != nil {
		return nil, []error{fmt.Errorf("%s: %w", place(d, ""), err)}
	}
	t, wrong := readService(raw)
	wrong = append(wrong, t.united().clear(wrong)...)
	if t.Name == "" {
		wrong = append(wrong, of("", mended{fault.New(fault.Invalid, "Missing service name"), "add a name"}).clear(wrong)...)
	}
	return t, wrong.told(d)
}
