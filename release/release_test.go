package main

import (
	"archive/zip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

var small = map[string]string{"go.mod": "module small\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() { println(1) }\n"}

// TestReproducible: two builds give the same bytes, whatever the builder's settings are, and the sums are those of the zips.
func TestReproducible(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, ".", small)
	var sums []string
	for _, flags := range []string{"", "-race"} {
		t.Setenv("GOFLAGS", flags)
		var out strings.Builder
		if err := run([]string{"-targets", "linux/amd64,windows/arm64", "-out", "dist"}, &out); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile("dist/SHA256SUMS")
		if err != nil || string(b) != out.String() {
			t.Fatalf("SHA256SUMS: %q, %v; said was %q", b, err, out.String())
		}
		sums = append(sums, string(b))
	}
	if sums[0] != sums[1] || strings.Count(sums[0], "\n") != 2 {
		t.Errorf("the sums are\n%sand\n%s", sums[0], sums[1])
	}
	names, err := filepath.Glob("dist/*.zip")
	if err != nil || len(names) != 2 {
		t.Fatalf("%v, %v", names, err)
	}
	z, err := zip.OpenReader(names[1])
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	f := z.File[0]
	if f.Name != "rostra.exe" || f.Mode() != 0o755 {
		t.Errorf("it holds %s, %v", f.Name, f.Mode())
	}
	r, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	if head, err := io.ReadAll(io.LimitReader(r, 2)); err != nil || string(head) != "MZ" {
		t.Errorf("the program begins with %q, %v", head, err)
	}
}

// TestCheck finds what does not compile on one system only.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, small)
	all := []target{{"linux", "amd64"}, {"windows", "arm64"}}
	if err := checkAll(dir, all, io.Discard); err != nil {
		t.Error(err)
	}
	write(t, dir, map[string]string{"main.go": "package main\n\nimport \"syscall\"\n\nfunc main() { syscall.Kill(1, 1) }\n"})
	err := checkAll(dir, all, io.Discard)
	if err == nil || strings.Count(err.Error(), "\n") != 0 || !strings.Contains(err.Error(), "windows/arm64: ") || !strings.Contains(err.Error(), "main.go:5") {
		t.Errorf("a program that compiles on linux only: %v", err)
	}
}

func TestTargets(t *testing.T) {
	if all, err := parse(targets); err != nil || len(all) != 6 {
		t.Errorf("%v, %v", all, err)
	}
	for _, args := range [][]string{{"-targets", "linux"}, {"-targets", ""}, {"extra"}} {
		if err := run(args, io.Discard); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
}
