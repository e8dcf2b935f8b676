package cli

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testVerbs is a small program: a verb that shows what it got, in a group and at the top.
func testVerbs() []Verb {
	show := func(set *flag.FlagSet) func(*Call) int {
		detailed := set.Bool("detailed", false, "Show more.")
		count := set.Int("count", 1, "A `number` of things.")
		name := set.String("name", "", "A name.")
		return func(c *Call) int {
			if c.TooMany(2) {
				return 1
			}
			c.Say("detailed=%v count=%d name=%s args=%q", *detailed, *count, *name, c.Args)
			return 0
		}
	}
	return []Verb{
		{Path: "kv", Summary: "Key things", Help: "All about keys:\n\n    $ {name} kv get x"},
		{Path: "kv get", Summary: "Reads", Usage: "[options] KEY", Help: "Reads with {name}.", Flags: show},
		{Path: "kv put", Summary: "Writes", Usage: "[options] KEY [DATA]", Flags: show, Also: []string{"kv set", "write"}},
		{Path: "kv sync", Absent: "use {name} kv put"},
		{Path: "mesh", Absent: "there is none"},
		{Path: "members", Summary: "Lists", Usage: "[options]", Flags: show},
		{Path: "version", Summary: "Tells", Flags: func(*flag.FlagSet) func(*Call) int {
			return func(c *Call) int { c.Say("v1"); return 0 }
		}},
		{Path: "fail", Summary: "Fails", Flags: func(*flag.FlagSet) func(*Call) int {
			return func(c *Call) int { return 2 }
		}},
	}
}

func run(args ...string) (out, errs string, code int) {
	var o, e bytes.Buffer
	code = Main("rostra", testVerbs(), args, strings.NewReader(""), &o, &e, func(string) string { return "" })
	return o.String(), e.String(), code
}

const topHelp = `Usage: rostra [--version] [--help] <command> [<args>]

Available commands are:
    fail       Fails
    kv         Key things
    members    Lists
    version    Tells
`

const groupHelp = `Usage: rostra kv <subcommand> [options] [args]

  All about keys:

      $ rostra kv get x

Subcommands:

    get    Reads
    put    Writes
`

const verbHelp = `Usage: rostra kv get [options] KEY

  Reads with rostra.

Command Options

  -count=<number>
     A number of things.

  -detailed
     Show more.

  -name=<string>
     A name.
`

func TestMainFindsVerbs(t *testing.T) {
	for _, test := range []struct {
		args      string
		code      int
		out, errs string
	}{
		{"kv get", 0, "detailed=false count=1 name= args=[]\n", ""},
		{"kv get -detailed a b", 0, "detailed=true count=1 name= args=[\"a\" \"b\"]\n", ""},
		{"kv get --count=3 -name x -detailed=F a", 0, "detailed=false count=3 name=x args=[\"a\"]\n", ""},
		{"kv get -count 3 -count 4", 0, "detailed=false count=4 name= args=[]\n", ""},
		{"kv get -- -detailed", 0, "detailed=false count=1 name= args=[\"-detailed\"]\n", ""},
		{"kv get -- -h", 0, "detailed=false count=1 name= args=[\"-h\"]\n", ""},
		{"kv put a -detailed", 0, "detailed=false count=1 name= args=[\"a\" \"-detailed\"]\n", ""},
		{"fail", 2, "", ""},
		{"-v", 0, "v1\n", ""}, {"-version", 0, "v1\n", ""}, {"--version", 0, "v1\n", ""}, {"version", 0, "v1\n", ""},
		{"–version", 0, "v1\n", ""},

		{"", 127, "", topHelp},
		{"-h", 0, topHelp, ""}, {"--help", 0, topHelp, ""}, {"-help", 0, topHelp, ""}, {"help", 0, topHelp, ""},
		{"nope", 127, "", topHelp + "\nUnknown command: nope\n"},
		{"nope -h", 127, "", topHelp + "\nUnknown command: nope\n"},
		{"mebmers", 127, "", topHelp + "\nUnknown command: mebmers\nDid you mean \"rostra members\"?\n"},
		{"get x", 127, "", topHelp + "\nUnknown command: get\nDid you mean \"rostra kv get\"?\n"},
		{"-x", 127, "", topHelp + "\nUnknown flag: -x\n"},
		{"write x", 127, "", topHelp + "\nUnknown command: write\nDid you mean \"rostra kv put\"?\n"},
		{"gett x", 127, "", topHelp + "\nUnknown command: gett\nDid you mean \"rostra kv get\"?\n"},
		{"-detailed=1 -name x kv get", 1, "", "Flags must come after the command: rostra kv get -detailed=1\n"},
		{"-name x kv get", 1, "", "Flags must come after the command: rostra kv get -name\n"},
		{"-detailed kv get", 1, "", "Flags must come after the command: rostra kv get -detailed\n"},

		{"kv", 1, "", groupHelp},
		{"kv -h", 0, groupHelp, ""}, {"-h kv", 0, groupHelp, ""}, {"help kv", 0, groupHelp, ""},
		{"kv gte a", 1, "", groupHelp + "\nUnknown command: kv gte\nDid you mean \"rostra kv get\"?\n"},
		{"kv -x", 1, "", groupHelp + "\nUnknown flag: -x\n"},
		{"kv -put", 1, "", groupHelp + "\nUnknown flag: -put\nDid you mean \"rostra kv put\"?\n"},
		{"kv set a", 1, "", groupHelp + "\nUnknown command: kv set\nDid you mean \"rostra kv put\"?\n"},
		{"kv -detailed get a", 1, "", groupHelp + "\nUnknown flag: -detailed\nFlags must come after the command: rostra kv get -detailed\n"},
		{"kv -name x get a", 1, "", groupHelp + "\nUnknown flag: -name\nFlags must come after the command: rostra kv get -name\n"},

		{"mesh", 1, "", "\"rostra mesh\" is not supported: there is none\n"},
		{"mesh token list -x", 1, "", "\"rostra mesh\" is not supported: there is none\n"},
		{"mesh -h", 1, "", "\"rostra mesh\" is not supported: there is none\n"},
		{"kv sync a", 1, "", "\"rostra kv sync\" is not supported: use rostra kv put\n"},
		{"kv snyc", 1, "", groupHelp + "\nUnknown command: kv snyc\n"},

		{"kv get -h", 0, verbHelp, ""}, {"kv -help get", 0, verbHelp, ""}, {"kv get a --help b", 0, verbHelp, ""},
		{"kv get –h", 0, verbHelp, ""}, {"kv get —help", 0, verbHelp, ""}, {"help kv get", 0, verbHelp, ""},
		{"kv get -count x", 1, "", "invalid value \"x\" for flag -count: parse error\n\n" + verbHelp},
		{"kv get -detailed=x", 1, "", "invalid boolean value \"x\" for -detailed: parse error\n\n" + verbHelp},
		{"kv get -count", 1, "", "flag needs an argument: -count\n\n" + verbHelp},
		{"kv get -detaild", 1, "", "flag provided but not defined: -detaild\nDid you mean -detailed?\n\n" + verbHelp},
		{"kv get -zzzzz", 1, "", "flag provided but not defined: -zzzzz\n\n" + verbHelp},
		{"kv get ---x", 1, "", "bad flag syntax: ---x\n\n" + verbHelp},
		{"kv get -=x", 1, "", "bad flag syntax: -=x\n\n" + verbHelp},
		{"kv get a b c", 1, "", "Too many arguments (expected 2, got 3)\n"},
		{"kv get a b -detailed", 1, "", "Too many arguments (expected 2, got 3)\nFlags must come before the arguments: -detailed\n"},
	} {
		t.Run(test.args, func(t *testing.T) {
			out, errs, code := run(strings.Fields(test.args)...)
			if code != test.code || out != test.out || errs != test.errs {
				t.Errorf("exit %d, out:\n%s\nerr:\n%s\nwant %d, out:\n%s\nerr:\n%s", code, out, errs, test.code, test.out, test.errs)
			}
		})
	}
}

func TestTypographicDashes(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"–detailed —count=3 a", `detailed=true count=3 name= args=["a"]`},
		{"——count 3 -–detailed", `detailed=true count=3 name= args=[]`},
		{"–x a", `detailed=false count=1 name= args=["–x" "a"]`},                  // no flag of the verb: literal
		{"a –detailed", `detailed=false count=1 name= args=["a" "–detailed"]`},    // after the first argument: literal
		{"-name –detailed a", `detailed=false count=1 name=–detailed args=["a"]`}, // the value of a flag: literal
		{"-- –detailed", `detailed=false count=1 name= args=["–detailed"]`},
		{"– —", `detailed=false count=1 name= args=["–" "—"]`},
	} {
		out, errs, code := run(append([]string{"kv", "put"}, strings.Fields(test.args)...)...)
		if code != 0 || out != test.want+"\n" {
			t.Errorf("%s: exit %d\n%s%swant %s", test.args, code, out, errs, test.want)
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestUnwrittenResultIsAnError(t *testing.T) {
	var errs bytes.Buffer
	code := Main("rostra", testVerbs(), []string{"version"}, nil, fullDisk{}, &errs, os.Getenv)
	if code != 1 || errs.String() != "cannot write the result: no space left on device\n" {
		t.Errorf("exit %d: %q", code, errs.String())
	}
}

func TestData(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string]string{
		"-": "from stdin\n", "@" + file: "text\n", "-abc": "-abc", "": "", "a@b": "a@b", "–x": "–x",
	} {
		c := &Call{In: strings.NewReader("from stdin\n")}
		if got, err := c.Data(arg); err != nil || string(got) != want {
			t.Errorf("Data(%q) = %q, %v, want %q", arg, got, err, want)
		}
	}
	if _, err := (&Call{}).Data("@" + file + ".none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestRepeatedFlags(t *testing.T) {
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(new(bytes.Buffer))
	var list List
	var pairs Pairs
	set.Var(&list, "tag", "")
	set.Var(&pairs, "meta", "")
	if err := set.Parse([]string{"-tag", "b", "-tag=a,c", "-meta", "k=v=w", "-meta=a=", "-meta", "a=2"}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(list.String(), " ", pairs.String()); got != "b,a,c a=2,k=v=w" {
		t.Error(got)
	}
	for _, bad := range []string{"k", "=v"} {
		if set.Parse([]string{"-meta", bad}) == nil {
			t.Errorf("-meta %s was taken", bad)
		}
	}
}

func TestTables(t *testing.T) {
	rows := [][]string{{"Node", "Address", "Tags"}, {"süd-1", "10.0.0.1:8301", ""}, {" n ", "x", "a b"}}
	want := "Node   Address        Tags\nsüd-1  10.0.0.1:8301  \nn      x              a b\n"
	if got := Columns(rows); got != want {
		t.Errorf("columns:\n%q\nwant\n%q", got, want)
	}
	if got := Columns(nil); got != "" {
		t.Errorf("no rows: %q", got)
	}
	var b bytes.Buffer
	if err := Tabs(&b, [][]string{{"consul", ""}, {"web", "v1,v2"}}); err != nil {
		t.Fatal(err)
	}
	if want := "consul      \nweb         v1,v2\n"; b.String() != want {
		t.Errorf("tabs:\n%q\nwant\n%q", b.String(), want)
	}
}

func TestNearest(t *testing.T) {
	for typed, want := range map[string]string{
		"gte": "get", "delet": "delete", "putt": "put", "xyz": "", "": "", "improt": "import", "snap": "",
	} {
		if got := nearest(typed, []string{"get", "put", "delete", "export", "import", "snapshot"}); got != want {
			t.Errorf("nearest(%q) = %q, want %q", typed, got, want)
		}
	}
}
