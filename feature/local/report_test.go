package local

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"rostra/engine/room"
)

// TestReportsAreChecks: what the agent says of itself is a check here and in the catalog, and nobody else's to change.
func TestReportsAreChecks(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	a.put("check/register", `{"ID":"rostra:x","Name":"mine","TTL":"9s"}`) // before anybody reported
	report := room.Report{ID: "rostra:x", Name: "X", Status: "passing", Output: "fine"}
	settled := func(want string) {
		t.Helper()
		a.settle()
		l.agree(a)
		_, there := l.remote()
		got := ""
		if c := there["rostra:x"]; c != nil {
			got = c.Name + "/" + c.Status + "/" + c.Output
		}
		if got != want {
			t.Fatalf("the catalog has %q, want %q", got, want)
		}
	}
	a.k.takeReports([]room.Report{report})
	settled("X/passing/fine")
	report.Status, report.Output = "warning", "soon"
	a.k.takeReports([]room.Report{report})
	settled("X/warning/soon")
	for path, body := range map[string]string{"check/deregister/rostra:x": "", "check/register": `{"ID":"rostra:x","Name":"mine","TTL":"9s"}`} {
		if status, text := a.do("PUT", path, body); status != 400 || !strings.Contains(text, "the agent's own") {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if status, _ := a.do("PUT", "check/pass/rostra:x", ""); status != 500 {
		t.Errorf("somebody set it: %d", status)
	}
	if err := a.k.reload(nil); err != nil {
		t.Fatal(err)
	}
	settled("X/warning/soon")
	a.k.takeReports(nil)
	settled("")
}

// TestReportsAreFollowed: a report that changes later is taken over, too.
func TestReportsAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reports := new(room.Reports)
		k, err := openKeeper(&room.Host{Self: self, Log: slog.New(slog.DiscardHandler), Reports: reports}, defaults())
		if err != nil {
			t.Fatal(err)
		}
		defer k.close()
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); k.follow(ctx) }()
		status := func() string {
			synctest.Wait()
			k.mu.Lock()
			defer k.mu.Unlock()
			if c := k.checks["rostra:x"]; c != nil {
				return c.row.Status
			}
			return "none"
		}
		var seen []string
		for _, do := range []func(){
			func() {},
			func() { reports.Set(room.Report{ID: "rostra:x", Status: "passing"}) },
			func() { reports.Set(room.Report{ID: "rostra:x", Status: "warning"}) },
			func() { reports.Drop("rostra:x") },
		} {
			do()
			seen = append(seen, status())
		}
		if got := strings.Join(seen, " "); got != "none passing warning none" {
			t.Error(got)
		}
		stop()
		<-ended
	})
}
