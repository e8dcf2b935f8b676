package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rostra/kit/disk"
)

func TestAge(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1_800_000_000, 0)
	file := filepath.Join(dir, "server_metadata.json")
	try := func(at time.Time) error { return checkAge(disk.OS(), dir, 7*24*time.Hour, at) }
	noted := func() string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	if err := try(now); err != nil || noted() != `{"last_seen_unix":1800000000}` {
		t.Errorf("the first start: %v, %s", err, noted())
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := try(now.Add(-time.Hour)); err != nil {
		t.Errorf("a clock that was set back: %v", err)
	}
	later := now.Add(7*24*time.Hour - time.Hour)
	if err := try(later); err != nil || noted() != `{"last_seen_unix":1800601200}` {
		t.Errorf("in time: %v, %s", err, noted())
	}
	err := try(later.Add(7*24*time.Hour + time.Second))
	if err == nil || keyOf(err) != "server_rejoin_age_max" || !strings.Contains(err.Error(), "refusing to rejoin cluster because server has been offline for more than the configured server_rejoin_age_max (168h0m0s)") ||
		!strings.Contains(err.Error(), "2027-01-22T") || noted() != `{"last_seen_unix":1800601200}` {
		t.Errorf("too late: %v, %s", err, noted())
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := try(later); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a broken file: %v", err)
	}
}
