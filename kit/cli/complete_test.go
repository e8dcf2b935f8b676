package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestInstallPath: what bash would not take as one word is refused.
func TestInstallPath(t *testing.T) {
	for path, plain := range map[string]bool{"/usr/local/bin/consul": true, "/opt/consul-1.2_3+x/consul": true,
		"/my programs/consul": false, "/it's/consul": false, "/$x/consul": false, "/a;b/consul": false} {
		if plainPath.MatchString(path) != plain {
			t.Errorf("%s: %v, want %v", path, !plain, plain)
		}
	}
}

// completeVerbs are testVerbs and one that reads its own flags.
func completeVerbs() []Verb {
	return append(testVerbs(),
		Verb{Path: "agent", Summary: "Runs", Help: "Runs.\n\n  -dev\n     for -x\n\n  -data-dir=<value>\n     a place\n", Raw: func(*Call) int { return 0 }})
}

// TestComplete asks like bash's complete -C does: COMP_LINE up to COMP_POINT.
func TestComplete(t *testing.T) {
	for line, want := range map[string]string{
		"rostra ":                           "agent fail kv members version",
		"rostra m":                          "members",
		"rostra k":                          "kv",
		"rostra kv":                         "kv",
		"rostra kv ":                        "get put",
		"rostra kv p":                       "put",
		"rostra kv get ":                    "",
		"rostra kv get -":                   "-count -detailed -name",
		"rostra kv get --de":                "--detailed",
		"rostra kv get -detailed -":         "-count -detailed -name",
		"rostra kv get -count -":            "", // its value
		"rostra kv get -count=3 -n":         "-name",
		"rostra kv get -count 3 -n":         "-name",
		"rostra kv get x -n":                "", // flags end at the first argument
		"rostra kv get -- -n":               "",
		"rostra kv nope ":                   "",
		"rostra kv -":                       "",
		"rostra nope ":                      "",
		"rostra -":                          "-autocomplete-install -autocomplete-uninstall -help -version",
		"rostra --h":                        "--help",
		"rostra agent -d":                   "-data-dir -dev",
		"rostra mesh ":                      "",
		"rostra  kv\tget   -d":              "-detailed",
		"/usr/bin/consul members -detailed": "-detailed",
		"rostra":                            "agent fail kv members version",
		" ":                                 "",
	} {
		var out, errs bytes.Buffer
		env := func(name string) string { return map[string]string{"COMP_LINE": line}[name] }
		code := Main("rostra", completeVerbs(), []string{"rostra", "kv", "kv"}, nil, &out, &errs, env)
		if got := strings.Join(strings.Fields(out.String()), " "); got != want || code != 0 || errs.Len() > 0 {
			t.Errorf("%q: %q, exit %d, %s; want %q", line, got, code, &errs, want)
		}
	}
	// What is right of the cursor does not count; a point that is none does not hurt.
	for point, want := range map[string]string{"8": "kv\n", "99": "put\n", "x": "put\n", "-1": "put\n"} {
		var out bytes.Buffer
		env := func(name string) string {
			return map[string]string{"COMP_LINE": "rostra kv pu", "COMP_POINT": point}[name]
		}
		if code := Main("rostra", completeVerbs(), nil, nil, &out, nil, env); code != 0 || out.String() != want {
			t.Errorf("point %s: exit %d, %q, want %q", point, code, out.String(), want)
		}
	}
}

// FuzzComplete checks that no line makes it panic, and that what it offers begins as the last word does.
func FuzzComplete(f *testing.F) {
	f.Add("rostra kv get -co")
	f.Add("rostra kv get -count ")
	f.Add("\t-")
	tree := &tree{name: "rostra", verbs: completeVerbs()}
	f.Fuzz(func(t *testing.T, line string) {
		for _, got := range tree.completions(line) {
			if words := strings.Fields(line); len(words) > 1 && strings.HasSuffix(line, words[len(words)-1]) && !strings.HasPrefix(got, words[len(words)-1]) {
				t.Errorf("%q offers %q", line, got)
			}
		}
	})
}

// installed runs a flag with a home directory and returns what it printed and the exit code.
func installed(home, shell string, args ...string) (string, int) {
	var out bytes.Buffer
	env := func(name string) string { return map[string]string{"HOME": home, "SHELL": shell}[name] }
	code := Main("consul", testVerbs(), args, nil, &out, &out, env)
	if home == "" {
		return out.String(), code
	}
	return strings.ReplaceAll(out.String(), home, "~"), code
}

func TestInstall(t *testing.T) {
	program, err := exec.LookPath(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	file := func(name string) string {
		b, _ := os.ReadFile(filepath.Join(home, name))
		return strings.ReplaceAll(string(b), program, "PROGRAM")
	}
	if out, code := installed(home, "/bin/dash", "-autocomplete-install"); code != 1 || !strings.HasPrefix(out, "no shell found: ") {
		t.Errorf("nothing there: exit %d, %s", code, out)
	}
	if out, code := installed("", "", "-autocomplete-install"); code != 1 || !strings.HasPrefix(out, "HOME is not set") {
		t.Errorf("no home: exit %d, %s", code, out)
	}
	// Only those shells that are there; a last line without newline stays whole; Consul's own line is replaced.
	const rest = "alias x=y\ncomplete -C /usr/bin/consul-template consul-template\n# the end"
	if err := os.WriteFile(filepath.Join(home, ".bashrc"), []byte("complete -C /usr/bin/consul consul\n"+rest), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(home, ".config", "fish"), 0o700); err != nil {
		t.Fatal(err)
	}
	const fish = "~/.config/fish/completions/consul.fish"
	for _, step := range []struct{ flag, out string }{
		{"-autocomplete-install", "Completion is now on in ~/.bashrc, for new shells\nCompletion is now on in " + fish + ", for new shells\n"},
		{"--autocomplete-install", "Completion was on already in ~/.bashrc\nCompletion was on already in " + fish + "\n"},
	} {
		if out, code := installed(home, "", step.flag); code != 0 || out != step.out {
			t.Errorf("%s: exit %d\n%s", step.flag, code, out)
		}
		if got, want := file(".bashrc"), rest+"\ncomplete -o default -C PROGRAM consul\n"; got != want {
			t.Errorf("bash: %s\nwant %s", got, want)
		}
		if got := file(strings.TrimPrefix(fish, "~/")); !strings.Contains(got, "env COMP_LINE=\"$line\" PROGRAM)") || !strings.HasSuffix(got, "complete -c consul -f -a '(__complete_consul)'\n") {
			t.Errorf("fish: %s", got)
		}
	}
	if info, err := os.Stat(filepath.Join(home, ".bashrc")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// $SHELL has its file made.
	if out, code := installed(home, "/usr/bin/zsh", "-autocomplete-install"); code != 0 || !strings.Contains(out, "now on in ~/.zshrc") {
		t.Errorf("zsh: exit %d, %s", code, out)
	}
	if got := file(".zshrc"); !strings.HasSuffix(got, "bashcompinit && complete -o default -C PROGRAM consul\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("zsh: %s", got)
	}
	for _, step := range []string{"off in ~/.bashrc, for new", "was off already in ~/.bashrc"} {
		if out, code := installed(home, "", "-autocomplete-uninstall"); code != 0 || !strings.Contains(out, step) {
			t.Errorf("uninstall: exit %d, %s, want %s", code, out, step)
		}
		if got := file(".bashrc"); got != rest+"\n" || file(".zshrc") != "" || file(strings.TrimPrefix(fish, "~/")) != "" {
			t.Errorf("left: %s\n%s", got, file(".zshrc"))
		}
	}
}
