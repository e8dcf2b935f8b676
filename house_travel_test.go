package main_test

import (
	"fmt"
	"go/ast"
	"strings"
	"testing"

	"rostra"
)

// TestQueries prints what agents may ask servers: names that are never used again for anything else.
func TestQueries(t *testing.T) {
	var b strings.Builder
	seen := map[string]bool{}
	for _, f := range main.Features {
		for _, q := range f.Queries {
			fmt.Fprintf(&b, "%s %s\n", q.Name, q.Type)
			if seen[q.Name] {
				t.Errorf("two queries have the name %s", q.Name)
			}
			seen[q.Name] = true
		}
		for _, c := range f.Calls {
			fmt.Fprintf(&b, "%s procedure\n", c.New().Name())
		}
	}
	golden(t, "queries.txt", b.String())
}

var travelLaws = []law{
	{"queries travel, or say that they do not", travelling, `
-- feature/kv/room.go --
package kv
var Room = room.Room{Queries: []room.QueryType{room.QueryOf[listed]("kv.listed", nil)}}
-- feature/kv/state.go --
package kv
type listed struct{}
func (listed) Run(r store.Reader) room.Answer { return room.Answer{} }
// own asks the leader's own loop; it does not travel.
type own struct{}
func (*own) Run(r store.Reader) room.Answer { return room.Answer{} }
// lost is neither.
type lost struct{}
func (q lost) Run(r store.Reader) room.Answer { return room.Answer{} }
type command struct{}
func (command) Run(tx *store.Tx) (room.Result, error) { return nil, nil }
`, 1},
}

// travelling finds Queries that only servers can ask although nothing says so: on other agents their users would find out.
func travelling(t *tree) (found []guilt) {
	for _, p := range t.packages {
		listed, said := map[string]bool{}, map[string]bool{}
		for _, f := range p.code() {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if x, is := n.(*ast.IndexExpr); is {
					if s, is := x.X.(*ast.SelectorExpr); is && s.Sel.Name == "QueryOf" {
						listed[nameOf(x.Index)] = true
					}
				}
				if d, is := n.(*ast.GenDecl); is && strings.Contains(strings.Join(strings.Fields(d.Doc.Text()), " "), "it does not travel") {
					for _, s := range d.Specs {
						if s, is := s.(*ast.TypeSpec); is {
							said[s.Name.Name] = true
						}
					}
				}
				return true
			})
		}
		for _, f := range p.code() {
			for _, d := range f.ast.Decls {
				if fn, is := d.(*ast.FuncDecl); is && strings.HasPrefix(p.dir, "feature/") && runsQuery(fn) {
					if q := nameOf(fn.Recv.List[0].Type); !listed[q] && !said[q] {
						found = append(found, guilt{t.at(fn), q + " is in no Room.Queries; if it is never asked over the wire, say that it does not travel"})
					}
				}
			}
		}
	}
	return found
}

// runsQuery reports whether a function is the Run of a Query.
func runsQuery(fn *ast.FuncDecl) bool {
	if fn.Recv == nil || fn.Name.Name != "Run" || fn.Type.Results == nil {
		return false
	}
	s, is := fn.Type.Results.List[0].Type.(*ast.SelectorExpr)
	return is && nameOf(s.X) == "room" && s.Sel.Name == "Answer"
}

// nameOf returns the name of an identifier, or of what a pointer type points to.
func nameOf(e ast.Expr) string {
	if star, is := e.(*ast.StarExpr); is {
		e = star.X
	}
	if id, is := e.(*ast.Ident); is {
		return id.Name
	}
	return ""
}
