package local

import (
	"os"
	"path/filepath"
	"syscall"

	"rostra/kit/fault"
)

// mayRunScript says whether a script check of this origin may run. Over HTTP it needs enable_script_checks. From a file
// it runs if enable_local_script_checks (or enable_script_checks) says so, or, with both unset, if nobody but root and
// the agent's own user can change the file or a folder above it: then whoever wrote it could have run it anyway.
func (s *Settings) mayRunScript(from source, where string) error {
	if from == fromHTTP {
		if s.EnableScripts == nil || !*s.EnableScripts {
			return fault.New(fault.Refused, "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true")
		}
		return nil
	}
	switch {
	case s.EnableLocalScripts != nil:
		if !*s.EnableLocalScripts {
			return fault.New(fault.Refused, "%s: scripts in configuration files are disabled: 'enable_local_script_checks' is false; set it to true to run this one", where)
		}
		return nil
	case s.EnableScripts != nil:
		if !*s.EnableScripts {
			return fault.New(fault.Refused, "%s: scripts are disabled: 'enable_script_checks' is false; set it or 'enable_local_script_checks' to true to run this one", where)
		}
		return nil
	}
	if bad := writableByOthers(where, os.Geteuid()); bad != "" {
		return fault.New(fault.Refused, "%s: this script is not run, because %s can be written by others than root and the agent's user; make it safe or set 'enable_local_script_checks' to true", where, bad)
	}
	return nil
}

// writableByOthers returns the first of the file and the folders above it that somebody other than root and user can
// write, "" if there is none. A folder with the sticky bit is safe: in it only owners replace what is theirs.
func writableByOthers(file string, user int) string {
	path, err := filepath.Abs(file)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return file
	}
	for {
		info, err := os.Lstat(path)
		if err != nil {
			return path
		}
		owner := int(info.Sys().(*syscall.Stat_t).Uid)
		sticky := info.IsDir() && info.Mode()&os.ModeSticky != 0
		if (owner != 0 && owner != user) || (info.Mode().Perm()&0o022 != 0 && !sticky) {
			return path
		}
		up := filepath.Dir(path)
		if up == path {
			return ""
		}
		path = up
	}
}
