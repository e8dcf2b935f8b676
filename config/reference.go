package config

import (
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"

	"rostra/kit/tree"
)

// Reference returns the documentation of all keys in Markdown: a table of those that the settings obey, and a list of
// what becomes of Consul's others.
func Reference(settings ...any) string {
	s, err := newSchema(settings)
	if err != nil {
		panic(err)
	}
	var b strings.Builder
	b.WriteString("| Key | Type | Flag | Default | With `-dev` | Reload | |\n|---|---|---|---|---|---|---|\n")
	sets := slices.Clone(s.order)
	sort.Slice(sets, func(i, j int) bool { return sets[i].key < sets[j].key })
	for _, set := range sets {
		reload := ""
		if set.reload {
			reload = "yes"
		}
		flags := ""
		for _, f := range set.flags {
			flags = strings.TrimPrefix(flags+", `-"+f+"`", ", ")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s |\n", set.key, typeName(set.typ), flags, code(set.def), code(set.dev), reload, set.help)
	}
	for _, o := range outcomes {
		var keys []string
		for _, key := range sorted(table) {
			if table[key].outcome == o.outcome && s.byKey[key] == nil {
				keys = append(keys, "`"+key+"`")
			}
		}
		if len(keys) > 0 {
			fmt.Fprintf(&b, "\n%s: %s.\n", o.title, strings.Join(keys, ", "))
		}
	}
	return b.String()
}

var outcomes = []struct {
	outcome outcome
	title   string
}{
	{notYet, "Refused by name until this version supports them, unless they ask for what it does anyway"},
	{guarded, "Refused because who sets them relies on being protected"},
	{fixed, "Refused but for the value that they have anyway"},
	{segmented, "Refused, as by Consul's community edition"},
	{unopened, "Accepted with a warning, the port is not opened"},
	{ignored, "Accepted with a warning, without effect"},
	{mesh, "Accepted with a warning, of the service mesh"},
	{enterprise, "Accepted with a warning, of Consul Enterprise"},
}

// Usage returns the text of -help: every flag with its type, what it sets and its default.
func Usage(settings ...any) string {
	s, err := newSchema(settings)
	if err != nil {
		panic(err)
	}
	lines := map[string]string{}
	for name, help := range ownFlags {
		arg := "=<value>"
		if name == "dev" {
			arg = ""
		}
		lines[name] = flagHelp(name+arg, help)
	}
	for _, set := range s.order {
		for i, name := range set.flags {
			if i > 0 {
				lines[name] = flagHelp(name, "the same as -"+set.flags[0])
				continue
			}
			arg := "=<" + typeName(set.typ) + ">"
			switch {
			case set.isBool():
				arg = ""
			case set.isList():
				arg = "=<value>"
			case set.isMap():
				arg = "=<key:value>"
			}
			help := set.help
			if set.def != "" {
				help += " (default " + set.def + ")"
			}
			if set.isList() || set.isMap() {
				help += "; may be given several times"
			}
			lines[name] = flagHelp(name+arg, help)
		}
	}
	var b strings.Builder
	for _, name := range sorted(lines) {
		b.WriteString(lines[name])
	}
	return b.String()
}

func flagHelp(head, help string) string {
	return fmt.Sprintf("  -%s\n     %s\n\n", head, strings.TrimSpace(help))
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func typeName(t reflect.Type) string {
	switch {
	case t == tree.DurationType:
		return "duration"
	case t == definitionsType:
		return "list of objects"
	case t == rawType:
		return "object"
	case t.Kind() == reflect.Pointer:
		return typeName(t.Elem())
	case t.Kind() == reflect.Slice:
		return "list"
	case t.Kind() == reflect.Map:
		return "map of " + typeName(t.Elem())
	case t.Kind() == reflect.Bool:
		return "bool"
	case t.Kind() == reflect.String:
		return "string"
	case t.Kind() == reflect.Float64:
		return "number"
	}
	return "int"
}
