package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// shell is a place where completion is switched on: a line of a file that the shell reads when it starts, or a file of
// its own.
type shell struct {
	name string
	file string // absolute
	own  bool   // the file holds nothing else
	text string // what is to stand there, with its last newline
}

// shells returns where the completion of a program belongs: for each shell whose files are there, and for the one that
// $SHELL names.
func shells(call *Call, program string) []shell {
	home, uses := call.Env("HOME"), filepath.Base(call.Env("SHELL"))
	exists := func(path string) bool { _, err := os.Stat(path); return err == nil }
	var list []shell
	add := func(s shell, there bool) {
		if there || uses == s.name {
			list = append(list, s)
		}
	}
	complete := fmt.Sprintf("complete -o default -C %s %s\n", program, call.Name)
	bash := filepath.Join(home, ".bashrc")
	if login := filepath.Join(home, ".bash_profile"); !exists(bash) && exists(login) {
		bash = login
	}
	add(shell{"bash", bash, false, complete}, exists(bash))
	zsh := filepath.Join(home, ".zshrc")
	add(shell{"zsh", zsh, false, "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }; " +
		"autoload -U +X bashcompinit && bashcompinit && " + complete}, exists(zsh))
	config := call.Env("XDG_CONFIG_HOME")
	if config == "" {
		config = filepath.Join(home, ".config")
	}
	fish := filepath.Join(config, "fish")
	add(shell{"fish", filepath.Join(fish, "completions", call.Name+".fish"), true, fmt.Sprintf(fishText, call.Name, program)}, exists(fish))
	return list
}

// fishText speaks complete -C in fish: %[1]s is the program's name, %[2]s its path.
const fishText = `function __complete_%[1]s
    set -l line (commandline -cp)
    set -l word (commandline -ct)
    test -z "$word"; and set line "$line "
    set -l found (env COMP_LINE="$line" %[2]s)
    if test (count $found) -gt 0
        printf '%%s\n' $found
    else
        __fish_complete_path "$word"
    end
end
complete -c %[1]s -f -a '(__complete_%[1]s)'
`

// plainPath is a path that no shell takes for anything else.
var plainPath = regexp.MustCompile(`^[\w./+-]+$`)

// install switches completion on in the files of the user's shells, or off, and returns the exit code. What is so
// already is left as it is.
func install(call *Call, on bool) int {
	program, err := exec.LookPath(os.Args[0])
	if err == nil {
		program, err = filepath.Abs(program)
	}
	if err != nil {
		return call.Fail("cannot find this program: %v", err)
	}
	if !plainPath.MatchString(program) {
		return call.Fail("cannot have %s complete: shells would read its path as several words; move it", program)
	}
	if call.Env("HOME") == "" {
		return call.Fail("HOME is not set: it says where the files of your shells are")
	}
	list := shells(call, program)
	if len(list) == 0 {
		return call.Fail("no shell found: none of ~/.bashrc, ~/.bash_profile, ~/.zshrc and ~/.config/fish is there, and SHELL is neither bash, zsh nor fish")
	}
	code := 0
	for _, s := range list {
		text := s.text
		if !on {
			text = ""
		}
		changed, err := s.put(call.Name, text)
		switch {
		case err != nil:
			code = call.Fail("cannot change the completion of %s: %v", s.name, err)
		case changed && on:
			call.Say("Completion is now on in %s, for new shells", s.file)
		case changed:
			call.Say("Completion is now off in %s, for new shells", s.file)
		case on:
			call.Say("Completion was on already in %s", s.file)
		default:
			call.Say("Completion was off already in %s", s.file)
		}
	}
	return code
}

// put makes text what the file says of completing the named program, "" that it says nothing, and says whether that
// changed the file. A line that another version of the program wrote, Consul's too, is replaced.
func (s shell) put(name, text string) (changed bool, err error) {
	b, err := os.ReadFile(s.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	old := string(b)
	if s.own {
		switch {
		case old == text:
			return false, nil
		case text == "":
			return true, os.Remove(s.file)
		}
		if err := os.MkdirAll(filepath.Dir(s.file), 0o755); err != nil {
			return false, err
		}
		return true, os.WriteFile(s.file, []byte(text), 0o644)
	}
	if lines := ours(name).FindAllString(old, -1); text != "" && len(lines) == 1 && lines[0] == text {
		return false, nil
	}
	kept := ours(name).ReplaceAllString(old, "")
	if kept != "" && !strings.HasSuffix(kept, "\n") && text != "" {
		kept += "\n"
	}
	if kept += text; kept == old {
		return false, nil
	}
	// Not by a new file with the same name: these are often links.
	return true, os.WriteFile(s.file, []byte(kept), 0o644)
}

// ours matches a whole line that has a program complete its own command line.
func ours(name string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)^.*\bcomplete (-o \w+ )*-C \S.* ` + regexp.QuoteMeta(name) + `[ \t]*(\n|\z)`)
}
