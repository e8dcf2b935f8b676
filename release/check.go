package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// listed is what `go list` says of one package.
type listed struct {
	Dir, ImportPath string
	GoFiles         []string
	ImportMap       map[string]string // of vendored packages of the standard library
	Module          *struct{ Main bool }
}

// checkAll type-checks the program in dir for each system, which says what compiling it would say, in a few seconds each and
// without filling the build cache for six systems.
func checkAll(dir string, all []target, out io.Writer) error {
	var wrong []error
	for _, t := range all {
		n, err := check(dir, t)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%v: %w", t, err))
			continue
		}
		fmt.Fprintf(out, "%-14v %d packages\n", t, n)
	}
	return errors.Join(wrong...)
}

// check type-checks the program, and of what it imports from elsewhere what can be imported: bodies of functions are read
// of its own module only. It returns how many packages those are all together.
func check(dir string, t target) (int, error) {
	c := exec.Command("go", "list", "-deps", "-json=Dir,ImportPath,GoFiles,ImportMap,Module", ".")
	c.Dir, c.Env, c.Stderr = dir, t.environment(), os.Stderr
	pipe, err := c.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := c.Start(); err != nil {
		return 0, err
	}
	k := &checker{target: t, fset: token.NewFileSet(), done: map[string]*types.Package{"unsafe": types.Unsafe}}
	var wrong []error
	for d := json.NewDecoder(pipe); ; { // each package comes after those that it imports
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			return 0, errors.Join(err, c.Wait())
		}
		if err := k.check(&p); err != nil {
			wrong = append(wrong, err)
		}
	}
	return len(k.done), errors.Join(append(wrong, c.Wait())...)
}

// checker holds the packages that were checked.
type checker struct {
	target target
	fset   *token.FileSet
	done   map[string]*types.Package
	using  map[string]string // ImportMap of the package that is being checked
}

// Import returns a package that was checked before.
func (k *checker) Import(path string) (*types.Package, error) {
	if mapped := k.using[path]; mapped != "" {
		path = mapped
	}
	if p := k.done[path]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%s was not checked", path)
}

func (k *checker) check(p *listed) error {
	if p.ImportPath == "unsafe" {
		return nil
	}
	own := p.Module != nil && p.Module.Main
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(k.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	k.using = p.ImportMap
	var wrong []error
	conf := types.Config{Importer: k, Sizes: types.SizesFor("gc", k.target.arch), IgnoreFuncBodies: !own, FakeImportC: true,
		Error: func(err error) { wrong = append(wrong, err) }}
	k.done[p.ImportPath], _ = conf.Check(p.ImportPath, k.fset, files, nil)
	if !own {
		return nil // others' packages compile; what of them cannot be read here shows in ours
	}
	if len(wrong) > 0 {
		lines := make([]string, 0, len(wrong))
		for _, err := range wrong {
			lines = append(lines, err.Error())
		}
		return errors.New(strings.Join(lines, "\n"))
	}
	return nil
}
