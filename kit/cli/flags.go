package cli

import (
	"flag"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// List is a flag that may be given several times; it keeps every value in order.
type List []string

// String shows the values, joined by commas.
func (l *List) String() string { return strings.Join(*l, ",") }

// Set appends a value.
func (l *List) Set(v string) error {
	*l = append(*l, v)
	return nil
}

// Pairs is a flag of the form key=value that may be given several times; a repeated key keeps its last value.
type Pairs map[string]string

// String shows the pairs sorted by key.
func (p *Pairs) String() string {
	all := make([]string, 0, len(*p))
	for k, v := range *p {
		all = append(all, k+"="+v)
	}
	sort.Strings(all)
	return strings.Join(all, ",")
}

// Set adds a pair; everything after the first = is the value.
func (p *Pairs) Set(v string) error {
	key, value, ok := strings.Cut(v, "=")
	if !ok || key == "" {
		return fmt.Errorf("want key=value")
	}
	if *p == nil {
		*p = Pairs{}
	}
	(*p)[key] = value
	return nil
}

// longDashes are what slides, mail and web pages make of - and --.
const longDashes = "\u2013\u2014"

// readDashes returns args with typographic dashes written as - wherever a flag of the set may stand and the rest names
// one. It walks like flag.Parse: it stops at the first argument and leaves the values of flags alone.
func readDashes(set *flag.FlagSet, args []string) []string {
	out := slices.Clone(args)
	for i := 0; i < len(out); i++ {
		name := strings.TrimLeft(out[i], "-"+longDashes)
		dashes := out[i][:len(out[i])-len(name)]
		if dashes == "" || name == "" {
			return out
		}
		key, _, hasValue := strings.Cut(name, "=")
		f := set.Lookup(key)
		if f == nil {
			return out
		}
		if strings.ContainsAny(dashes, longDashes) {
			out[i] = "-" + name
		}
		if !hasValue && !isBool(f) {
			i++
		}
	}
	return out
}

// isBool says whether a flag takes no value of its own.
func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// isFlag says whether an argument is one of the named flags, whatever its dashes.
func isFlag(arg string, names ...string) bool {
	name := strings.TrimLeft(arg, "-"+longDashes)
	return name != arg && slices.Contains(names, name)
}

// cutHelp takes the requests for help out of args, up to a --, and says whether there was one.
func cutHelp(args []string) (rest []string, help bool) {
	for i, a := range args {
		if a == "--" {
			return append(rest, args[i:]...), help
		}
		if isFlag(a, "h", "help") {
			help = true
			continue
		}
		rest = append(rest, a)
	}
	return rest, help
}

func flagNames(set *flag.FlagSet) []string {
	var names []string
	set.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	return names
}
