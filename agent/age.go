package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"rostra/kit/disk"
)

// A server that was away for long must not come back as if nothing had happened: it may have been replaced, and its log,
// its sessions and its view of who is a member are of another time. So it notes now and then when it was last there.
const (
	seenFile   = "server_metadata.json" // the name that Consul has
	seenPeriod = time.Hour
	leastAge   = 6 * time.Hour // a shorter server_rejoin_age_max would shut out a server for the pause between two notes
)

// seen is what stands in the file.
type seen struct {
	Last int64 `json:"last_seen_unix"`
}

// checkAge refuses to start a server that was last there longer ago than allowed, and else notes that it is there.
func checkAge(disks disk.FS, dir string, most time.Duration, now time.Time) error {
	name := filepath.Join(dir, seenFile)
	b, err := disk.ReadFile(disks, name)
	if errors.Is(err, fs.ErrNotExist) {
		return noteAge(disks, dir, now)
	}
	var was seen
	if err == nil {
		err = json.Unmarshal(b, &was)
	}
	if err != nil {
		return fmt.Errorf("cannot tell when this server was last there: %s: %w; remove the file if the server was away for less than server_rejoin_age_max", name, err)
	}
	if last := time.Unix(was.Last, 0); now.Sub(last) > most {
		return fmt.Errorf("server_rejoin_age_max: refusing to rejoin cluster because server has been offline for more than the configured server_rejoin_age_max (%s): it was last there at %s; if others went on without it, start it with an empty data directory, else with a higher server_rejoin_age_max",
			most, last.UTC().Format(time.RFC3339))
	}
	return noteAge(disks, dir, now)
}

func noteAge(disks disk.FS, dir string, now time.Time) error {
	b, err := json.Marshal(seen{now.Unix()})
	if err == nil {
		err = disk.WriteFile(disks, filepath.Join(dir, seenFile), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot note that this server is there: %w", err)
	}
	return nil
}

// keepAge notes until ctx ends that this server is there.
func (a *Agent) keepAge(ctx context.Context) error {
	tick := time.NewTicker(seenPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if err := noteAge(a.host.Disk, a.host.Dir, now); err != nil {
				a.log.Error(err.Error())
			}
		}
	}
}
