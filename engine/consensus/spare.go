package consensus

import "rostra/kit/fault"

// spare is what may still be written, in bytes of Commands, and why no more. Whoever holds the packer's lock uses it.
type spare struct {
	left int64
	why  string
}

// around is what an entry of the log takes beside its Command, at most.
const around = 256

func (s *spare) take(size int) error {
	if s == nil {
		return nil
	}
	if s.left -= int64(size) + around; s.left < 0 {
		s.left += int64(size) + around
		return fault.New(fault.Unavailable, "%s", s.why)
	}
	return nil
}

// Allow bounds how many bytes of Commands are taken from now on, until it is called again; those that do not fit are
// refused with a fault.Unavailable of the text why: they were not applied, and the log is whole. An empty why is no bound.
// It is called while the disk still has room, since a log that could not be written stops for good.
func (n *Node) Allow(bytes int64, why string) {
	n.packer.mu.Lock()
	defer n.packer.mu.Unlock()
	if n.packer.spare = nil; why != "" {
		n.packer.spare = &spare{bytes, why}
	}
}
