package main_test

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rostra"
	"rostra/agent"
	"rostra/engine/room"
	"rostra/kit/disk"
)

// golden compares text with testdata/NAME. With UPDATE_GOLDEN=1 it writes the file instead.
func golden(t *testing.T, name, got string) {
	t.Helper()
	goldenFile(t, filepath.Join("testdata", name), got)
}

func goldenFile(t *testing.T, file, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range difference(string(want), got) {
		t.Errorf("%s: %s", file, d)
	}
	if t.Failed() {
		t.Log("if the change is meant, run the test with UPDATE_GOLDEN=1 and look at the diff")
	}
}

// difference returns the lines that only one of two texts has.
func difference(want, got string) (list []string) {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range w {
		if !slices.Contains(g, line) {
			list = append(list, "gone: "+line)
		}
	}
	for _, line := range g {
		if !slices.Contains(w, line) {
			list = append(list, "new: "+line)
		}
	}
	if len(list) == 0 && want != got {
		list = append(list, "the same lines in another order")
	}
	return list
}

func TestGoldenBites(t *testing.T) {
	for _, c := range []struct{ want, got, says string }{
		{"a\nb\n", "a\nb\n", ""},
		{"a\nb\n", "a\n", "gone: b"},
		{"a\n", "a\nb\n", "new: b"},
		{"a\nb\n", "b\na\n", "the same lines in another order"},
	} {
		if got := strings.Join(difference(c.want, c.got), "; "); got != c.says {
			t.Errorf("difference(%q, %q) = %q, want %q", c.want, c.got, got, c.says)
		}
	}
}

// nobody stands in for the group of servers while features only say which routes they have.
type nobody struct{ room.Cluster }

// routes asks every feature for its routes: "GET /v1/kv/", sorted by path. A feature is opened as in an agent that keeps
// everything in memory, and never run.
func routes(t *testing.T) []string {
	t.Helper()
	host := &room.Host{Disk: disk.OS(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Cluster: nobody{},
		Self: room.Identity{Node: "n", Datacenter: "dc1", Domain: "consul.", Server: true}}
	var list []string
	for _, f := range main.Features {
		if f.Open == nil {
			continue
		}
		var settings any
		if f.Settings != nil {
			settings = f.Settings()
		}
		part, err := f.Open(host, settings)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		for _, r := range part.Routes {
			method := r.Method
			if method == "" {
				method = "ANY"
			}
			list = append(list, method+" "+r.Path)
		}
		if part.Close != nil {
			if err := part.Close(); err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
		}
	}
	slices.SortFunc(list, func(a, b string) int {
		am, ap, _ := strings.Cut(a, " ")
		bm, bp, _ := strings.Cut(b, " ")
		if ap != bp {
			return strings.Compare(ap, bp)
		}
		return strings.Compare(am, bm)
	})
	return list
}

func TestRoutes(t *testing.T) {
	list := routes(t)
	for i := 1; i < len(list); i++ {
		if list[i] == list[i-1] {
			t.Errorf("two features have the route %s", list[i])
		}
	}
	golden(t, "routes.txt", strings.Join(list, "\n")+"\n")
}

// TestTriggers prints the cascades: what runs inside the Command of another feature.
func TestTriggers(t *testing.T) {
	var b strings.Builder
	for _, f := range main.Features {
		for _, tr := range f.Triggers {
			fmt.Fprintf(&b, "%s (%s)\n", tr.Name, f.Name)
		}
	}
	golden(t, "triggers.txt", b.String())
}

// TestCommands prints what the log may hold: names in it are never used again for anything else.
func TestCommands(t *testing.T) {
	var b strings.Builder
	for _, f := range main.Features {
		for _, c := range f.Commands {
			fmt.Fprintf(&b, "%s rules %d\n", c.New().Name(), c.Rules)
		}
	}
	golden(t, "commands.txt", b.String())
}

func TestAgentFlags(t *testing.T) {
	var list []string
	flag := regexp.MustCompile(`(?m)^\s+-([a-zA-Z][\w-]*)`)
	for _, v := range agent.Verbs(main.Features) {
		if v.Path == "agent" {
			for _, m := range flag.FindAllStringSubmatch(v.Help, -1) {
				list = append(list, "-"+m[1])
			}
		}
	}
	if len(list) < 10 {
		t.Fatalf("only %d flags found in the help of the agent", len(list))
	}
	slices.Sort(list)
	golden(t, "flags.txt", strings.Join(list, "\n")+"\n")
}

// TestFeatureOrder holds features.go to the order of the floors.
func TestFeatureOrder(t *testing.T) {
	last := -1
	for _, f := range main.Features {
		at := slices.Index(features, f.Name)
		if at <= last {
			t.Errorf("features.go has %s in another place than house_floor_test.go", f.Name)
		}
		last = at
	}
}

// TestConfigurationReference holds docs/configuration.md to the tags of the settings.
func TestConfigurationReference(t *testing.T) {
	goldenFile(t, "docs/configuration.md", "# Configuration\n\nEvery key of Consul's configuration, and what becomes of it here. "+
		"This file is made from the tags of the\nsettings (`UPDATE_GOLDEN=1 go test -run TestConfigurationReference .`).\n\n"+
		agent.Reference(main.Features))
}
