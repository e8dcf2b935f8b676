// Command release builds what is published: for each system a zip that holds the program, and SHA256SUMS with the sum of
// each zip. The same commit and the same Go give the same bytes, so that anybody can compare.
//
//	go run ./release                                 # all systems, into dist
//	go run ./release -targets linux/amd64 -out D     # some of them
//	go run ./release -check                          # nothing is written: does the program compile for all of them?
package main

import (
	"archive/zip"
	"compress/flate"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"rostra/engine/build"
)

// targets are the systems that releases are made for.
const targets = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64"

// target is one system.
type target struct{ os, arch string }

func (t target) String() string { return t.os + "/" + t.arch }

// program is the file's name there.
func (t target) program() string {
	if t.os == "windows" {
		return "rostra.exe"
	}
	return "rostra"
}

// environment is what go sees: everything that changes the bytes is said, whatever the builder's own settings are.
func (t target) environment() []string {
	return append(os.Environ(), "GOOS="+t.os, "GOARCH="+t.arch, "CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=",
		"GOEXPERIMENT=", "GOFIPS140=off")
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	set := flag.NewFlagSet("release", flag.ContinueOnError)
	dir := set.String("out", "dist", "`directory` for the zips")
	list := set.String("targets", targets, "systems to build for, separated by commas")
	only := set.Bool("check", false, "only look whether the program compiles")
	if err := set.Parse(args); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return fmt.Errorf("unexpected arguments: %v", set.Args())
	}
	all, err := parse(*list)
	if err != nil {
		return err
	}
	if *only {
		return checkAll(".", all, out)
	}
	return release(*dir, all, out)
}

func parse(list string) (all []target, err error) {
	for _, text := range strings.Split(list, ",") {
		system, arch, ok := strings.Cut(text, "/")
		if !ok || system == "" || arch == "" {
			return nil, fmt.Errorf("%q is no system; write one like linux/amd64", text)
		}
		all = append(all, target{system, arch})
	}
	return all, nil
}

func release(dir string, all []target, out io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "release")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	var sums strings.Builder
	for _, t := range all {
		program := filepath.Join(temp, t.program())
		if err := compile(t, program); err != nil {
			return err
		}
		name := fmt.Sprintf("rostra_%s_%s_%s.zip", build.Rostra, t.os, t.arch)
		sum, err := pack(filepath.Join(dir, name), program)
		if err != nil {
			return fmt.Errorf("cannot write %s: %w", name, err)
		}
		line := fmt.Sprintf("%x  %s\n", sum, name)
		sums.WriteString(line)
		fmt.Fprint(out, line)
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// compile builds the program that lies in the current directory.
func compile(t target, file string) error {
	c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -buildid=", "-o", file, ".")
	c.Env, c.Stderr = t.environment(), os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("cannot build for %v: %w", t, err)
	}
	return nil
}

// pack writes a zip that holds one program and returns the zip's sum. Its time says nothing: it is the earliest that a zip
// can hold.
func pack(file, program string) (sum []byte, err error) {
	in, err := os.Open(program)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closed := out.Close(); err == nil {
			err = closed
		}
	}()
	hash := sha256.New()
	z := zip.NewWriter(io.MultiWriter(out, hash))
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	h := &zip.FileHeader{Name: filepath.Base(program), Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	h.SetMode(0o755)
	w, err := z.CreateHeader(h)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(w, in); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return hash.Sum(nil), nil
}
