package local

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"rostra/feature/catalog"
	"rostra/kit/disk"
)

// The folders of the data directory that keep what was registered over HTTP: one JSON file for each service (with its
// checks), each single check and each TTL check's last state, named by the SHA-256 of its ID.
const (
	servicesDir = "services"
	checksDir   = "checks"
	statesDir   = "checks/state"
)

// files keeps registrations on disk. With no directory it keeps nothing.
type files struct {
	fs  disk.FS
	dir string

	noting *ttlNotes
}

// savedService is the content of a service's file.
type savedService struct {
	Service *serviceInput
	Token   string
}

// savedCheck is the content of a check's file: a definition, or the row of a maintenance check.
type savedCheck struct {
	Check       *checkInput `json:",omitempty"`
	Maintenance *savedMode  `json:",omitempty"`
	Token       string
}

type savedMode struct{ ServiceID, Reason string }

// savedState is what is left of a TTL check's last update. Expires is in Unix seconds.
type savedState struct {
	CheckID, Output, Status string
	Expires                 int64
}

func newFiles(fs disk.FS, dir string) (files, error) {
	f := files{fs, dir, &ttlNotes{ids: map[string]bool{}}}
	if dir == "" {
		return f, nil
	}
	for _, d := range []string{servicesDir, statesDir} {
		if err := fs.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return f, fmt.Errorf("cannot make the data directory: %w", err)
		}
	}
	return f, nil
}

func (f files) path(kind, id string) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(f.dir, kind, hex.EncodeToString(sum[:]))
}

func (f files) save(kind, id string, v any) error {
	if f.dir == "" {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return disk.WriteFile(f.fs, f.path(kind, id), b, 0o600)
}

// remove removes the file of an ID, durably; it is no error if there is none.
func (f files) remove(kind, id string) error {
	if f.dir == "" {
		return nil
	}
	err := f.fs.Remove(f.path(kind, id))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = f.fs.SyncDir(filepath.Join(f.dir, kind))
	}
	return err
}

func (f files) saveService(s *service) error {
	if s.source != fromHTTP {
		return nil
	}
	return f.save(servicesDir, s.row.ID, savedService{s.input, s.token})
}

func (f files) saveCheck(c *checked) error {
	if c.source != fromHTTP {
		return nil
	}
	saved := savedCheck{Check: c.input, Token: c.token}
	if c.input == nil {
		saved.Maintenance = &savedMode{c.row.ServiceID, c.row.Notes}
	}
	return f.save(checksDir, c.row.CheckID, saved)
}

// each decodes every file of a folder. One that cannot be read is an error: dropping it would lose a registration.
func (f files) each(kind string, visit func(b []byte) error) error {
	if f.dir == "" {
		return nil
	}
	names, err := f.fs.List(filepath.Join(f.dir, kind))
	if err != nil {
		return fmt.Errorf("cannot read the registrations: %w", err)
	}
	for _, name := range names {
		path := filepath.Join(f.dir, kind, name)
		if strings.HasSuffix(name, disk.TempSuffix) || filepath.Join(f.dir, statesDir) == path {
			continue
		}
		b, err := disk.ReadFile(f.fs, path)
		if err == nil {
			err = visit(b)
		}
		if err != nil {
			return fmt.Errorf("cannot read the registration in %s: %w; move the file away to start without it", path, err)
		}
	}
	return nil
}

// ttlNotes gathers TTL checks whose state is to be written. States are written about once a second, not for every
// heartbeat: losing the last second of one only means that the check starts critical after a power cut.
type ttlNotes struct {
	mu  sync.Mutex // guards ids
	ids map[string]bool
}

func (f files) noteTTL(id string) {
	if f.dir == "" {
		return
	}
	f.noting.mu.Lock()
	f.noting.ids[id] = true
	f.noting.mu.Unlock()
}

func (f files) takeTTL() []string {
	f.noting.mu.Lock()
	defer f.noting.mu.Unlock()
	var ids []string
	for id := range f.noting.ids {
		ids = append(ids, id)
	}
	clear(f.noting.ids)
	return ids
}

// saveStates writes the states of the TTL checks that were updated since the last call.
func (k *keeper) saveStates() {
	for _, id := range k.files.takeTTL() {
		k.mu.Lock()
		c := k.checks[id]
		var st savedState
		if c != nil {
			st = savedState{id, c.row.Output, c.row.Status, c.expires.Unix()}
		}
		k.mu.Unlock()
		var err error
		if c == nil {
			err = k.files.remove(statesDir, id)
		} else {
			err = k.files.save(statesDir, id, st)
		}
		if err != nil {
			k.log.Warn("cannot keep the state of a TTL check", "check", id, "error", err)
		}
	}
}

// restoreState gives a TTL check the state it had, if that still counts.
func (k *keeper) restoreState(c *checked) {
	if k.files.dir == "" || c.input == nil || c.input.TTL == 0 {
		return
	}
	b, err := disk.ReadFile(k.files.fs, k.files.path(statesDir, c.row.CheckID))
	if err != nil {
		return
	}
	var st savedState
	if json.Unmarshal(b, &st) != nil || st.CheckID != c.row.CheckID || !time.Unix(st.Expires, 0).After(time.Now()) {
		return
	}
	row := c.row.Copy()
	row.Status, row.Output = st.Status, st.Output
	c.row, c.expires = row, time.Unix(st.Expires, 0)
	c.since = time.Time{}
	if row.Status == catalog.Critical {
		c.since = time.Now()
	}
}
