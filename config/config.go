// Package config turns files and command-line flags into settings. A setting is described once, by the tags of a struct
// field in the package that obeys it; decoding, flags, documentation and the difference at a reload are derived from the
// tags. The package itself knows only the names of Consul's keys and what becomes of those that nobody obeys yet.
//
//	key       dotted name in files, lower-case: "dns_config.node_ttl"
//	flag      names on the command line, separated by commas; lists and maps (k:v) may be given several times
//	default   text of the default; lists as a,b and maps as k:v,k:v
//	dev       the same with -dev, where it differs
//	reload    "yes" if a running agent takes a change over
//	help      one line for people
//	signed    "yes" if a number below zero means something (the agent refuses others)
//	sockaddr  "one" or "many": may be a go-sockaddr template that gives one or several addresses
//
// Field types: string, bool, int, int64, uint64, float64, time.Duration, pointers to these (nil when unset), []string,
// map[string]string, map[string]time.Duration, map[string]any (an object as written) and []room.Definition. Fields
// without a key tag are left alone, except that structs among them are searched for settings.
package config

import (
	"fmt"
	"reflect"
	"strings"

	"rostra/kit/tree"
)

// Input says where settings come from.
type Input struct {
	Args   []string // flags of the agent verb, without the verb
	Files  []string // further files and directories, read after those that Args name
	Format string   // "hcl" or "json": read every file so, whatever its name; -config-format overrides
	HCL    []string // fragments of HCL, applied after those of -hcl
}

// Loaded tells how the settings came about. It is immutable.
type Loaded struct {
	Dev      bool     // -dev was given
	Warnings []string // one line each, in the order of the sources
	Sources  []string // the files that were read, in order
	Paths    []string // the files and directories that were named, in order

	origins map[string]string
}

// Origin tells where the value of a key comes from: "file:line", "flag -x", "-dev" or "default". Lists and maps put
// together from several sources name them all, separated by commas.
func (l *Loaded) Origin(key string) string {
	if o := l.origins[key]; o != "" {
		return o
	}
	return "default"
}

// Load reads all sources and fills the structs that settings point to; nils are skipped. The order is: defaults, -dev,
// flags of lists, files, other flags, -hcl fragments; later ones win, lists concatenate, maps overlay.
//
// An error about the command line is one line, or flag.ErrHelp when the flags ask for help; the structs are then unchanged.
// What is wrong with the sources comes as Problems, all of it; the structs then hold what is right, for who looks for more
// that is wrong.
func Load(in Input, settings ...any) (*Loaded, error) {
	s, err := newSchema(settings)
	if err != nil {
		return nil, err
	}
	l := &loader{schema: s, held: map[string]*held{}, out: &Loaded{origins: map[string]string{}}}
	args, err := parseArgs(s, in.Args)
	if err != nil {
		return nil, err
	}
	l.out.Dev = args.dev
	if err := l.sources(in, args); err != nil {
		return nil, err
	}
	l.finish()
	if len(l.problems) > 0 {
		return l.out, l.problems
	}
	return l.out, nil
}

// held is what the sources said about one setting so far.
type held struct {
	val     reflect.Value
	origins []string
}

type loader struct {
	schema   *schema
	held     map[string]*held
	out      *Loaded
	problems Problems
}

// sources reads everything. Its error is one of the command line; all others become problems.
func (l *loader) sources(in Input, args *arguments) error {
	if args.format == "" {
		args.format = in.Format
	}
	if args.format != "" && args.format != "hcl" && args.format != "json" {
		return fmt.Errorf("flag -config-format: expected hcl or json, got %q", args.format)
	}
	for _, u := range args.uses {
		if u.list {
			l.flag(u)
		}
	}
	l.out.Paths = append(args.files, in.Files...)
	for _, path := range l.out.Paths {
		l.path(path, args.format)
	}
	for _, u := range args.uses {
		if !u.list {
			l.flag(u)
		}
	}
	for _, fragment := range append(args.hcl, in.HCL...) {
		l.text(source{flag: "hcl"}, []byte(fragment), tree.ParseHCL)
	}
	return nil
}

// flag takes over one use of a flag on the command line.
func (l *loader) flag(u use) {
	src := source{flag: u.name}
	if u.ignored != "" {
		l.warn(src, 0, u.ignored)
		return
	}
	if u.renamed != "" {
		l.warn(src, 0, fmt.Sprintf("The '-%s' flag is deprecated. Use the '-%s' flag instead.", u.name, u.renamed))
	}
	if u.setting == nil {
		n := &tree.Node{Kind: tree.Text, Val: u.value}
		l.note(u.key, l.fate(src, u.key, u.key, lookup(u.key), n, 0))
		return
	}
	v, err := fromText(u.setting.typ, u.value)
	if err != nil {
		l.note(u.setting.key, fmt.Errorf("%s: %w", src.at(0), err))
		return
	}
	l.note(u.setting.key, l.hold(u.setting, v, src, 0))
}

// hold merges one contribution into what is known of the setting. Defaults are not merged: they stand aside.
func (l *loader) hold(set *setting, v reflect.Value, src source, line int) error {
	if set.sockaddr != "" && set.isList() {
		expanded, err := expandList(set, v, src.at(line))
		if err != nil {
			return err
		}
		v = expanded
	}
	at := src.at(line)
	h := l.held[set.key]
	if h == nil {
		l.held[set.key] = &held{val: v, origins: []string{at}}
		return nil
	}
	h.val = merged(h.val, v)
	if set.isList() || set.isMap() {
		h.origins = append(h.origins, at)
	} else {
		h.origins = []string{at}
	}
	return nil
}

// finish adds defaults, expands templates and fills the structs.
func (l *loader) finish() {
	for _, set := range l.schema.order {
		v, origin, err := l.value(set)
		if err != nil {
			l.note(set.key, err)
			continue
		}
		if origin != "" {
			l.out.origins[set.key] = origin
		}
		for _, f := range set.fields {
			f.Set(v)
		}
	}
}

func (l *loader) value(set *setting) (v reflect.Value, origin string, err error) {
	if h := l.held[set.key]; h != nil {
		v, origin = h.val, strings.Join(h.origins, ", ")
	} else {
		t := set.def
		if l.out.Dev && set.dev != "" {
			t, origin = set.dev, "-dev"
		}
		v, err = set.defaultValue(t)
	}
	if err == nil && set.sockaddr != "" && v.Kind() == reflect.String {
		v, err = expandScalar(set, v, l.where(origin))
	}
	return v, origin, err
}

func (l *loader) where(origin string) string {
	if origin == "" {
		return "default"
	}
	return origin
}

func (l *loader) warn(src source, line int, text string) {
	l.out.Warnings = append(l.out.Warnings, src.at(line)+": "+text)
}
