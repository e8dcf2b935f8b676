package filter

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// parser reads an expression from left to right. It goes back only inside one match, so it takes linear time.
type parser struct {
	in    string
	pos   int
	depth int
	far   int      // the furthest position at which something was missing
	want  []string // what was missing there
	hard  error    // ends the parse at once: a refused selector, value or depth
	check func(*match) error
}

// parse returns the tree of expr; check is called for every match found.
func parse(expr string, check func(*match) error) (node, error) {
	p := &parser{in: expr, check: check}
	p.space()
	n := p.or()
	if n != nil {
		p.space()
		if p.pos == len(p.in) {
			return n, nil
		}
		p.miss("end of expression")
	}
	if p.hard != nil {
		return nil, p.hard
	}
	return nil, p.failure()
}

// failure describes the furthest point the parse came to as "line:column (offset)".
func (p *parser) failure() error {
	before := p.in[:p.far]
	line := 1 + strings.Count(before, "\n")
	column := 1 + len([]rune(before[strings.LastIndexByte(before, '\n')+1:]))
	slices.Sort(p.want)
	return fmt.Errorf("%d:%d (%d): no match found, expected: %s", line, column, p.far,
		strings.Join(slices.Compact(p.want), ", "))
}

func (p *parser) miss(what string) {
	if p.pos > p.far {
		p.far, p.want = p.pos, p.want[:0]
	}
	if p.pos == p.far && len(p.want) < 32 {
		p.want = append(p.want, what)
	}
}

func (p *parser) stop(err error) {
	if p.hard == nil {
		p.hard = err
	}
}

func (p *parser) or() node {
	return p.chain("or", p.and, func(parts []node) node { return some(parts) })
}

func (p *parser) and() node {
	return p.chain("and", p.not, func(parts []node) node { return all(parts) })
}

// chain reads parts joined by a word with blanks on both sides. What follows the last part is left unread.
func (p *parser) chain(word string, part func() node, join func([]node) node) node {
	first := part()
	if first == nil {
		return nil
	}
	var parts []node
	for {
		mark := p.pos
		if !p.blank() || !p.word(word) || !p.blank() {
			p.pos = mark
			break
		}
		next := part()
		if next == nil {
			p.pos = mark
			break
		}
		if parts == nil {
			parts = append(parts, first)
		}
		parts = append(parts, next)
	}
	switch {
	case p.hard != nil:
		return nil
	case parts == nil:
		return first
	}
	return join(parts)
}

func (p *parser) enter() bool {
	if p.depth++; p.depth > maxDepth {
		p.stop(fmt.Errorf("the expression is nested deeper than the limit of %d", maxDepth))
	}
	return p.hard == nil
}

func (p *parser) not() node {
	if !p.enter() {
		return nil
	}
	defer func() { p.depth-- }()
	mark := p.pos
	if p.word("not") && p.blank() {
		if n := p.not(); n != nil {
			return not{n}
		}
		if p.hard != nil {
			return nil
		}
	}
	p.pos = mark // a field may be called "not"
	if p.literal("(") {
		p.space()
		if n := p.or(); n != nil {
			p.space()
			if p.literal(")") {
				return n
			}
		}
		p.pos = mark
		return nil
	}
	return p.match()
}

// match reads "selector operator value", "selector is empty" or "value in selector".
func (p *parser) match() node {
	mark := p.pos
	m := &match{}
	if m.path = p.selector(); m.path != nil && p.operator(m) {
		return p.bound(m)
	}
	p.pos = mark
	value, ok := p.value()
	if ok && p.membership(m) {
		m.value = value
		if m.path = p.selector(); m.path != nil {
			return p.bound(m)
		}
	}
	p.pos = mark
	return nil
}

func (p *parser) bound(m *match) node {
	if p.hard == nil {
		if err := p.check(m); err != nil {
			p.stop(err)
		}
	}
	if p.hard != nil {
		return nil
	}
	return m
}

// operator reads the operator after a selector, and its value if it has one.
func (p *parser) operator(m *match) bool {
	mark := p.pos
	for _, o := range [...]struct {
		text   string
		op     operator
		negate bool
	}{
		{"==", equal, false}, {"!=", equal, true},
		{" contains ", in, false}, {" not contains ", in, true},
		{" matches ", matches, false}, {" not matches ", matches, true},
		{" is empty", empty, false}, {" is not empty", empty, true},
	} {
		p.pos = mark
		if o.op == equal {
			p.space()
		}
		if !p.words(o.text) {
			continue
		}
		m.op, m.negate = o.op, o.negate
		if o.op == empty {
			return true
		}
		p.space()
		value, ok := p.value()
		if ok {
			m.value = value
			return true
		}
	}
	p.pos = mark
	return false
}

func (p *parser) membership(m *match) bool {
	mark := p.pos
	m.op, m.negate = in, false
	if p.words(" in ") {
		return true
	}
	p.pos, m.negate = mark, true
	return p.words(" not in ")
}

// words reads text, whose blanks stand for any white space.
func (p *parser) words(text string) bool {
	for text != "" {
		if text[0] == ' ' {
			if !p.blank() {
				return false
			}
			text = text[1:]
			continue
		}
		end := strings.IndexByte(text, ' ')
		if end < 0 {
			end = len(text)
		}
		if !p.literal(text[:end]) {
			return false
		}
		text = text[end:]
	}
	return true
}

func (p *parser) word(text string) bool { return p.literal(text) }

func (p *parser) literal(text string) bool {
	if !strings.HasPrefix(p.in[p.pos:], text) {
		p.miss(strconv.Quote(text))
		return false
	}
	p.pos += len(text)
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func (p *parser) space() {
	for p.pos < len(p.in) && isSpace(p.in[p.pos]) {
		p.pos++
	}
}

func (p *parser) blank() bool {
	start := p.pos
	p.space()
	if p.pos == start {
		p.miss("[ \\t\\r\\n]")
	}
	return p.pos > start
}

// selector reads a path of names and quoted keys; nil if there is none.
func (p *parser) selector() []string {
	name := p.name()
	if name == "" {
		return nil
	}
	path := []string{name}
	for p.pos < len(p.in) {
		mark := p.pos
		switch p.in[p.pos] {
		case '.':
			p.pos++
			if name = p.name(); name == "" {
				p.pos = mark
				return path
			}
			path = append(path, name)
		case '[':
			p.pos++
			p.space()
			key, ok := p.quoted()
			p.space()
			if !ok || !p.literal("]") {
				p.pos = mark
				return path
			}
			path = append(path, key)
		default:
			return path
		}
	}
	return path
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

func (p *parser) name() string {
	start := p.pos
	if start == len(p.in) || !isLetter(p.in[start]) {
		p.miss("[a-zA-Z]")
		return ""
	}
	for p.pos < len(p.in) && (isLetter(p.in[p.pos]) || isDigit(p.in[p.pos]) || p.in[p.pos] == '_') {
		p.pos++
	}
	return p.in[start:p.pos]
}

// value reads a bare word in the shape of a selector, a number or a string.
func (p *parser) value() (string, bool) {
	if path := p.selector(); path != nil {
		return strings.Join(path, "."), true
	}
	if text, ok := p.number(); ok {
		return text, true
	}
	return p.quoted()
}

func (p *parser) digits() bool {
	start := p.pos
	for p.pos < len(p.in) && isDigit(p.in[p.pos]) {
		p.pos++
	}
	return p.pos > start
}

// number reads a decimal number, which a blank, ")" or the end must follow.
func (p *parser) number() (string, bool) {
	start := p.pos
	if p.pos < len(p.in) && p.in[p.pos] == '-' {
		p.pos++
	}
	first := p.pos
	if !p.digits() || p.in[first] == '0' && p.pos > first+1 {
		p.pos = start
		p.miss("number")
		return "", false
	}
	if mark := p.pos; p.pos < len(p.in) && p.in[p.pos] == '.' {
		if p.pos++; !p.digits() {
			p.pos = mark
		}
	}
	if p.pos < len(p.in) && p.in[p.pos] != ')' && !isSpace(p.in[p.pos]) {
		p.miss("end of number")
		p.pos = start
		return "", false
	}
	return p.in[start:p.pos], true
}

// quoted reads a string in double quotes, with Go's escapes, or in back quotes.
func (p *parser) quoted() (string, bool) {
	start := p.pos
	if start == len(p.in) || p.in[start] != '"' && p.in[start] != '`' {
		p.miss("string")
		return "", false
	}
	quote := p.in[start]
	for i := start + 1; i < len(p.in); i++ {
		switch {
		case p.in[i] == quote:
			text, err := strconv.Unquote(p.in[start : i+1])
			if err != nil {
				p.stop(fmt.Errorf("%d: cannot read the string %s", start, p.in[start:i+1]))
				return "", false
			}
			p.pos = i + 1
			return text, true
		case quote == '"' && p.in[i] == '\\':
			i++
		}
	}
	p.stop(fmt.Errorf("%d: unterminated string literal", start))
	return "", false
}
