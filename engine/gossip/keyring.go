package gossip

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/memberlist"

	"rostra/kit/disk"
)

// Keyring holds the keys of one pool: the first encrypts what this member says, all of them decrypt what it hears. Its file
// is a JSON array of base64 texts, the first key first, and follows every change before the change is acknowledged.
type Keyring struct {
	fs   disk.FS
	path string // "" keeps the keys in memory only

	mu   sync.Mutex // held while a change and its file are made; memberlist's ring has a lock of its own
	ring *memberlist.Keyring
}

// ParseKey reads a gossip key: base64 of 16, 24 or 32 bytes. The error does not repeat the text.
func ParseKey(text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("the key is no base64; make one with `keygen`")
	}
	if err := memberlist.ValidateKey(key); err != nil {
		return nil, fmt.Errorf("the key has %d bytes, not 16, 24 or 32; make one with `keygen`", len(key))
	}
	return key, nil
}

// OpenKeyring reads the keyring file at path; if there is none, it makes one of the key seed. With neither it returns nil:
// the pool is not encrypted. An empty path keeps the keys in memory. has is false if the file was read and lacks seed.
func OpenKeyring(fs disk.FS, path, seed string) (k *Keyring, has bool, err error) {
	var first []byte
	if seed != "" {
		if first, err = ParseKey(seed); err != nil {
			return nil, false, err
		}
	}
	k = &Keyring{fs: fs, path: path}
	keys, err := k.read()
	if err != nil {
		return nil, false, err
	}
	if len(keys) > 0 {
		k.ring, err = memberlist.NewKeyring(keys, keys[0])
		return k, first == nil || k.knows(first), err
	}
	if first == nil {
		return nil, true, nil
	}
	if k.ring, err = memberlist.NewKeyring(nil, first); err != nil {
		return nil, false, err
	}
	return k, true, k.save()
}

// read returns the keys of the file; none if there is no file.
func (k *Keyring) read() ([][]byte, error) {
	if k.path == "" {
		return nil, nil
	}
	b, err := disk.ReadFile(k.fs, k.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the keyring: %w", err)
	}
	keys, err := parseKeys(b)
	if err != nil {
		return nil, fmt.Errorf("cannot read the keyring %s: %w; restore the file, or remove it to begin with `encrypt` again", k.path, err)
	}
	return keys, nil
}

func parseKeys(b []byte) ([][]byte, error) {
	var texts []string
	if err := json.Unmarshal(b, &texts); err != nil {
		return nil, errors.New("it is no JSON array of strings")
	}
	if len(texts) == 0 {
		return nil, errors.New("it holds no key")
	}
	keys := make([][]byte, len(texts))
	for i, text := range texts {
		key, err := ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		keys[i] = key
	}
	return keys, nil
}

func (k *Keyring) knows(key []byte) bool {
	return slices.ContainsFunc(k.ring.GetKeys(), func(have []byte) bool { return equalKeys(have, key) })
}

// save writes the file as the ring is now.
func (k *Keyring) save() error {
	if k.path == "" {
		return nil
	}
	keys := k.ring.GetKeys()
	texts := make([]string, len(keys))
	for i, key := range keys {
		texts[i] = base64.StdEncoding.EncodeToString(key)
	}
	b, err := json.Marshal(texts)
	if err != nil {
		return err
	}
	if err := k.fs.MkdirAll(filepath.Dir(k.path), 0o700); err != nil {
		return fmt.Errorf("cannot keep the keyring: %w", err)
	}
	return disk.WriteFile(k.fs, k.path, b, 0o600)
}

// change does what op says and keeps it; what cannot be kept is undone. Saying the same twice is no error.
func (k *Keyring) change(op KeyOp, key []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	had, primary := k.knows(key), k.ring.GetPrimaryKey()
	undo := func() error { return nil }
	var err error
	switch op {
	case InstallKey:
		if !had {
			undo = func() error { return k.remove(key) }
		}
		err = k.ring.AddKey(key)
	case UseKey:
		undo = func() error { return k.ring.UseKey(primary) }
		err = k.ring.UseKey(key)
	case RemoveKey:
		if had {
			undo = func() error { return k.ring.AddKey(key) }
		}
		err = k.remove(key)
	default:
		err = fmt.Errorf("unknown operation %d on the keyring", op)
	}
	if err != nil {
		return err
	}
	if err := k.save(); err != nil {
		return errors.Join(err, undo())
	}
	return nil
}

// remove drops a key. memberlist shifts the keys behind it in an array that others are reading, so it is made the last
// first: whichever key was used last stands in front, and this machine's own is used again at once.
func (k *Keyring) remove(key []byte) error {
	keys := k.ring.GetKeys()
	at := slices.IndexFunc(keys, func(have []byte) bool { return equalKeys(have, key) })
	if at > 0 {
		for _, behind := range keys[at+1:] {
			if err := errors.Join(k.ring.UseKey(behind), k.ring.UseKey(keys[0])); err != nil {
				return err
			}
		}
	}
	return k.ring.RemoveKey(key)
}

// list returns the keys, the one that encrypts first.
func (k *Keyring) list() [][]byte { return k.ring.GetKeys() }
