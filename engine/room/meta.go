package room

import "sync"

// NodeMeta is the metadata of an agent's node, which a reload may change. The zero value has none, and so does a nil
// pointer. Safe for concurrent use.
type NodeMeta struct {
	mu      sync.Mutex // guards both
	now     map[string]string
	changed chan struct{} // closes at a change; nil while nobody waits
}

// Set replaces the metadata by all, which must not be changed any more.
func (m *NodeMeta) Set(all map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = all
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// All returns the metadata, which must not be changed, and a channel that closes when it is no longer this.
func (m *NodeMeta) All() (now map[string]string, changed <-chan struct{}) {
	if m == nil {
		return nil, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return m.now, m.changed
}
