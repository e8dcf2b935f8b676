package cert

import (
	"sync"
	"sync/atomic"
)

// Keeper holds the certificates of a process: those of the last reading that went well. Safe for concurrent use.
type Keeper struct {
	now atomic.Pointer[Set]

	mu      sync.Mutex // guards changed
	changed chan struct{}
}

// Open reads the files. The error is an *Error.
func Open(c Conf) (*Keeper, error) {
	s, err := Load(c)
	if err != nil {
		return nil, err
	}
	return NewKeeper(s), nil
}

// NewKeeper returns a Keeper that begins with certificates that have been read.
func NewKeeper(s *Set) *Keeper {
	k := &Keeper{changed: make(chan struct{})}
	k.now.Store(s)
	return k
}

// Now returns the present certificates. A connection asks for them once, so that it is held to one reading.
func (k *Keeper) Now() *Set { return k.now.Load() }

// Reload reads the files of c, which may be those of before, anew and uses them. If anything is wrong the old certificates
// stay and the error, an *Error, says what.
func (k *Keeper) Reload(c Conf) error {
	s, err := Load(c)
	if err != nil {
		return err
	}
	k.Use(s)
	return nil
}

// Use replaces the certificates. Connections that begin from then on are held to the new ones; those there are go on.
func (k *Keeper) Use(s *Set) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now.Store(s)
	close(k.changed)
	k.changed = make(chan struct{})
}

// Changed returns a channel that closes at the next reload. Ask for it before Now, so that none is missed.
func (k *Keeper) Changed() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.changed
}
