// Package cli is the command-line kit: a tree of verbs ("kv get") given as plain data, parsed with the standard flag
// package, with help, suggestions, the connection flags that every verb talking HTTP shares, and the two table layouts
// of Consul's tools. Features list their verbs in cli.go; the program's main hands them all to Main.
package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// Verb is one command, or, when Flags, Raw and Absent are unset, the description of a group of commands.
type Verb struct {
	// Path is the words that call it: "kv get".
	Path string
	// Summary is the line that lists show.
	Summary string
	// Usage is what follows the path in the first line of help: "[options] KEY [DATA]".
	Usage string
	// Help is the text under that line. "{name}" stands for the program's name as it was called.
	Help string
	// Flags declares the verb's flags and returns what runs, with its exit code, once they are parsed. It is called
	// once per run and also to print help, so it must do nothing else.
	Flags func(*flag.FlagSet) func(*Call) int
	// Raw runs a verb that reads its own flags; Call.Args is all that follows the path. Help then describes them, each on
	// an indented line that begins with "-name", from which completion takes them.
	Raw func(*Call) int
	// Also are whole paths that people try instead: "kv list". They are answered with a suggestion.
	Also []string
	// Absent says why the program lacks a command that people will look for, and what to do. Such a command is in no
	// list; whoever calls it, or a word below it, is told and gets the exit code of an error.
	Absent string
}

// Call is one run of a verb: what it was given and where it writes. It is used by one goroutine.
type Call struct {
	// Name is the program's name as it was called: rostra or consul.
	Name string
	// Args is what is left after the flags.
	Args []string
	// In is standard input.
	In io.Reader
	// Out takes results, Err errors and warnings. Both may be written from several goroutines if the program's may.
	Out, Err io.Writer
	// Env looks up an environment variable; "" if unset.
	Env func(string) string
}

// Fail prints one line on Err and returns 1, the exit code of an error.
func (c *Call) Fail(format string, args ...any) int {
	fmt.Fprintf(c.Err, format+"\n", args...)
	return 1
}

// Say prints one line on Out.
func (c *Call) Say(format string, args ...any) {
	fmt.Fprintf(c.Out, format+"\n", args...)
}

// TooMany says whether more than max arguments were given, and then complains on Err. A flag among them gets the hint
// that parsing stops at the first argument, which is how most people get here.
func (c *Call) TooMany(max int) bool {
	if len(c.Args) <= max {
		return false
	}
	c.Fail("Too many arguments (expected %d, got %d)", max, len(c.Args))
	for _, a := range c.Args {
		if len(a) > 1 && a[0] == '-' {
			c.Fail("Flags must come before the arguments: %s", a)
			break
		}
	}
	return true
}

// Data returns the bytes an argument stands for: @path is that file, a lone - is standard input to its end, anything
// else is itself. Nothing is trimmed.
func (c *Call) Data(arg string) ([]byte, error) {
	switch {
	case arg == "-":
		b, err := io.ReadAll(c.In)
		if err != nil {
			return nil, fmt.Errorf("cannot read stdin: %w", err)
		}
		return b, nil
	case strings.HasPrefix(arg, "@"):
		b, err := os.ReadFile(arg[1:])
		if err != nil {
			return nil, fmt.Errorf("cannot read data: %w", err)
		}
		return b, nil
	}
	return []byte(arg), nil
}

// Exit codes that shells and scripts know.
const (
	exitError   = 1
	exitUnknown = 127
)

// Main finds the verb that args name, parses its flags and runs it. name is the program's name as it was called, args
// is without it. The answer is the exit code of the process. If the environment says that a shell asks how a command line
// may go on, that is answered instead (see complete.go).
func Main(name string, verbs []Verb, args []string, in io.Reader, out, errw io.Writer, env func(string) string) int {
	checked := &checkedWriter{w: out}
	t := &tree{name: name, verbs: verbs}
	call := &Call{Name: name, In: in, Out: checked, Err: errw, Env: env}
	code := 0
	if !t.complete(call) {
		code = t.run(call, args)
	}
	if err := checked.failed(); err != nil && code == 0 {
		return call.Fail("cannot write the result: %v", err)
	}
	return code
}

// run is Main without the watch over the output.
func (t *tree) run(call *Call, args []string) int {
	if len(args) > 0 && isFlag(args[0], "v", "version") {
		args = append([]string{"version"}, args[1:]...)
	}
	if on := len(args) == 1 && isFlag(args[0], "autocomplete-install"); on || len(args) == 1 && isFlag(args[0], "autocomplete-uninstall") {
		return install(call, on)
	}
	args, help := cutHelp(args)
	if len(args) > 0 && args[0] == "help" {
		args, help = args[1:], true
	}
	words, rest := t.match(args)
	path := strings.Join(words, " ")
	verb := t.verb(path)
	switch {
	case path == "":
		return t.top(call, rest, help)
	case verb != nil && verb.Absent != "":
		return call.Fail("\"%s %s\" is not supported: %s", t.name, path, strings.ReplaceAll(verb.Absent, "{name}", t.name))
	case verb == nil || verb.Flags == nil && verb.Raw == nil:
		if help && len(rest) == 0 {
			fmt.Fprint(call.Out, t.group(path))
			return 0
		}
		fmt.Fprint(call.Err, t.group(path))
		t.unknown(call, words, rest)
		return exitError
	case help:
		fmt.Fprint(call.Out, t.help(verb))
		return 0
	}
	if verb.Raw != nil {
		call.Args = rest
		return verb.Raw(call)
	}
	return t.start(call, verb, rest)
}

// top answers a command line that names no verb: help, with the exit code of an unknown command unless it was asked for.
func (t *tree) top(call *Call, rest []string, help bool) int {
	if help && len(rest) == 0 {
		fmt.Fprint(call.Out, t.usage())
		return 0
	}
	if late := t.afterFlags(nil, rest); late != "" {
		return call.Fail("Flags must come after the command: %s %s %s", t.name, late, rest[0])
	}
	fmt.Fprint(call.Err, t.usage())
	t.unknown(call, nil, rest)
	return exitUnknown
}

// start parses the flags of a verb and runs it.
func (t *tree) start(call *Call, verb *Verb, args []string) int {
	set, run := declare(verb)
	err := set.Parse(readDashes(set, args))
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(call.Out, t.help(verb))
		return 0
	}
	if err != nil {
		call.Fail("%v", err)
		if typed, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
			if near := nearest(typed, flagNames(set)); near != "" {
				call.Fail("Did you mean -%s?", near)
			}
		}
		call.Fail("\n%s", strings.TrimSuffix(t.help(verb), "\n"))
		return exitError
	}
	call.Args = set.Args()
	return run(call)
}

// declare returns the flag set of a verb and what it runs.
func declare(verb *Verb) (*flag.FlagSet, func(*Call) int) {
	set := flag.NewFlagSet(verb.Path, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	return set, verb.Flags(set)
}

// checkedWriter remembers the first error, so that a full disk behind a redirection is not taken for success.
type checkedWriter struct {
	w io.Writer

	mu  sync.Mutex // guards err
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil {
		c.mu.Lock()
		if c.err == nil {
			c.err = err
		}
		c.mu.Unlock()
	}
	return n, err
}

func (c *checkedWriter) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
