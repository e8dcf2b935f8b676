package query

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"rostra/kit/fault"
	"rostra/kit/wire"
)

// The language of templates: a text in which ${…} stands for a part of the name that is looked up, and $${ for ${. Inside
// stand name.full, name.prefix, name.suffix, match(N) or agent.segment, with blanks around words.

// compiled is a template ready for names.
type compiled struct {
	from  *Definition
	match *regexp.Regexp // nil if it has none
}

// compile makes a template ready. Of a definition that is none it makes one that says the same for each name.
func (d *Definition) compile() (*compiled, error) {
	c := &compiled{from: d}
	if !d.template() {
		return c, nil
	}
	if d.Template.Type != PrefixMatch {
		return nil, flaw("Bad Template.Type '%s'", d.Template.Type)
	}
	if d.Template.Regexp != "" {
		var err error
		if c.match, err = regexp.Compile(d.Template.Regexp); err != nil {
			return nil, flaw("Bad Regexp: %s", err)
		}
	}
	return c, nil
}

// flaw is what is wrong with a template, in Consul's words.
func flaw(format string, args ...any) error { return fault.New(fault.Refused, format, args...) }

// checkTemplate finds all that can be wrong with a template: what is right for one name is for every other.
func (d *Definition) checkTemplate() error {
	c, err := d.compile()
	if err == nil {
		_, err = c.render("")
	}
	return err
}

// render returns the definition for a name.
func (c *compiled) render(name string) (*Definition, error) {
	d := *c.from
	if !d.template() {
		return &d, nil
	}
	words := wordsOf(name, d.Name)
	if c.match != nil {
		words.groups = c.match.FindStringSubmatch(name)
	}
	f := filler{words: words}
	s := &d.Service
	f.text("Service", &s.Service)
	f.list("Failover.Datacenters", &s.Failover.Datacenters)
	s.Failover.Targets = slices.Clone(s.Failover.Targets)
	for i := range s.Failover.Targets {
		f.text(fmt.Sprintf("Failover.Targets[%d].Datacenter", i), &s.Failover.Targets[i].Datacenter)
	}
	f.list("IgnoreCheckIDs", &s.IgnoreCheckIDs)
	f.text("Near", &s.Near)
	f.list("Tags", &s.Tags)
	f.pairs("NodeMeta", &s.NodeMeta)
	f.pairs("ServiceMeta", &s.ServiceMeta)
	if d.Template.RemoveEmptyTags {
		s.Tags = slices.DeleteFunc(s.Tags, func(tag string) bool { return tag == "" })
	}
	d.settle()
	return &d, f.err
}

// words are what a template may use.
type words struct {
	full, prefix, suffix string
	groups               []string // of the regular expression; nil if it does not match
}

func wordsOf(name, prefix string) words {
	w := words{full: name, prefix: prefix, suffix: strings.TrimPrefix(name, prefix)}
	if n := len(prefix); len(name) >= n && strings.EqualFold(name[:n], prefix) {
		w.suffix = name[n:]
	}
	return w
}

// filler replaces strings, until one cannot be read.
type filler struct {
	words words
	err   error
}

func (f *filler) text(where string, s *string) {
	if f.err != nil || *s == "" {
		return
	}
	filled, err := f.words.fill(*s)
	if err != nil {
		f.err = flaw("Bad format '%s' in Service.%s: %s", *s, where, err)
		return
	}
	*s = filled
}

func (f *filler) list(where string, list *[]string) {
	*list = slices.Clone(*list)
	for i := range *list {
		f.text(fmt.Sprintf("%s[%d]", where, i), &(*list)[i])
	}
}

func (f *filler) pairs(where string, pairs *wire.Pairs) {
	*pairs = slices.Clone(*pairs)
	for i := range *pairs {
		p := &(*pairs)[i]
		f.text(fmt.Sprintf("%s[%s]", where, p.Key), &p.Value)
	}
}

// fill returns the text with the words in their places.
func (w *words) fill(text string) (string, error) {
	var b strings.Builder
	for {
		at := strings.Index(text, "${")
		if at < 0 {
			b.WriteString(text)
			return b.String(), nil
		}
		b.WriteString(text[:at])
		if at > 0 && text[at-1] == '$' {
			b.WriteByte('{') // the $ before it is written
			text = text[at+2:]
			continue
		}
		inside, rest, closed := strings.Cut(text[at+2:], "}")
		if !closed {
			return "", fmt.Errorf("the ${ is never closed by a }")
		}
		word, err := w.word(strings.Trim(inside, " \t\r\n"))
		if err != nil {
			return "", err
		}
		b.WriteString(word)
		text = rest
	}
}

// word returns what stands between the braces.
func (w *words) word(name string) (string, error) {
	switch name {
	case "name.full":
		return w.full, nil
	case "name.prefix":
		return w.prefix, nil
	case "name.suffix":
		return w.suffix, nil
	case "agent.segment":
		return "", nil // networks have no segments here
	}
	inside, ok := strings.CutPrefix(name, "match")
	inside = strings.TrimLeft(inside, " \t\r\n")
	if ok && strings.HasPrefix(inside, "(") && strings.HasSuffix(inside, ")") {
		n, err := strconv.ParseUint(strings.Trim(inside[1:len(inside)-1], " \t\r\n"), 10, 31)
		if err != nil {
			return "", fmt.Errorf("%s: the number of a group must stand between the parentheses, as in match(1)", name)
		}
		if n < uint64(len(w.groups)) {
			return w.groups[n], nil
		}
		return "", nil
	}
	return "", fmt.Errorf("unknown word %q: there are name.full, name.prefix, name.suffix, match(N) and agent.segment", name)
}
