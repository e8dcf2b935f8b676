package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
)

// What a Command may not know: clocks, chance, the machine and the network. time is allowed for its types and formats.
var impure = []string{"context", "crypto/rand", "io/fs", "io/ioutil", "log", "log/slog", "math/rand", "math/rand/v2", "net",
	"net/http", "os", "os/exec", "os/signal", "os/user", "path/filepath", "runtime", "sync", "sync/atomic", "syscall"}

// The functions of time that look at a clock.
var clocks = []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"}

// lazily are impure things that pure code may reach, with the reason.
var lazily = map[string]string{
	"sync/atomic": "a record carries its encoded JSON, made at the first read: it changes no state",
	"sync":        "the same",
}

var pureLaws = []law{
	{"pure imports", pureImports, "-- feature/kv/state.go --\npackage kv\nimport _ \"time\"\n-- feature/kv/apply.go --\npackage kv\nimport (\n_ \"os\"\n_ \"context\"\n)\n-- feature/kv/http.go --\npackage kv\nimport _ \"context\"\n", 3},
	{"pure by what it reaches", pureReach, `
-- feature/kv/apply.go --
package kv
type T struct{}
func (T) Run() int { return stamp() + order() }
func order() (n int) { for k := range table { n += k }; return n }
var table = map[int]int{}
-- feature/kv/kv.go --
package kv
import "time"
func stamp() int { return time.Now().Nanosecond() }
func unreached() int { return time.Now().Nanosecond() }
func Wait(d time.Duration) string { return d.String() }
`, 2},
}

func pureFile(f *file) bool {
	base := path.Base(f.name)
	return strings.HasPrefix(f.name, "feature/") && (base == "state.go" || base == "apply.go")
}

func pureImports(t *tree) (found []guilt) {
	for _, f := range t.files {
		if !pureFile(f) {
			continue
		}
		for _, i := range f.ast.Imports {
			if name := strings.Trim(i.Path.Value, `"`); name == "time" || slices.Contains(impure, name) {
				found = append(found, guilt{t.at(i), "pure code imports " + name})
			}
		}
	}
	return found
}

// pureReach follows what state.go and apply.go use inside their own package, by the types, and finds clocks, chance and
// the machine there; and maps walked in their random order on the way from a Command to the state.
func pureReach(t *tree) (found []guilt) {
	for _, p := range t.packages {
		var state, apply []*file
		for _, f := range p.code() {
			if pureFile(f) {
				state = append(state, f)
				if path.Base(f.name) == "apply.go" {
					apply = append(apply, f)
				}
			}
		}
		if len(state) == 0 {
			continue
		}
		info, err := t.check(p)
		if err != nil {
			found = append(found, guilt{p.dir, "cannot check the types: " + err.Error()})
			continue
		}
		for _, d := range reach(info, p, state) {
			found = append(found, t.impureUses(info, d)...)
		}
		for _, d := range reach(info, p, apply) {
			found = append(found, t.mapWalks(info, d)...)
		}
	}
	return found
}

// check runs the type checker over a package's code. Everything it imports comes from the compiler's export data.
func (t *tree) check(p *pkg) (*types.Info, error) {
	exports, err := exportData()
	if err != nil {
		return nil, err
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{}}
	conf := types.Config{Importer: importer.ForCompiler(t.fset, "gc", func(name string) (io.ReadCloser, error) {
		if exports[name] == "" {
			return nil, fmt.Errorf("no export data of %s", name)
		}
		return os.Open(exports[name])
	})}
	var files []*ast.File
	for _, f := range p.files {
		if !f.test {
			files = append(files, f.ast)
		}
	}
	_, err = conf.Check("rostra/"+p.dir, t.fset, files, info)
	return info, err
}

// exportData asks the go command where the compiled packages' types are.
var exportData = sync.OnceValues(func() (map[string]string, error) {
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export", "time", "./feature/...").Output()
	if err != nil {
		if exit, is := err.(*exec.ExitError); is {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, err
	}
	files := map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := d.Decode(&p); err == io.EOF {
			return files, nil
		} else if err != nil {
			return nil, err
		}
		files[p.ImportPath] = p.Export
	}
})

// reach returns the functions, methods and variables of the package that the files declare or use, however far.
func reach(info *types.Info, p *pkg, from []*file) []ast.Node {
	where := map[types.Object]ast.Node{}
	for _, f := range p.files {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				where[info.Defs[d.Name]] = d
			case *ast.GenDecl:
				if d.Tok != token.VAR {
					continue
				}
				for _, s := range d.Specs {
					for _, id := range s.(*ast.ValueSpec).Names {
						where[info.Defs[id]] = s
					}
				}
			}
		}
	}
	var todo, done []ast.Node
	seen := map[ast.Node]bool{}
	take := func(n ast.Node) {
		if n != nil && !seen[n] {
			seen[n] = true
			todo = append(todo, n)
		}
	}
	for _, f := range from {
		for _, d := range f.ast.Decls {
			take(d)
		}
	}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo, done = todo[:len(todo)-1], append(done, n)
		ast.Inspect(n, func(n ast.Node) bool {
			if id, is := n.(*ast.Ident); is && info.Uses[id] != nil {
				o := info.Uses[id]
				if fn, is := o.(*types.Func); is {
					o = fn.Origin()
				}
				take(where[o])
			}
			return true
		})
	}
	return done
}

func (t *tree) impureUses(info *types.Info, in ast.Node) (found []guilt) {
	ast.Inspect(in, func(n ast.Node) bool {
		id, is := n.(*ast.Ident)
		if !is || info.Uses[id] == nil || info.Uses[id].Pkg() == nil {
			return true
		}
		o := info.Uses[id]
		from := o.Pkg().Path()
		switch o.(type) {
		case *types.Func, *types.Var:
		default:
			return true
		}
		if slices.Contains(impure, from) && lazily[from] == "" || from == "time" && o.Parent() == o.Pkg().Scope() && slices.Contains(clocks, o.Name()) {
			found = append(found, guilt{t.at(id), "is reached by state.go or apply.go and uses " + from + "." + o.Name()})
		}
		return true
	})
	return found
}

func (t *tree) mapWalks(info *types.Info, in ast.Node) (found []guilt) {
	ast.Inspect(in, func(n ast.Node) bool {
		if r, is := n.(*ast.RangeStmt); is {
			if tv, known := info.Types[r.X]; known {
				if _, isMap := tv.Type.Underlying().(*types.Map); isMap {
					found = append(found, guilt{t.at(r), "is reached by apply.go and walks a map, whose order is random"})
				}
			}
		}
		return true
	})
	return found
}
