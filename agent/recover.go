package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rostra/engine/consensus"
	"rostra/kit/disk"
)

// When the quorum is lost for good, an operator writes who the servers are now into raft/peers.json of each that is left, and
// starts it (docs/operating.md). The file replaces the stored group once, and is removed.

const (
	peersFile = "peers.json"
	peersHelp = "peers.info"
	mostPeers = 1 << 20 // bytes of peers.json
)

// peersText is what peers.info says. It lies where an operator looks when the quorum is lost and nothing answers any more.
const peersText = `If a majority of the servers is lost for good, the servers that are left can go on without them:

1. Stop the servers that are left and copy their data directories.
2. Write a file peers.json beside this one, the same on each of them, that lists all servers that are left. The id is what
   the file node-id of that server's data directory holds, the address that of its server port:

   [
     {"id": "3c4f2c01-ff05-3647-b87b-669835666421", "address": "10.4.0.1:8300", "non_voter": false}
   ]

3. Start them. The log tells what was stored and what replaces it, then peers.json is obeyed once and removed.
4. Start new servers with empty data directories: they join as always.

Lost servers must not come back with their old data: they would be a second cluster. More is in docs/operating.md.
`

// readPeers returns what the directory's peers.json asks for; nil without one.
func readPeers(fs disk.FS, dir string) ([]consensus.Peer, error) {
	name := filepath.Join(dir, peersFile)
	b, err := disk.ReadFile(fs, name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read who the servers are now: %w", err)
	}
	peers, err := parsePeers(b)
	if err != nil {
		return nil, fmt.Errorf("cannot use %s: %w; correct it, or remove it to start with the servers that are stored", name, err)
	}
	return peers, nil
}

// parsePeers reads [{"id": "<node id>", "address": "ip:port", "non_voter": false}, …].
func parsePeers(b []byte) ([]consensus.Peer, error) {
	if len(b) > mostPeers {
		return nil, fmt.Errorf("it has %d bytes, more than a list of servers can have", len(b))
	}
	var old []string
	if json.Unmarshal(b, &old) == nil && len(old) > 0 {
		return nil, errors.New(`it lists addresses alone, as for Raft protocol 2; write {"id": "<node id>", "address": "ip:port"} for each server, the id from the file node-id of its data directory`)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var list []struct {
		ID       string `json:"id"`
		Address  string `json:"address"`
		NonVoter bool   `json:"non_voter"`
	}
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("it is not a list of servers: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the list")
	}
	var peers []consensus.Peer
	ids, addresses, voters := map[string]bool{}, map[string]bool{}, 0
	for i, one := range list {
		id := strings.ToLower(one.ID)
		at, err := netip.ParseAddrPort(one.Address)
		switch {
		case !uuidForm.MatchString(id):
			return nil, fmt.Errorf("server %d: id %q is no node id", i+1, one.ID)
		case err != nil || at.Port() == 0 || at.Addr().IsUnspecified():
			return nil, fmt.Errorf("server %d: address %q is no ip:port", i+1, one.Address)
		case ids[id] || addresses[at.String()]:
			return nil, fmt.Errorf("server %d: its id or address is there twice", i+1)
		}
		ids[id], addresses[at.String()] = true, true
		if !one.NonVoter {
			voters++
		}
		peers = append(peers, consensus.Peer{ID: id, Address: at.String(), Voter: !one.NonVoter})
	}
	if voters == 0 {
		return nil, errors.New("no server in it votes")
	}
	return peers, nil
}

// recoverPeers lets the options replace the stored group if peers.json says so, and tells the plan. done removes the file, and
// leaves an explanation: it is called once the log is open.
func (a *Agent) recoverPeers(o *consensus.Options) (done func() error, err error) {
	nothing := func() error { return nil }
	if o.Dir == "" {
		return nothing, nil
	}
	explain := func() error { return explainPeers(a.host.Disk, o.Dir) }
	if o.Recover, err = readPeers(a.host.Disk, o.Dir); err != nil || o.Recover == nil {
		return explain, err
	}
	inspected := *o
	inspected.Streams = nil // Inspect talks to nobody
	plan, err := consensus.Inspect(inspected)
	if err != nil {
		return nothing, err
	}
	a.log.Warn("peers.json replaces the servers of the cluster")
	for line := range strings.Lines(plan.String()) {
		a.log.Warn("recovery: " + strings.TrimRight(line, "\n"))
	}
	return func() error {
		if err := a.host.Disk.Remove(filepath.Join(o.Dir, peersFile)); err != nil {
			return fmt.Errorf("cannot remove peers.json, which must count once only: %w", err)
		}
		a.log.Info("the servers are replaced; peers.json is removed")
		return errors.Join(a.host.Disk.SyncDir(o.Dir), explain())
	}, nil
}

// explainPeers writes peers.info if it is not there.
func explainPeers(fs disk.FS, dir string) error {
	name := filepath.Join(dir, peersHelp)
	if _, err := disk.ReadFile(fs, name); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := disk.WriteFile(fs, name, []byte(peersText), 0o600); err != nil {
		return fmt.Errorf("cannot write how to replace lost servers: %w", err)
	}
	return nil
}

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
