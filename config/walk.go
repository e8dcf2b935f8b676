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

func (w *walk) root(n *node) error {
	if err := w.dedupe(n, ""); err != nil {
		return err
	}
	n = w.watchAtTop(n)
	if err := w.object(n, "", ""); err != nil {
		return err
	}
	for _, o := range w.late {
		if set := w.schema.byKey[o.path]; set != nil && w.seen[o.path] && !set.isList() && !set.isMap() {
			continue
		}
		if err := w.put(o.name, o.path, pair{val: o.val, line: o.line}); err != nil {
			return err
		}
	}
	return nil
}

// dedupe drops all but the last of the values that JSON gives one key, and says so; of definitions it refuses to lose any.
func (w *walk) dedupe(n *node, path string) error {
	for _, item := range n.items {
		if err := w.dedupe(item, path); err != nil {
			return err
		}
	}
	last := map[string]int{}
	for i, p := range n.pairs {
		if err := w.dedupe(p.val, join(path, printable(p.key))); err != nil {
			return err
		}
		if first, ok := last[p.key]; ok {
			if plural := single[strings.ToLower(p.key)]; path == "" && plural != "" {
				return w.twice(p.line, strings.ToLower(p.key), plural)
			}
			w.warn(w.src, p.line, fmt.Sprintf("%s is given twice, first on line %d: the last one counts",
				join(path, printable(p.key)), n.pairs[first].line))
		}
		last[p.key] = i
	}
	if len(last) == len(n.pairs) {
		return nil
	}
	var kept []pair
	for i, p := range n.pairs {
		if last[p.key] == i {
			kept = append(kept, p)
		}
	}
	n.pairs = kept
	return nil
}

func (w *walk) twice(line int, key, plural string) error {
	return fmt.Errorf("%s: %s is given more than once in this source: write %s = [ … ], or one %s block for each",
		w.src.at(line), key, plural, plural)
}

// object walks the keys of a group. name is the group as written, path as understood.
func (w *walk) object(n *node, name, path string) error {
	for _, p := range n.pairs {
		p.key = printable(p.key)
		if strings.Contains(p.key, ".") && strings.ToLower(join(path, p.key)) != dottedKey {
			return w.unknown(join(name, p.key), p.line)
		}
		if p.val.kind == null {
			if sub := join(path, strings.ToLower(p.key)); !w.known(sub) {
				return w.unknown(join(name, p.key), p.line)
			}
			continue
		}
		if err := w.put(join(name, p.key), join(path, strings.ToLower(p.key)), p); err != nil {
			return err
		}
	}
	return nil
}

// put takes one key over, whatever it is.
func (w *walk) put(name, path string, p pair) error {
	if plural, ok := single[path]; ok {
		if p.val.kind == list && len(p.val.items) > 1 {
			return w.twice(p.val.items[len(p.val.items)-1].line, path, plural)
		}
		w.late = append(w.late, later{name, plural, p.val, p.line})
		return nil
	}
	if old, ok := renamedKeys[path]; ok {
		w.warn(w.src, p.line, fmt.Sprintf("The '%s' field is deprecated. Use the '%s' field instead.", path, old.to))
		w.late = append(w.late, later{name, old.to, old.convert(p.val), p.line})
		return nil
	}
	if set := w.schema.byKey[path]; set != nil {
		return w.set(set, name, p)
	}
	if r := lookup(path); r != nil && !w.group(path) {
		return w.fate(w.src, name, path, r, p.val, p.line)
	}
	if w.group(path) {
		obj, ok := p.val.single()
		if !ok {
			return w.wrong(name, p.line, needObject(p.val))
		}
		return w.object(obj, name, path)
	}
	if r := above(path); r != nil {
		return w.fate(w.src, name, path, r, p.val, p.line)
	}
	return w.unknown(name, p.line)
}

func (w *walk) set(set *setting, name string, p pair) error {
	v, err := decode(set, p.val, w.src, name, p.line)
	if err != nil {
		return w.wrong(name, p.line, err)
	}
	w.seen[set.key] = true
	return w.hold(set, v, w.src, p.line)
}

func (w *walk) wrong(name string, line int, err error) error {
	var t *wrongType
	if errors.As(err, &t) && t.line > 0 {
		line = t.line
	}
	return fmt.Errorf("%s: %s: %w", w.src.at(line), name, err)
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

// unknown refuses a key and suggests the nearest one: in the same block, or of the same name in another.
func (w *walk) unknown(name string, line int) error {
	var keys []string
	for _, set := range w.schema.order {
		keys = append(keys, set.key)
	}
	keys = append(keys, knownKeys()...)
	msg := fmt.Sprintf("%s: invalid config key %s", w.src.at(line), name)
	if near := suggestKey(strings.ToLower(name), keys); near != "" {
		return fmt.Errorf("%s: did you mean %s?", msg, near)
	}
	return fmt.Errorf("%s: remove it, or see the documentation for the keys there are", msg)
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
