package cli

import (
	"flag"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The environment by which a shell asks for completion: the line typed so far, and where in it the cursor is. It is
// that of bash's complete -C, which zsh and fish are made to speak too (see install.go).
const (
	lineEnv  = "COMP_LINE"
	pointEnv = "COMP_POINT"
)

// complete answers a shell that asks how the command line may go on, one word on a line. It says whether one asked.
func (t *tree) complete(call *Call) bool {
	line := call.Env(lineEnv)
	if line == "" {
		return false
	}
	if at, err := strconv.Atoi(call.Env(pointEnv)); err == nil && at >= 0 && at < len(line) {
		line = line[:at]
	}
	for _, word := range t.completions(line) {
		call.Say("%s", word)
	}
	return true
}

// topFlags may stand in the place of a command.
var topFlags = []string{"autocomplete-install", "autocomplete-uninstall", "help", "version"}

// describedFlag is a flag in the help of a verb that reads its own.
var describedFlag = regexp.MustCompile(`(?m)^ +-([a-zA-Z][\w-]*)`)

// completions returns what may stand in the place of a line's last word, sorted. A line that ends in a blank has an
// empty last word. Nothing means: whatever the user likes, such as a file.
func (t *tree) completions(line string) []string {
	words := strings.Fields(line)
	last := ""
	if len(words) > 1 && strings.HasSuffix(line, words[len(words)-1]) {
		last, words = words[len(words)-1], words[:len(words)-1]
	}
	if len(words) == 0 {
		return nil
	}
	path, rest := t.match(words[1:])
	verb := t.verb(strings.Join(path, " "))
	var names []string
	switch {
	case verb != nil && verb.Absent != "":
		return nil
	case verb != nil && verb.Raw != nil:
		for _, m := range describedFlag.FindAllStringSubmatch(verb.Help, -1) {
			names = append(names, m[1])
		}
	case verb != nil && verb.Flags != nil:
		set, _ := declare(verb)
		if !flagMayFollow(set, rest) {
			return nil
		}
		names = flagNames(set)
	case len(rest) > 0:
		return nil
	case strings.HasPrefix(last, "-") && len(path) == 0:
		names = topFlags
	case strings.HasPrefix(last, "-"):
		return nil
	default:
		return startingWith(t.below(strings.Join(path, " ")), "", last)
	}
	if !strings.HasPrefix(last, "-") {
		return nil
	}
	dashes := "-"
	if strings.HasPrefix(last, "--") {
		dashes = "--"
	}
	return startingWith(names, dashes, last)
}

// flagMayFollow says whether, after these arguments of a verb, another flag may stand: not after the first that is none,
// nor where the last one waits for its value.
func flagMayFollow(set *flag.FlagSet, args []string) bool {
	for i := 0; i < len(args); i++ {
		name := strings.TrimLeft(args[i], "-")
		if name == args[i] || name == "" {
			return false
		}
		if f := set.Lookup(name); f != nil && !isBool(f) {
			if i++; i == len(args) {
				return false
			}
		}
	}
	return true
}

// startingWith returns the words, each after a lead, that begin with a prefix, sorted.
func startingWith(words []string, lead, prefix string) []string {
	var found []string
	for _, w := range words {
		if w = lead + w; strings.HasPrefix(w, prefix) {
			found = append(found, w)
		}
	}
	slices.Sort(found)
	return found
}
