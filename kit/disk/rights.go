package disk

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks bounds the symbolic links followed on the way to a file, as the kernel does.
const maxLinks = 40

// ChangeableByOthers returns the first thing on the way to the file, folders, symbolic links and the file itself, that
// somebody other than root and user can change; "" if there is none. The way is walked link by link as the kernel walks
// it: who can replace a link decides what is read. A folder with the sticky bit is safe, because in it only owners
// replace what is theirs, and each thing's owner is looked at. What cannot be looked at counts as unsafe.
func ChangeableByOthers(file string, user int) string {
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
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != 0 && owner != user {
		return false
	}
	mode := info.Mode()
	sticky := mode.IsDir() && mode&os.ModeSticky != 0
	return mode&os.ModeSymlink != 0 || mode.Perm()&0o022 == 0 || sticky
}
