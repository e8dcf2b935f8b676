package definition

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rostra/kit/disk"
)

// safeDir returns a folder that only this test's user can change, all the way up. The usual temporary folder is one
// with the sticky bit.
func safeDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if bad := disk.ChangeableByOthers(dir, os.Geteuid()); bad != "" {
		t.Skipf("others can change %s on this machine", bad)
	}
	return dir
}

func TestScriptPermission(t *testing.T) {
	dir := safeDir(t)
	good, bad := filepath.Join(dir, "good.json"), filepath.Join(dir, "bad.json")
	for file, mode := range map[string]os.FileMode{good: 0o600, bad: 0o666} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	yes, no := true, false
	for _, test := range []struct {
		scripts, local *bool
		file           string // "" came over HTTP
		refusal        string // the option it names; "" runs
	}{
		{nil, nil, good, ""},
		{nil, nil, bad, "enable_local_script_checks"},
		{nil, nil, "flag -hcl", ""},
		{nil, nil, "", "enable_script_checks"},
		{&yes, nil, "", ""},
		{&yes, nil, bad, ""},
		{&no, nil, "", "enable_script_checks"},
		{&no, nil, good, "enable_script_checks"},
		{&no, nil, "flag -hcl", "enable_script_checks"},
		{nil, &yes, bad, ""},
		{&no, &yes, good, ""},
		{nil, &yes, "", "enable_script_checks"},
		{nil, &no, good, "enable_local_script_checks"},
		{&yes, &no, good, "enable_local_script_checks"},
		{&yes, &no, "", ""},
	} {
		err := Rules{EnableScripts: test.scripts, EnableLocalScripts: test.local}.mayRunScript(test.file)
		if (err == nil) != (test.refusal == "") || err != nil && !strings.Contains(err.Error(), "'"+test.refusal+"'") {
			t.Errorf("%+v: %v", test, err)
		}
	}
}
