package cli

import (
	"slices"
	"strings"

	"rostra/kit/spell"
)

// tree is the verbs of a program, looked up by their words.
type tree struct {
	name  string
	verbs []Verb
}

// verb returns the verb or group description of that path; nil if there is none.
func (t *tree) verb(path string) *Verb {
	for i := range t.verbs {
		if t.verbs[i].Path == path {
			return &t.verbs[i]
		}
	}
	return nil
}

// match returns the leading words of args that name a verb or a group, and what follows them.
func (t *tree) match(args []string) (words, rest []string) {
	for n := range args {
		if !slices.Contains(t.next(strings.Join(args[:n], " "), true), args[n]) {
			return args[:n], args[n:]
		}
	}
	return args, nil
}

// below returns the words that may follow a path, sorted; "" is the top.
func (t *tree) below(path string) []string { return t.next(path, false) }

// next is below, on demand with the words that only lead to absent verbs.
func (t *tree) next(path string, absent bool) []string {
	var words []string
	for _, v := range t.verbs {
		rest := v.Path
		if path != "" {
			var ok bool
			if rest, ok = strings.CutPrefix(v.Path, path+" "); !ok {
				continue
			}
		}
		if word, _, _ := strings.Cut(rest, " "); absent || v.Absent == "" {
			words = append(words, word)
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// unknown says on Err which word was not understood, and what was probably meant. It prints nothing for no word.
func (t *tree) unknown(call *Call, words, rest []string) {
	if len(rest) == 0 {
		return
	}
	path, typed := strings.Join(words, " "), rest[0]
	flagged := strings.HasPrefix(typed, "-")
	if flagged {
		typed = strings.TrimLeft(typed, "-")
		call.Fail("\nUnknown flag: %s", rest[0])
	} else {
		call.Fail("\nUnknown command: %s", strings.Join(append(slices.Clone(words), typed), " "))
	}
	if late := t.afterFlags(words, rest); late != "" {
		call.Fail("Flags must come after the command: %s %s %s", t.name, late, rest[0])
		return
	}
	meant := t.also(strings.TrimSpace(path + " " + typed))
	if near := nearest(typed, t.below(path)); meant == "" && near != "" {
		meant = strings.TrimSpace(path + " " + near)
	}
	if meant == "" && !flagged {
		meant = t.endingIn(typed)
	}
	if meant != "" {
		call.Fail("Did you mean \"%s %s\"?", t.name, meant)
	}
}

// afterFlags returns the path of the verb that follows flags given too early; "" if none does.
func (t *tree) afterFlags(words, rest []string) string {
	for i, a := range rest {
		if strings.HasPrefix(a, "-") {
			continue
		}
		if i == 0 {
			return ""
		}
		// What follows a flag may be its value: then the verb is the next word.
		for _, at := range []int{i, i + 1} {
			found, _ := t.match(append(slices.Clone(words), rest[min(at, len(rest)):]...))
			if len(found) > len(words) {
				return strings.Join(found, " ")
			}
		}
		return ""
	}
	return ""
}

// also returns the path of the verb that says it is meant by a whole path; "" if none does.
func (t *tree) also(path string) string {
	for _, v := range t.verbs {
		if slices.Contains(v.Also, path) {
			return v.Path
		}
	}
	return ""
}

// endingIn returns the path of a verb whose last word is the given one, or almost: "get" finds "kv get".
func (t *tree) endingIn(word string) string {
	ends := map[string]string{}
	var words []string
	for _, v := range t.verbs {
		last := v.Path[strings.LastIndex(v.Path, " ")+1:]
		if _, known := ends[last]; v.Absent == "" && !known {
			ends[last] = v.Path
			words = append(words, last)
		}
	}
	return ends[nearest(word, words)]
}

// nearest returns the candidate that a typing mistake most likely meant; "" if none is near.
func nearest(typed string, candidates []string) string {
	return spell.Nearest(typed, candidates, max(1, min(len(typed)/3, 3)))
}
