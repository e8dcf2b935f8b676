package agent

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"rostra/engine/room"
	"rostra/kit/disk"
)

// TestJudgeSpace: a disk without room is a warning of the node, said once, until there is room again.
func TestJudgeSpace(t *testing.T) {
	var out bytes.Buffer
	a := &Agent{host: &room.Host{Reports: new(room.Reports), Dir: "data"}, log: newLog(&out, nil, new(slog.LevelVar), false)}
	was := ""
	for _, c := range []struct {
		space   disk.Space
		warning string
		lines   int
	}{
		{disk.Space{Free: 1 << 40, Total: 2 << 40}, "", 0},
		{disk.Space{Free: 63 << 20, Total: 2 << 40}, "less than 64 MiB are free", 1},
		{disk.Space{Free: 1 << 20, Total: 2 << 40}, "less than 64 MiB are free", 1},
		{disk.Space{Free: 1 << 40, Total: 2 << 40, ReadOnly: true}, "mounted read-only", 2},
		{disk.Space{Free: 65 << 20, Total: 2 << 40}, "", 3},
		{disk.Space{Free: 11 << 20, Total: 100 << 20}, "", 3},
		{disk.Space{Free: 9 << 20, Total: 100 << 20}, "less than 10 MiB are free", 4},
	} {
		was = a.judgeSpace(c.space, was)
		list, _ := a.host.Reports.All()
		said := ""
		for _, r := range list {
			said += r.Status + ": " + r.Output
		}
		if !strings.Contains(said, c.warning) || (c.warning == "") != (said == "") || strings.Count(out.String(), "\n") != c.lines {
			t.Errorf("%+v: %q, the log:\n%s", c.space, said, &out)
		}
	}
}

// TestSpaceOf: the machine's disk has room, and one that is not there has none that is known.
func TestSpaceOf(t *testing.T) {
	if s, err := disk.SpaceOf(t.TempDir()); err != nil || s.Free == 0 || s.Total < s.Free || s.ReadOnly {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := disk.SpaceOf("/nowhere/at/all"); err == nil {
		t.Error("a directory that is not there has room")
	}
}
