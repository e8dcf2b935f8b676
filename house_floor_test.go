package main_test

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// features in their order: each may import only those before it.
var features = []string{"acl", "catalog", "health", "overview", "coordinate", "member", "session", "kv", "txn", "query", "event",
	"local", "lock", "operator", "snapshot", "telemetry", "connect", "tls", "exec"}

// floors from the ground up. A package imports its own floor or lower ones; features have an order among themselves.
var floors = []string{"kit", "engine", "feature", "surface", "config", "agent", "main", "release"}

var floorLaws = []law{
	{"floors", floorsHold, `
-- kit/a/a.go --
package a
import _ "rostra/engine/room"
-- engine/room/r.go --
package room
import _ "rostra/feature/kv"
-- feature/kv/k.go --
package kv
import (
	_ "rostra/feature/session"
	_ "rostra/feature/txn"
)
-- feature/session/s.go --
package session
import _ "rostra/kit/a"
-- feature/nobody/n.go --
package nobody
`, 4},
	{"no store outside", storeInside, `
-- surface/dns/d.go --
package dns
import _ "github.com/hashicorp/raft"
-- feature/kv/k.go --
package kv
import _ "github.com/hashicorp/raft-wal/types"
`, 2},
}

func dirOf(f *file) string { return path.Dir(f.name) }

// importsOf returns the folders of this module that the package's code imports, sorted.
func (t *tree) importsOf(p *pkg) []string {
	var list []string
	for _, f := range p.files {
		if !f.test {
			list = append(list, t.imports(f)...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// imports returns the folders of this module that a file imports.
func (t *tree) imports(f *file) (list []string) {
	for _, i := range f.ast.Imports {
		name, _ := strconv.Unquote(i.Path.Value)
		if dir, ours := strings.CutPrefix(name, t.module+"/"); ours {
			list = append(list, dir)
		}
	}
	return list
}

func floorOf(dir string) int {
	if dir == "." {
		dir = "main"
	}
	top, _, _ := strings.Cut(dir, "/")
	return slices.Index(floors, top)
}

// featureOf returns the place of a feature's folder in their order, -1 for anything else.
func featureOf(dir string) int {
	name, is := strings.CutPrefix(dir, "feature/")
	if !is {
		return -1
	}
	name, _, _ = strings.Cut(name, "/")
	return slices.Index(features, name)
}

// floorsHold looks at the code only: tests may start what stands above them.
func floorsHold(t *tree) (found []guilt) {
	for _, p := range t.packages {
		if floorOf(p.dir) < 0 {
			found = append(found, guilt{p.dir, "is on no floor: " + strings.Join(floors, ", ")})
			continue
		}
		if strings.HasPrefix(p.dir, "feature/") && featureOf(p.dir) < 0 {
			found = append(found, guilt{p.dir, "is not in the list of features"})
		}
		for _, to := range t.importsOf(p) {
			from, onto := featureOf(p.dir), featureOf(to)
			switch {
			case floorOf(to) > floorOf(p.dir):
				found = append(found, guilt{p.dir, fmt.Sprintf("imports %s, which stands above it", to)})
			case from >= 0 && onto > from:
				found = append(found, guilt{p.dir, fmt.Sprintf("imports %s, which comes later in the list of features", to)})
			}
		}
	}
	return found
}

// storeInside keeps the libraries of one engine package inside it and what is below it, so that they can be changed.
func storeInside(t *tree) (found []guilt) {
	home := map[string]string{
		"github.com/hashicorp/raft":       "engine/consensus",
		"github.com/hashicorp/raft-wal":   "engine/consensus",
		"github.com/hashicorp/serf":       "engine/gossip",
		"github.com/hashicorp/memberlist": "engine/gossip",
		"google.golang.org/grpc":          "engine/rpc", // and engine/check, which asks others' servers by it
		"github.com/tidwall/btree":        "kit/store",
		"github.com/miekg/dns":            "surface/dns",
	}
	for _, f := range t.files {
		if f.test {
			continue
		}
		for _, i := range f.ast.Imports {
			name, _ := strconv.Unquote(i.Path.Value)
			for lib, dir := range home {
				if lib == "google.golang.org/grpc" && dirOf(f) == "engine/check" {
					continue
				}
				if (name == lib || strings.HasPrefix(name, lib+"/")) && dirOf(f) != dir && !strings.HasPrefix(dirOf(f), dir+"/") {
					found = append(found, guilt{f.name, fmt.Sprintf("imports %s; only %s does", name, dir)})
				}
			}
		}
	}
	return found
}
