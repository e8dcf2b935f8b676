package config

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"rostra/kit/tree"
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
	val        *tree.Node
	line       int
}

func (w *walk) root(n *tree.Node) {
	w.dedupe(n, "")
	n = w.watchAtTop(n)
	w.object(n, "", "")
	for _, o := range w.late {
		if set := w.schema.byKey[o.path]; set != nil && w.seen[o.path] && !set.isList() && !set.isMap() {
			continue
		}
		w.put(o.name, o.path, tree.Pair{Val: o.val, Line: o.line})
	}
}

// dedupe drops all but the last of the values that JSON gives one key, and says so; of definitions it refuses to lose any.
func (w *walk) dedupe(n *tree.Node, path string) {
	for _, item := range n.Items {
		w.dedupe(item, path)
	}
	last := map[string]int{}
	for i, p := range n.Pairs {
		w.dedupe(p.Val, tree.Join(path, printable(p.Key)))
		if first, ok := last[p.Key]; ok {
			if plural := single[strings.ToLower(p.Key)]; path == "" && plural != "" {
				w.twice(p.Line, strings.ToLower(p.Key), plural)
			} else {
				w.warn(w.src, p.Line, fmt.Sprintf("%s is given twice, first on line %d: the last one counts",
					tree.Join(path, printable(p.Key)), n.Pairs[first].Line))
			}
		}
		last[p.Key] = i
	}
	if len(last) == len(n.Pairs) {
		return
	}
	var kept []tree.Pair
	for i, p := range n.Pairs {
		if last[p.Key] == i {
			kept = append(kept, p)
		}
	}
	n.Pairs = kept
}

func (w *walk) twice(line int, key, plural string) {
	w.note(plural, fmt.Errorf("%s: %s is given more than once in this source: write %s = [ … ], or one %s block for each",
		w.src.at(line), key, plural, plural))
}

// object walks the keys of a group. name is the group as written, path as understood.
func (w *walk) object(n *tree.Node, name, path string) {
	for _, p := range n.Pairs {
		p.Key = printable(p.Key)
		if strings.Contains(p.Key, ".") && strings.ToLower(tree.Join(path, p.Key)) != dottedKey {
			w.unknown(tree.Join(name, p.Key), p.Line)
			continue
		}
		if p.Val.Kind == tree.Null {
			if sub := tree.Join(path, strings.ToLower(p.Key)); !w.known(sub) {
				w.unknown(tree.Join(name, p.Key), p.Line)
			}
			continue
		}
		w.put(tree.Join(name, p.Key), tree.Join(path, strings.ToLower(p.Key)), p)
	}
}

// put takes one key over, whatever it is.
func (w *walk) put(name, path string, p tree.Pair) {
	if plural, ok := single[path]; ok {
		if p.Val.Kind == tree.List && len(p.Val.Items) > 1 {
			w.twice(p.Val.Items[len(p.Val.Items)-1].Line, path, plural)
			return
		}
		w.late = append(w.late, later{name, plural, p.Val, p.Line})
		return
	}
	if old, ok := renamedKeys[path]; ok {
		w.warn(w.src, p.Line, fmt.Sprintf("The '%s' field is deprecated. Use the '%s' field instead.", path, old.to))
		w.late = append(w.late, later{name, old.to, old.convert(p.Val), p.Line})
		return
	}
	set, r := w.schema.byKey[path], lookup(path)
	switch {
	case set != nil:
		w.set(set, name, p)
	case r != nil && !w.group(path):
		w.note(path, w.fate(w.src, name, path, r, p.Val, p.Line))
	case w.group(path):
		obj, ok := p.Val.Single()
		if !ok {
			w.wrong(name, path, p.Line, p.Val.NeedObject())
			return
		}
		w.object(obj, name, path)
	default:
		if r = above(path); r == nil {
			w.unknown(name, p.Line)
			return
		}
		w.note(path, w.fate(w.src, name, path, r, p.Val, p.Line))
	}
}

func (w *walk) set(set *setting, name string, p tree.Pair) {
	v, err := decode(set, p.Val, w.src, name, p.Line)
	if err != nil {
		w.wrong(name, set.key, p.Line, err)
		return
	}
	w.seen[set.key] = true
	w.note(set.key, w.hold(set, v, w.src, p.Line))
}

func (w *walk) wrong(name, path string, line int, err error) {
	var t *tree.Misfit
	if errors.As(err, &t) && t.Line > 0 {
		line = t.Line
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
func (w *walk) watchAtTop(n *tree.Node) *tree.Node {
	if n.Find("handler") == nil && (n.Find("type") == nil || n.Find("args") == nil) {
		return n
	}
	watch := &tree.Node{Kind: tree.Object, Line: n.Line}
	rest := &tree.Node{Kind: tree.Object, Line: n.Line}
	for _, p := range n.Pairs {
		if watchKeys[strings.ToLower(p.Key)] && !w.known(strings.ToLower(p.Key)) {
			watch.Pairs = append(watch.Pairs, p)
		} else {
			rest.Pairs = append(rest.Pairs, p)
		}
	}
	if len(watch.Pairs) > 0 {
		rest.Pairs = append(rest.Pairs, tree.Pair{Key: "watches", Line: watch.Pairs[0].Line, Val: watch})
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
