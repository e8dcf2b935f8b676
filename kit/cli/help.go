package cli

import (
	"flag"
	"fmt"
	"strings"
)

// helpWidth is where the prose of help texts is broken: what a narrow terminal shows.
const helpWidth = 80

// usage is the help of the whole program.
func (t *tree) usage() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n", t.name)
	t.list(&b, "")
	return b.String()
}

// group is the help of a word that only leads to others.
func (t *tree) group(path string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s %s <subcommand> [options] [args]\n", t.name, path)
	if v := t.verb(path); v != nil {
		t.prose(&b, v.Help)
	}
	b.WriteString("\nSubcommands:\n\n")
	t.list(&b, path)
	return b.String()
}

// list writes the words below a path with their summaries.
func (t *tree) list(b *strings.Builder, path string) {
	words := t.below(path)
	width := 0
	for _, w := range words {
		width = max(width, len(w))
	}
	for _, w := range words {
		summary := ""
		if v := t.verb(strings.TrimSpace(path + " " + w)); v != nil {
			summary = v.Summary
		}
		b.WriteString(strings.TrimRight(fmt.Sprintf("    %-*s    %s", width, w, summary), " ") + "\n")
	}
}

// help is the help of one verb: usage, prose, then its flags, those of the connection apart.
func (t *tree) help(v *Verb) string {
	var b strings.Builder
	b.WriteString(strings.TrimRight(fmt.Sprintf("Usage: %s %s %s", t.name, v.Path, v.Usage), " ") + "\n")
	t.prose(&b, v.Help)
	if v.Raw != nil {
		return b.String()
	}
	set, _ := declare(v)
	var shared, own []*flag.Flag
	set.VisitAll(func(f *flag.Flag) {
		if _, ok := f.Value.(connectionFlag); ok {
			shared = append(shared, f)
		} else {
			own = append(own, f)
		}
	})
	writeFlags(&b, "HTTP API Options", shared)
	writeFlags(&b, "Command Options", own)
	return b.String()
}

// prose writes a text indented by two, naming the program as it was called.
func (t *tree) prose(b *strings.Builder, text string) {
	text = strings.TrimSpace(strings.ReplaceAll(text, "{name}", t.name))
	if text == "" {
		return
	}
	b.WriteString("\n")
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteString(strings.TrimRight("  "+line, " ") + "\n")
	}
}

// writeFlags writes a titled list of flags in Consul's layout.
func writeFlags(b *strings.Builder, title string, flags []*flag.Flag) {
	if len(flags) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", title)
	for _, f := range flags {
		value, text := flag.UnquoteUsage(f)
		if isBool(f) {
			fmt.Fprintf(b, "\n  -%s\n", f.Name)
		} else {
			fmt.Fprintf(b, "\n  -%s=<%s>\n", f.Name, value)
		}
		writeWrapped(b, "     ", text)
	}
}

// writeWrapped writes words on lines no wider than helpWidth, each after the indent.
func writeWrapped(b *strings.Builder, indent, text string) {
	line := indent
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > helpWidth && line != indent {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
}
