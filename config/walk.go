package config

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// walk takes one source over, key by key.
type walk struct {
	*loader
	src  source
	seen map[string]bool // settings that this source has set
	late []later
}

// later is a key under an old name: the new name wins if the source has both, so the old ones come after.
type later struct {
	name, path string // as written; what it stands for
	val        *node
	line       int
}

func (w *walk) root(n *node) {
	w.dedupe(n, "")
	n = w.watchAtTop(n)
	w.object(n, "", "")
	for _, o := range w.late {
		if set := w.schema.byKey[o.path]; set != nil && w.seen[o.path] && !set.isList() && !set.isMap() {
			continue
		}
		w.put(o.name, o.path, pair{val: o.val, line: o.line})
	}
}

// dedupe drops all but the last of the values that JSON gives one key, and says so; of definitions it refuses to lose any.
func (w *walk) dedupe(n *node, path string) {
	for _, item := range n.items {
		w.dedupe(item, path)
	}
	last := map[string]int{}
	for i, p := range n.pairs {
		w.dedupe(p.val, join(path, printable(p.key)))
		if first, ok := last[p.key]; ok {
			if plural := single[strings.ToLower(p.key)]; path == "" && plural != "" {
				w.twice(p.line, strings.ToLower(p.key), plural)
			} else {
				w.warn(w.src, p.line, fmt.Sprintf("%s is given twice, first on line %d: the last one counts",
					join(path, printable(p.key)), n.pairs[first].line))
			}
		}
		last[p.key] = i
	}
	if len(last) == len(n.pairs) {
		return
	}
	var kept []pair
	for i, p := range n.pairs {
		if last[p.key] == i {
			kept = append(kept, p)
		}
	}
	n.pairs = kept
}

func (w *walk) twice(line int, key, plural string) {
	w.note(plural, fmt.Errorf("%s: %s is given more than once in this source: write %s = [ … ], or one %s block for each",
		w.src.at(line), key, plural, plural))
}

// object walks the keys of a group. name is the group as written, path as understood.
func (w *walk) object(n *node, name, path string) {
	for _, p := range n.pairs {
		p.key = printable(p.key)
		if strings.Contains(p.key, ".") && strings.ToLower(join(path, p.key)) != dottedKey {
			w.unknown(join(name, p.key), p.line)
			continue
		}
		if p.val.kind == null {
			if sub := join(path, strings.ToLower(p.key)); !w.known(sub) {
				w.unknown(join(name, p.key), p.line)
			}
			continue
		}
		w.put(join(name, p.key), join(path, strings.ToLower(p.key)), p)
	}
}

// put takes one key over, whatever it is.
func (w *walk) put(name, path string, p pair) {
	if plural, ok := single[path]; ok {
		if p.val.kind == list && len(p.val.items) > 1 {
			w.twice(p.val.items[len(p.val.items)-1].line, path, plural)
			return
		}
		w.late = append(w.late, later{name, plural, p.val, p.line})
		return
	}
	if old, ok := renamedKeys[path]; ok {
		w.warn(w.src, p.line, fmt.Sprintf("The '%s' field is deprecated. Use the '%s' field instead.", path, old.to))
		w.late = append(w.late, later{name, old.to, old.convert(p.val), p.line})
		return
	}
	set, r := w.schema.byKey[path], lookup(path)
	switch {
	case set != nil:
		w.set(set, name, p)
	case r != nil && !w.group(path):
		w.note(path, w.fate(w.src, name, path, r, p.val, p.line))
	case w.group(path):
		obj, ok := p.val.single()
		if !ok {
			w.wrong(name, path, p.line, needObject(p.val))
			return
		}
		w.object(obj, name, path)
	default:
		if r = above(path); r == nil {
			w.unknown(name, p.line)
			return
		}
		w.note(path, w.fate(w.src, name, path, r, p.val, p.line))
	}
}

func (w *walk) set(set *setting, name string, p pair) {
	v, err := decode(set, p.val, w.src, name, p.line)
	if err != nil {
		w.wrong(name, set.key, p.line, err)
		return
	}
	w.seen[set.key] = true
	w.note(set.key, w.hold(set, v, w.src, p.line))
}

func (w *walk) wrong(name, path string, line int, err error) {
	var t *wrongType
	if errors.As(err, &t) && t.line > 0 {
		line = t.line
	}
	w.note(path, fmt.Errorf("%s: %s: %w", w.src.at(line), name, err))
}

func (w *walk) known(path string) bool {
	_, renamed := renamedKeys[path]
	return renamed || single[path] != "" || w.schema.byKey[path] != nil || lookup(path) != nil || w.group(path) || above(path) != nil
}

// group reports whether path is a block that holds keys with fates of their own.
func (w *walk) group(path string) bool {
	if groups[path] {
		return true
	}
	for key := range w.schema.byKey {
		if strings.HasPrefix(key, path+".") {
			return true
		}
	}
	return false
}

// mostSuggestions is how many wrong keys are compared with all that there are: a file of something else altogether should
// not take long to refuse.
const mostSuggestions = 50

// unknown refuses a key and suggests the nearest one: in the same block, or of the same name in another.
func (w *walk) unknown(name string, line int) {
	var keys []string
	if len(w.problems) < mostSuggestions {
		for _, set := range w.schema.order {
			keys = append(keys, set.key)
		}
		keys = append(keys, knownKeys()...)
	}
	mend := "remove it, or see the documentation for the keys there are"
	if near := suggestKey(strings.ToLower(name), keys); near != "" {
		mend = "did you mean " + near + "?"
	}
	w.note(strings.ToLower(name), fmt.Errorf("%s: invalid config key %s: %s", w.src.at(line), name, mend))
}

// watchAtTop finds a watch whose keys lie at the top of a file, as small examples have it, and turns it into a watches
// entry.
func (w *walk) watchAtTop(n *node) *node {
	if n.find("handler") == nil && (n.find("type") == nil || n.find("args") == nil) {
		return n
	}
	watch := &node{kind: object, line: n.line}
	rest := &node{kind: object, line: n.line}
	for _, p := range n.pairs {
		if watchKeys[strings.ToLower(p.key)] && !w.known(strings.ToLower(p.key)) {
			watch.pairs = append(watch.pairs, p)
		} else {
			rest.pairs = append(rest.pairs, p)
		}
	}
	if len(watch.pairs) > 0 {
		rest.pairs = append(rest.pairs, pair{"watches", watch.pairs[0].line, watch})
	}
	return rest
}

// printable quotes a key that would break the one line of a message.
func printable(key string) string {
	if q := strconv.Quote(key); q != `"`+key+`"` {
		return q
	}
	return key
}

// sorted returns the keys of m in order.
func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
