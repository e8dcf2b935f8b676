package local

import (
	"os"
	"path/filepath"
	"strings"

	"rostra/kit/disk"
	"rostra/kit/fault"
)

// fromFlag is how a definition's File names one that was given on the command line.
const fromFlag = "flag -"

// mayRunScript says whether a script check of this origin may run. Over HTTP it needs enable_script_checks. From a file
// it runs if enable_local_script_checks (or enable_script_checks) says so, or, with both unset, if nobody but root and
// the agent's own user can change the file or a folder on the way to it: then whoever wrote it could have run it anyway.
func (s *Settings) mayRunScript(from source, file string) error {
	if from == fromHTTP {
		if s.EnableScripts == nil || !*s.EnableScripts {
			return fault.New(fault.Refused, "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true")
		}
		return nil
	}
	switch {
	case s.EnableLocalScripts != nil:
		if !*s.EnableLocalScripts {
			return fault.New(fault.Refused, "scripts in configuration files are disabled, because 'enable_local_script_checks' is false; set it to true to run this one")
		}
		return nil
	case s.EnableScripts != nil:
		if !*s.EnableScripts {
			return fault.New(fault.Refused, "scripts are disabled, because 'enable_script_checks' is false; set it or 'enable_local_script_checks' to true to run this one")
		}
		return nil
	case strings.HasPrefix(file, fromFlag):
		return nil // who starts the agent can run the script
	}
	if bad := changeableByOthers(file, os.Geteuid()); bad != "" {
		return fault.New(fault.Refused, "this script is not run, because others than root and the agent's user can change %s; take their rights to it away, or set 'enable_local_script_checks' to true", bad)
	}
	return nil
}

// maxLinks bounds the symbolic links followed on the way to a file, as the kernel does.
const maxLinks = 40

// changeableByOthers returns the first thing on the way to the file, folders, symbolic links and the file itself, that
// somebody other than root and user can change; "" if there is none. The way is walked link by link as the kernel walks
// it: who can replace a link decides what is read. A folder with the sticky bit is safe, because in it only owners
// replace what is theirs, and each thing's owner is looked at. What cannot be looked at counts as unsafe.
func changeableByOthers(file string, user int) string {
	path, err := filepath.Abs(file)
	if err != nil {
		return file
	}
	done, todo := "/", strings.Split(strings.Trim(path, "/"), "/")
	if !safe(done, user) {
		return done
	}
	for links := 0; len(todo) > 0; {
		step := todo[0]
		todo = todo[1:]
		switch step {
		case "", ".":
			continue
		case "..":
			done = filepath.Dir(done) // done holds no links
			continue
		}
		next := filepath.Join(done, step)
		if !safe(next, user) {
			return next
		}
		target, err := os.Readlink(next)
		if err != nil { // no link
			done = next
			continue
		}
		if links++; links > maxLinks {
			return file
		}
		if filepath.IsAbs(target) {
			done = "/"
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return ""
}

// safe reports whether only root and user can change the one thing at path. A link's own mode means nothing.
func safe(path string, user int) bool {
	info, err := os.Lstat(path)
	if err != nil {
		return false
	}
	if owner := disk.Owner(info); owner != 0 && owner != user {
		return false
	}
	mode := info.Mode()
	sticky := mode.IsDir() && mode&os.ModeSticky != 0
	return mode&os.ModeSymlink != 0 || mode.Perm()&0o022 == 0 || sticky
}
