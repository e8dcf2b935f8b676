package agent

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"rostra/kit/syslog"
)

// TestSyslogLines: what syslog gets of a line, and how grave it takes it for (spec agent.md §16). The daemon is a small
// server that speaks its public protocol: none runs on the machines that test this.
func TestSyslogLines(t *testing.T) {
	dir, err := os.MkdirTemp("", "log")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "log")
	daemon, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()
	facility, err := syslog.ParseFacility("LOCAL0")
	if err != nil {
		t.Fatal(err)
	}
	level := new(slog.LevelVar)
	level.Set(levelTrace)
	for _, asJSON := range []bool{false, true} {
		w := syslog.New(facility, "consul", path)
		defer w.Close()
		log := newLog(new(bytes.Buffer), &outlets{list: []*outlet{syslogOutlet(w, asJSON)}}, level, asJSON).WithGroup("dns")
		for _, c := range []struct {
			level    slog.Level
			severity string
		}{{levelTrace, "<135>"}, {slog.LevelDebug, "<134>"}, {slog.LevelInfo, "<133>"}, {slog.LevelWarn, "<132>"}, {slog.LevelError, "<131>"}} {
			log.Log(t.Context(), c.level, "a [b] c", "k", "v")
			want := `^` + c.severity + `.* consul\[\d+\]: agent\.dns: a \[b\] c: k=v$`
			if asJSON {
				want = `^` + c.severity + `.* consul\[\d+\]: \{"@level":"[a-z]+","@message":"a \[b\] c","@module":"agent\.dns".*\}$`
			}
			if err := daemon.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 4096)
			n, _, err := daemon.ReadFrom(b)
			if err != nil || !regexp.MustCompile(want).Match(b[:n]) {
				t.Errorf("%v, %q is not %s", err, b[:n], want)
			}
		}
	}
}

// TestLostLines: an outlet that fails says so once, elsewhere, and how many lines it lost when it works again.
func TestLostLines(t *testing.T) {
	var out, kept bytes.Buffer
	sick := false
	file := &outlet{name: "the log file f", write: func(_ slog.Level, line []byte) error {
		if sick {
			return errors.New("no space left on device")
		}
		kept.Write(line)
		return nil
	}}
	log := newLog(&out, &outlets{list: []*outlet{file}}, new(slog.LevelVar), false)
	log.Info("one")
	sick = true
	log.Info("two")
	log.Info("three")
	sick = false
	log.Info("four")
	messages := func(text string) string {
		return strings.TrimSpace(regexp.MustCompile(`(?m)^\S+ `).ReplaceAllString(text, ""))
	}
	want := `[INFO]  agent: one
[INFO]  agent: two
[ERROR] agent: cannot write to the log file f; its lines are lost until it works again: error="no space left on device"
[INFO]  agent: three
[INFO]  agent: four
[WARN]  agent: the log file f works again: lost_lines=3`
	if got := messages(out.String()); got != want {
		t.Errorf("standard output:\n%s\nwant:\n%s", got, want)
	}
	want = "[INFO]  agent: one\n[INFO]  agent: four\n[WARN]  agent: the log file f works again: lost_lines=3"
	if got := messages(kept.String()); got != want {
		t.Errorf("the file:\n%s\nwant:\n%s", got, want)
	}
}
