package config

import (
	"sort"
	"strings"

	"rostra/kit/spell"
)

// mistakes is how many a suggestion may be away.
const mistakes = 3

// nearest returns the candidate that is few typing mistakes away from word, at most limit, or "".
func nearest(word string, candidates []string, limit int) string {
	sort.Strings(candidates)
	return spell.Nearest(word, candidates, min(limit, (len(word)+1)/2))
}

// suggestKey finds what a wrong dotted key may have meant: one a letter away in the same block, the same name in another
// block, or one spelt alike.
func suggestKey(path string, keys []string) string {
	block, name := splitKey(path)
	beside := map[string]bool{}
	var elsewhere []string
	for _, k := range keys {
		if rest, ok := strings.CutPrefix(k, block); ok {
			first, _, _ := strings.Cut(rest, ".")
			beside[first] = true
		}
		if _, last := splitKey(k); last == name && k != path {
			elsewhere = append(elsewhere, k)
		}
	}
	if near := nearest(name, sorted(beside), 1); near != "" {
		return block + near
	}
	if len(elsewhere) > 0 {
		sort.Strings(elsewhere)
		return elsewhere[0]
	}
	if near := nearest(name, sorted(beside), mistakes); near != "" {
		return block + near
	}
	return nearest(path, keys, mistakes)
}

// splitKey cuts a dotted key into its block with the dot, and its own name.
func splitKey(path string) (block, name string) {
	cut := strings.LastIndexByte(path, '.') + 1
	return path[:cut], path[cut:]
}
