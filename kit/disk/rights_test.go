package disk

import (
	"os"
	"path/filepath"
	"testing"
)

// safeDir returns a folder that only this test's user can change, all the way up. The usual temporary folder is one
// with the sticky bit.
func safeDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if bad := ChangeableByOthers(dir, os.Geteuid()); bad != "" {
		t.Skipf("others can change %s on this machine", bad)
	}
	return dir
}

// stranger is a user who is neither root nor the agent.
const stranger = 54321

func chmod(mode os.FileMode, path string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		if err := os.Chmod(filepath.Join(dir, path), mode); err != nil {
			t.Fatal(err)
		}
	}
}

func chown(t *testing.T, path string) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	if err := os.Lchown(path, stranger, stranger); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, path string) {
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// ways are things done to the file a/b/f and the folders above it, and the first that is unsafe then.
var ways = []struct {
	name string
	do   func(t *testing.T, dir string)
	file string
	user int // 0: our own
	want string
}{
	{name: "plain", file: "a/b/f"},
	{name: "group may write the file", do: chmod(0o664, "a/b/f"), file: "a/b/f", want: "a/b/f"},
	{name: "others may write the file", do: chmod(0o602, "a/b/f"), file: "a/b/f", want: "a/b/f"},
	{name: "group may write the folder", do: chmod(0o770, "a/b"), file: "a/b/f", want: "a/b"},
	{name: "others may write a folder above", do: chmod(0o757, "a"), file: "a/b/f", want: "a"},
	{name: "sticky folder", do: chmod(0o777|os.ModeSticky, "a"), file: "a/b/f"},
	{name: "sticky file is no excuse", do: chmod(0o666|os.ModeSticky, "a/b/f"), file: "a/b/f", want: "a/b/f"},
	{name: "another's file", do: func(t *testing.T, dir string) { chown(t, filepath.Join(dir, "a/b/f")) }, file: "a/b/f", want: "a/b/f"},
	{name: "another's folder", do: func(t *testing.T, dir string) { chown(t, filepath.Join(dir, "a")) }, file: "a/b/f", want: "a"},
	{name: "the agent's user's file", do: func(t *testing.T, dir string) { chown(t, filepath.Join(dir, "a/b/f")) }, file: "a/b/f", user: stranger},
	{name: "another's file in a sticky folder", do: func(t *testing.T, dir string) {
		chmod(0o777|os.ModeSticky, "a/b")(t, dir)
		chown(t, filepath.Join(dir, "a/b/f"))
	}, file: "a/b/f", want: "a/b/f"},
	{name: "no such file", file: "a/b/none", want: "a/b/none"},
	{name: "through a link", do: func(t *testing.T, dir string) { link(t, "b/f", filepath.Join(dir, "a/l")) }, file: "a/l"},
	{name: "through links up and absolute", do: func(t *testing.T, dir string) {
		link(t, "../b/f", filepath.Join(dir, "a/b/up"))
		link(t, filepath.Join(dir, "a/b/up"), filepath.Join(dir, "a/l"))
	}, file: "a/l"},
	{name: "through a link in a folder of others", do: func(t *testing.T, dir string) {
		link(t, "../b/f", filepath.Join(dir, "a/open/l"))
		chmod(0o777, "a/open")(t, dir)
	}, file: "a/open/l", want: "a/open"},
	{name: "through another's link in a sticky folder", do: func(t *testing.T, dir string) {
		link(t, "../b/f", filepath.Join(dir, "a/open/l"))
		chmod(0o777|os.ModeSticky, "a/open")(t, dir)
		chown(t, filepath.Join(dir, "a/open/l"))
	}, file: "a/open/l", want: "a/open/l"},
	{name: "to a file in a folder of others", do: func(t *testing.T, dir string) {
		if err := os.WriteFile(filepath.Join(dir, "a/open/f"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		link(t, "../open/f", filepath.Join(dir, "a/b/l"))
		chmod(0o777, "a/open")(t, dir)
	}, file: "a/b/l", want: "a/open"},
	{name: "a circle", do: func(t *testing.T, dir string) { link(t, "l", filepath.Join(dir, "a/l")) }, file: "a/l", want: "a/l"},
}

func TestWhoCanChangeAFile(t *testing.T) {
	for _, test := range ways {
		t.Run(test.name, func(t *testing.T) {
			dir := safeDir(t)
			for _, d := range []string{"a", "a/b", "a/open"} {
				if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "a/b/f"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if test.do != nil {
				test.do(t, dir)
			}
			user := test.user
			if user == 0 {
				user = os.Geteuid()
			}
			want := test.want
			if want != "" {
				want = filepath.Join(dir, want)
			}
			if got := ChangeableByOthers(filepath.Join(dir, test.file), user); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
