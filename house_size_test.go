package main_test

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// The caps. What is over one is split, or listed here with the reason.
const (
	maxFileLines    = 600
	maxFuncLines    = 80
	maxTestLines    = 120 // of a function in a test: its table counts
	maxPackageFiles = 20
	maxPackageLines = 4000
	maxExported     = 40
	maxMethods      = 6
	maxFields       = 20
	maxFanOut       = 15
	maxDepth        = 12
)

// tooLarge are the exceptions, by "file" or "package", or "package.Name".
var tooLarge = map[string]string{
	"feature/catalog.serviceInput":        "a body as clients send it; encoding/json finds the fields by name",
	"feature/local/definition.checkInput": "a check as people write it; its decoder finds the fields by name",
}

var sizeLaws = []law{
	{"file size", fileSize, "-- kit/a/a.go --\npackage a\n" + strings.Repeat("\n", maxFileLines), 1},
	{"function size", funcSize, "-- kit/a/a.go --\npackage a\nfunc f() {" + strings.Repeat("\n", maxFuncLines) + "}\n" +
		"-- kit/a/a_test.go --\npackage a\nfunc f() {" + strings.Repeat("\n", maxTestLines) + "}\n", 2},
	{"package size", packageSize, manyFiles(maxPackageFiles+1, 1) + "-- kit/b/b.go --\npackage b\n" + strings.Repeat("\n", maxPackageLines), 2},
	{"exported names", exportedNames, "-- kit/a/a.go --\npackage a\nconst (\n" + numbered("\tName%d = 1\n", maxExported+1) + ")\n", 1},
	{"interface size", interfaceSize, "-- kit/a/a.go --\npackage a\ntype I interface {\n" + numbered("\tM%d()\n", maxMethods+1) + "}\n", 1},
	{"struct size", structSize, "-- kit/a/a.go --\npackage a\ntype s struct {\n" + numbered("\tf%d int\n", maxFields+1) + "}\n", 1},
	{"fan-out", fanOut, "-- agent/a.go --\npackage agent\n-- kit/a/a.go --\npackage a\nimport (\n" + numbered("\t_ \"rostra/kit/p%d\"\n", maxFanOut+1) + ")\n", 1},
	{"import depth", importDepth, chain(maxDepth + 1), 1},
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func manyFiles(n, lines int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "-- kit/a/f%d.go --\npackage a\n%s", i, strings.Repeat("\n", lines))
	}
	return b.String()
}

// chain is n packages of which each imports the next.
func chain(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "-- kit/p%d/p.go --\npackage p\nimport _ \"rostra/kit/p%d\"\n", i, i+1)
	}
	return b.String() + fmt.Sprintf("-- kit/p%d/p.go --\npackage p\n", n)
}

func fileSize(t *tree) (found []guilt) {
	for _, f := range t.files {
		if n := f.lines(); n > maxFileLines && !f.generated && !spared(tooLarge, f.name) {
			found = append(found, guilt{f.name, fmt.Sprintf("%d lines, the cap is %d", n, maxFileLines)})
		}
	}
	return found
}

func funcSize(t *tree) (found []guilt) {
	for _, f := range t.files {
		if f.generated {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, is := d.(*ast.FuncDecl)
			if !is || fn.Body == nil {
				continue
			}
			n, most := t.fset.Position(fn.End()).Line-t.fset.Position(fn.Pos()).Line+1, maxFuncLines
			if f.test {
				most = maxTestLines
			}
			if n > most && !spared(tooLarge, f.name+"."+fn.Name.Name) {
				found = append(found, guilt{t.at(fn), fmt.Sprintf("function %s has %d lines, the cap is %d", fn.Name.Name, n, most)})
			}
		}
	}
	return found
}

func packageSize(t *tree) (found []guilt) {
	for _, p := range t.packages {
		lines := 0
		for _, f := range p.code() {
			lines += f.lines()
		}
		if n := len(slices.DeleteFunc(slices.Clone(p.code()), oneSystem)); n > maxPackageFiles && !spared(tooLarge, p.dir) {
			found = append(found, guilt{p.dir, fmt.Sprintf("%d files, the cap is %d", n, maxPackageFiles)})
		}
		if lines > maxPackageLines && !spared(tooLarge, p.dir) {
			found = append(found, guilt{p.dir, fmt.Sprintf("%d lines of code, the cap is %d", lines, maxPackageLines)})
		}
	}
	return found
}

// oneSystem reports whether a file is a variant for some operating systems: it adds no part to the package.
func oneSystem(f *file) bool {
	return slices.ContainsFunc([]string{"_linux.go", "_unix.go", "_windows.go", "_other.go"}, func(end string) bool { return strings.HasSuffix(f.name, end) })
}

func exportedNames(t *tree) (found []guilt) {
	for _, p := range t.packages {
		n := 0
		for _, f := range p.code() {
			for _, d := range f.ast.Decls {
				n += len(exportedIn(d))
			}
		}
		if n > maxExported && !spared(tooLarge, p.dir) {
			found = append(found, guilt{p.dir, fmt.Sprintf("%d exported names, the cap is %d", n, maxExported)})
		}
	}
	return found
}

// exportedIn returns the exported names that a declaration makes in the package, methods left out.
func exportedIn(d ast.Decl) (names []*ast.Ident) {
	take := func(list ...*ast.Ident) {
		for _, id := range list {
			if id.IsExported() {
				names = append(names, id)
			}
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			take(d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				take(s.Name)
			case *ast.ValueSpec:
				take(s.Names...)
			}
		}
	}
	return names
}

// types calls visit for each type that the code declares.
func (t *tree) types(visit func(f *file, s *ast.TypeSpec)) {
	for _, f := range t.files {
		if f.test || f.generated {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, is := n.(*ast.TypeSpec); is {
				visit(f, s)
			}
			return true
		})
	}
}

func interfaceSize(t *tree) (found []guilt) {
	t.types(func(f *file, s *ast.TypeSpec) {
		i, is := s.Type.(*ast.InterfaceType)
		if is && i.Methods.NumFields() > maxMethods && !spared(tooLarge, dirOf(f)+"."+s.Name.Name) {
			found = append(found, guilt{t.at(s), fmt.Sprintf("interface %s has %d methods, the cap is %d", s.Name.Name, i.Methods.NumFields(), maxMethods)})
		}
	})
	return found
}

// structSize leaves out what is configuration or travels: a struct most of whose fields have a tag.
func structSize(t *tree) (found []guilt) {
	t.types(func(f *file, s *ast.TypeSpec) {
		st, is := s.Type.(*ast.StructType)
		if !is || st.Fields.NumFields() <= maxFields || spared(tooLarge, dirOf(f)+"."+s.Name.Name) {
			return
		}
		tagged := 0
		for _, field := range st.Fields.List {
			if field.Tag != nil {
				tagged += max(1, len(field.Names))
			}
		}
		if 2*tagged < st.Fields.NumFields() {
			found = append(found, guilt{t.at(s), fmt.Sprintf("struct %s has %d fields, the cap is %d", s.Name.Name, st.Fields.NumFields(), maxFields)})
		}
	})
	return found
}

func fanOut(t *tree) (found []guilt) {
	for _, p := range t.packages {
		if p.dir == "." || p.dir == "agent" {
			continue
		}
		if n := len(t.importsOf(p)); n > maxFanOut {
			found = append(found, guilt{p.dir, fmt.Sprintf("imports %d packages of the house, the cap is %d", n, maxFanOut)})
		}
	}
	return found
}

func importDepth(t *tree) (found []guilt) {
	deep := map[string]int{}
	var depth func(dir string) int
	depth = func(dir string) int {
		if n, known := deep[dir]; known {
			return n
		}
		deep[dir] = 0 // a cycle does not compile
		for _, p := range t.packages {
			if p.dir == dir {
				for _, to := range t.importsOf(p) {
					deep[dir] = max(deep[dir], depth(to)+1)
				}
			}
		}
		return deep[dir]
	}
	for _, p := range t.packages {
		if n := depth(p.dir); n > maxDepth && p.dir != "." && p.dir != "agent" {
			found = append(found, guilt{p.dir, fmt.Sprintf("stands on %d layers of imports, the cap is %d", n, maxDepth)})
		}
	}
	return found
}
