package local

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"rostra/feature/catalog"
	"rostra/kit/disk"
)

// The folders of the data directory that keep what was registered over HTTP: one JSON file for each service (with the
// checks that came with it), each single check and each TTL check's last state, named by the SHA-256 of its ID.
const (
	servicesDir = "services"
	checksDir   = "checks"
	statesDir   = "checks/state"
)

// files keeps registrations on disk. With no directory it keeps nothing. Who writes or removes the file of an ID holds
// the ID's lock.
type files struct {
	fs  disk.FS
	dir string

	noting *ttlNotes
}

// savedService is the content of a service's file.
type savedService struct {
	Service json.RawMessage // as it was registered
	Token   string
	Without []string    `json:",omitempty"` // IDs of checks of Service that went since
	Also    []savedPart `json:",omitempty"` // checks of an earlier registration that stayed
}

// savedPart is a check that came with an earlier registration of its service.
type savedPart struct {
	ID    string
	Check json.RawMessage
	Token string
}

// savedCheck is the content of a check's file: a definition, or a maintenance mode.
type savedCheck struct {
	Check       json.RawMessage `json:",omitempty"`
	Maintenance *savedMode      `json:",omitempty"`
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

// remove removes the files of IDs, durably; it is no error if there is none.
func (f files) remove(kind string, ids ...string) error {
	if f.dir == "" {
		return nil
	}
	removed := false
	for _, id := range ids {
		err := f.fs.Remove(f.path(kind, id))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		removed = removed || err == nil
	}
	if !removed {
		return nil
	}
	return f.fs.SyncDir(filepath.Join(f.dir, kind))
}

// saveService writes the file of a service, unless it holds the same already: some clients register anew every few
// seconds. bundled are the checks that are kept in it, as they are now.
func (f files) saveService(s *service, bundled []checked) error {
	saved := savedService{Service: s.def.Raw, Token: s.token}
	have := map[string]bool{}
	for _, c := range bundled {
		if c.home == s {
			have[c.row.CheckID] = true
		} else {
			saved.Also = append(saved.Also, savedPart{c.row.CheckID, c.def.Raw, c.token})
		}
	}
	for _, id := range s.ids {
		if !have[id] {
			saved.Without = append(saved.Without, id)
		}
	}
	slices.SortFunc(saved.Also, func(a, b savedPart) int { return strings.Compare(a.ID, b.ID) })
	b, err := json.Marshal(saved)
	if err != nil || f.dir == "" {
		return err
	}
	sum := sha256.Sum256(b)
	if s.kept == sum {
		return nil
	}
	s.kept = [32]byte{}
	if err := disk.WriteFile(f.fs, f.path(servicesDir, s.row.ID), b, 0o600); err != nil {
		return err
	}
	s.kept = sum
	return nil
}

func (f files) saveCheck(c *checked) error {
	saved := savedCheck{Token: c.token}
	if c.def == nil {
		saved.Maintenance = &savedMode{c.row.ServiceID, c.row.Notes}
	} else {
		saved.Check = c.def.Raw
	}
	b, err := json.Marshal(saved)
	if err != nil || f.dir == "" {
		return err
	}
	return disk.WriteFile(f.fs, f.path(checksDir, c.row.CheckID), b, 0o600)
}

// each decodes every file of a folder, and removes what a power cut left of one that was being written. A file that
// cannot be read is an error: dropping it would lose a registration.
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
		if filepath.Join(f.dir, statesDir) == path {
			continue
		}
		if strings.HasSuffix(name, disk.TempSuffix) {
			if err := f.fs.Remove(path); err != nil {
				return fmt.Errorf("cannot remove an unfinished file: %w", err)
			}
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
// heartbeat: losing the last second of one only means that the check starts critical after a crash.
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

// saveState writes the state file of a TTL check. There may be hundreds a second, so it is neither synced nor replaced by
// a new file but written over: the line begins with a checksum, what an older, longer one leaves behind it is ignored, and
// a state that a power cut took or tore does not count, so that the check starts critical.
func (f files) saveState(st savedState) error {
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	w, err := f.fs.OpenFile(f.path(statesDir, st.CheckID), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%08x %s\n", crc32.ChecksumIEEE(b), b)
	return errors.Join(err, w.Close())
}

// readState reads what saveState wrote.
func readState(b []byte) (st savedState, ok bool) {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	sum, text, found := bytes.Cut(line, []byte(" "))
	ok = found && string(sum) == fmt.Sprintf("%08x", crc32.ChecksumIEEE(text)) && json.Unmarshal(text, &st) == nil
	return st, ok
}

// saveStates writes the states of the TTL checks that were updated since the last call.
func (k *keeper) saveStates() {
	for _, id := range k.files.takeTTL() {
		if err := k.saveStateOf(id); err != nil {
			k.log.Warn("cannot keep the state of a TTL check", "check", id, "error", err)
		}
	}
}

func (k *keeper) saveStateOf(id string) error {
	defer k.edits.take(map[item]bool{{true, id}: true})()
	k.mu.Lock()
	c := k.checks[id]
	if c == nil || c.ttl() == 0 {
		k.mu.Unlock()
		return nil // who removed the check removes its state
	}
	st := savedState{id, c.row.Output, c.row.Status, c.expires.Unix()}
	k.mu.Unlock()
	return k.files.saveState(st)
}

// restoreState gives a TTL check the state it had, if that still counts. Another that is kept on disk starts critical, whatever
// its definition says: that was for the first time, and since then what it asks may have died (spec agent.md §2).
func (k *keeper) restoreState(c *checked) {
	if c.source == fromHTTP {
		c.row = c.row.Copy()
		c.row.Status = catalog.Critical
	}
	if k.files.dir == "" || c.ttl() == 0 {
		return
	}
	b, err := disk.ReadFile(k.files.fs, k.files.path(statesDir, c.row.CheckID))
	if err != nil {
		return
	}
	st, ok := readState(b)
	if !ok || st.CheckID != c.row.CheckID || !time.Unix(st.Expires, 0).After(time.Now()) {
		return
	}
	switch st.Status {
	case catalog.Passing, catalog.Warning, catalog.Critical:
	default:
		return
	}
	row := c.row.Copy()
	row.Status, row.Output = st.Status, st.Output
	c.row, c.expires = row, time.Unix(st.Expires, 0)
}

// dropStates removes the states of checks that are no more, at a start.
func (k *keeper) dropStates() {
	if k.files.dir == "" {
		return
	}
	known := map[string]bool{}
	for id, c := range k.checks {
		if c.ttl() > 0 {
			known[filepath.Base(k.files.path(statesDir, id))] = true
		}
	}
	folder := filepath.Join(k.files.dir, statesDir)
	names, err := k.files.fs.List(folder)
	for _, name := range names {
		if !known[name] && err == nil {
			err = k.files.fs.Remove(filepath.Join(folder, name))
		}
	}
	if err != nil {
		k.log.Warn("cannot remove the states of former checks", "error", err)
	}
}
