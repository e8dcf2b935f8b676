package local

// Instances implements event.Local.
func (k *keeper) Instances() map[string][]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	tags := make(map[string][]string, len(k.services))
	for id, s := range k.services {
		tags[id] = s.row.Tags // a row is replaced, never changed
	}
	return tags
}

// Resync implements event.Local.
func (k *keeper) Resync() { nudge(k.leader) }
