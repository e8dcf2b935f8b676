package local

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
		from           source
		file           string
		refusal        string // the option it names; "" runs
	}{
		{nil, nil, fromFile, good, ""},
		{nil, nil, fromFile, bad, "enable_local_script_checks"},
		{nil, nil, fromFile, "flag -hcl", ""},
		{nil, nil, fromHTTP, "", "enable_script_checks"},
		{&yes, nil, fromHTTP, "", ""},
		{&yes, nil, fromFile, bad, ""},
		{&no, nil, fromHTTP, "", "enable_script_checks"},
		{&no, nil, fromFile, good, "enable_script_checks"},
		{&no, nil, fromFile, "flag -hcl", "enable_script_checks"},
		{nil, &yes, fromFile, bad, ""},
		{&no, &yes, fromFile, good, ""},
		{nil, &yes, fromHTTP, "", "enable_script_checks"},
		{nil, &no, fromFile, good, "enable_local_script_checks"},
		{&yes, &no, fromFile, good, "enable_local_script_checks"},
		{&yes, &no, fromHTTP, "", ""},
	} {
		s := &Settings{EnableScripts: test.scripts, EnableLocalScripts: test.local}
		err := s.mayRunScript(test.from, test.file)
		if (err == nil) != (test.refusal == "") || err != nil && !strings.Contains(err.Error(), "'"+test.refusal+"'") {
			t.Errorf("%+v: %v", test, err)
		}
	}
}
