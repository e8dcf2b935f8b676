package config

import (
	"flag"
	"fmt"
	"reflect"
	"strings"

	"rostra/kit/fault"
)

// arguments is a parsed command line of the agent.
type arguments struct {
	dev    bool
	format string
	files  []string // of -config-file and -config-dir, in order
	hcl    []string
	uses   []use
}

// use is one appearance of a flag that sets a key.
type use struct {
	name    string // as written, without dashes
	value   string
	key     string
	setting *setting // nil if nobody obeys the key
	list    bool     // comes before the files
	renamed string   // the flag's name today
	ignored string   // why it has no effect
}

// parseArgs splits a command line into flags. One dash or two stand before a flag; typographic ones, which slides and web
// pages make of them, count where the rest is a flag.
func parseArgs(s *schema, args []string) (*arguments, error) {
	a := &arguments{}
	for len(args) > 0 {
		arg := args[0]
		body, typographic := trimDashes(arg)
		if arg == "--" {
			args = args[1:]
			break
		}
		if body == arg || body == "" {
			break
		}
		name, value, hasValue := strings.Cut(body, "=")
		if name == "h" || name == "help" {
			return nil, flag.ErrHelp
		}
		f, ok := findFlag(s, name)
		if !ok && typographic {
			break
		}
		if !ok {
			return nil, unknownFlag(s, name)
		}
		args = args[1:]
		if !hasValue && f.bool {
			value = "true"
		} else if !hasValue {
			if len(args) == 0 {
				return nil, fmt.Errorf("flag needs an argument: -%s", name)
			}
			value, args = args[0], args[1:]
		}
		if err := a.take(f, value); err != nil {
			return nil, err
		}
	}
	if len(args) > 0 {
		return nil, fault.New(fault.Invalid, "Unexpected extra arguments: %v", args)
	}
	return a, nil
}

// trimDashes takes up to two dashes of any kind off the front. A lone dash is an argument of its own.
func trimDashes(arg string) (body string, typographic bool) {
	body = arg
	for range 2 {
		switch {
		case strings.HasPrefix(body, "-"):
			body = body[1:]
		case strings.HasPrefix(body, "–"), strings.HasPrefix(body, "—"):
			body, typographic = body[len("–"):], true
		}
	}
	return body, typographic
}

// knownFlag is what a name on the command line stands for.
type knownFlag struct {
	use
	bool bool
	own  bool // config's own: -dev, -config-file, …
}

var ownFlags = map[string]string{
	"config-dir":    "a directory of configuration files, or a file; may be given several times",
	"config-file":   "a configuration file, or a directory; may be given several times",
	"config-format": "read every file as hcl or json, whatever its name",
	"dev":           "development mode: a server of its own, in memory, on loopback",
	"hcl":           "a fragment of HCL, applied after everything else; may be given several times",
}

func findFlag(s *schema, name string) (knownFlag, bool) {
	if _, ok := ownFlags[name]; ok {
		return knownFlag{use: use{name: name}, bool: name == "dev", own: true}, true
	}
	if set := s.byFlag[name]; set != nil {
		return flagOf(set, name), true
	}
	if to, ok := renamedFlags[name]; ok {
		f, found := findFlag(s, to)
		f.name, f.renamed = name, to
		return f, found
	}
	for prefix, why := range deadFlags {
		if strings.HasPrefix(name, prefix) {
			return knownFlag{use: use{name: name, ignored: why}, bool: name == "atlas-join" || name == "ui-beta"}, true
		}
	}
	c, ok := consulFlags[name]
	if !ok {
		return knownFlag{}, false
	}
	if set := s.byKey[c.key]; set != nil {
		return flagOf(set, name), true
	}
	return knownFlag{use: use{name: name, key: c.key, list: c.list}, bool: c.bool}, true
}

func flagOf(set *setting, name string) knownFlag {
	return knownFlag{use: use{name: name, key: set.key, setting: set, list: set.isList()}, bool: set.isBool()}
}

func (a *arguments) take(f knownFlag, value string) error {
	if f.own {
		switch f.name {
		case "dev":
			n, err := fromText(reflect.TypeFor[bool](), value)
			if err != nil {
				return fmt.Errorf("flag -dev: %w", err)
			}
			a.dev = n.Bool()
		case "config-format":
			a.format = value
		case "hcl":
			a.hcl = append(a.hcl, value)
		default:
			a.files = append(a.files, value)
		}
		return nil
	}
	f.value = value
	a.uses = append(a.uses, f.use)
	return nil
}

func unknownFlag(s *schema, name string) error {
	var names []string
	for known := range s.byFlag {
		names = append(names, known)
	}
	for known := range ownFlags {
		names = append(names, known)
	}
	for known, c := range consulFlags {
		if s.byKey[c.key] != nil {
			names = append(names, known)
		}
	}
	if near := nearest(name, names, mistakes); near != "" {
		return fmt.Errorf("flag provided but not defined: -%s; did you mean -%s?", name, near)
	}
	return fmt.Errorf("flag provided but not defined: -%s; see -help for those there are", name)
}
