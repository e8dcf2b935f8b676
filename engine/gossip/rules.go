package gossip

import (
	"fmt"
	"net"
	"sync"

	"github.com/hashicorp/memberlist"
	"github.com/tinylib/msgp/msgp"
)

// tagID and tagReconnect are the two tags that a pool itself looks at: the ID, which no two live members share, and how
// long others shall keep a member that failed.
const (
	tagID        = "id"
	tagReconnect = "rc_tm"
)

// rules decide who may be a member: whom the caller accepts, and nobody who claims the name or the ID of a live member at
// another address. memberlist asks them with its own locks held, so they look at a copy of the list that events keep.
type rules struct {
	name, id, addr string // of this member
	accept         func(Member) error
	tally          *tally

	mu    sync.Mutex        // guards the rest
	alive map[string]holder // by name; this member is not in it
	names map[string]string // ID → name of the live member that has it
	moved map[string]string // name of a live member → address from which one was refused last
}

// holder is who has a name.
type holder struct{ id, addr string }

func newRules(o *Options, addr string, t *tally) *rules {
	return &rules{name: o.Name, id: o.Tags[tagID], addr: addr, accept: o.Accept, tally: t,
		alive: map[string]holder{}, names: map[string]string{}, moved: map[string]string{}}
}

// NotifyMerge implements memberlist.MergeDelegate: it is asked about all that the other side of a join knows. Its error ends
// the join; on the joining side it is the error of Join.
func (r *rules) NotifyMerge(peers []*memberlist.Node) error {
	for _, n := range peers {
		if n.State != memberlist.StateAlive && n.State != memberlist.StateSuspect {
			continue // nothing is taken over from them
		}
		if err := r.check(n); err != nil {
			return err
		}
	}
	return nil
}

// NotifyAlive implements memberlist.AliveDelegate: it is asked about every message that says that somebody is alive.
func (r *rules) NotifyAlive(n *memberlist.Node) error { return r.check(n) }

func (r *rules) check(n *memberlist.Node) error {
	m, err := nodeMember(n)
	if err != nil {
		r.tally.note(kindGarbage, n.Name, err.Error())
		return err
	}
	addr := hostPort(m.Addr, int(m.Port))
	if n.Name == r.name && addr == r.addr {
		return nil // what is left of an earlier start is for memberlist to correct
	}
	if r.accept != nil {
		if err := r.accept(m); err != nil {
			r.tally.note(kindMember, addr, err.Error())
			return err
		}
	}
	if err := r.unique(n.Name, m.Tags[tagID], addr); err != nil {
		r.tally.note(kindIdentity, addr, err.Error())
		return err
	}
	return nil
}

// unique refuses a second holder of a name or an ID. Who is at the same address has taken the place of the other: no two
// processes can listen there.
func (r *rules) unique(name, id, addr string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name == r.name {
		return claimsName(name, id, addr, holder{r.id, r.addr}, "this agent")
	}
	if id != "" && id == r.id && addr != r.addr {
		return claimsID(name, id, addr, r.name, r.addr, "this agent")
	}
	if h, is := r.alive[name]; is && h.addr != addr {
		r.moved[name] = addr
		return claimsName(name, id, addr, h, "a live member")
	}
	if other, is := r.names[id]; is && id != "" && other != name && r.alive[other].addr != addr {
		return claimsID(name, id, addr, other, r.alive[other].addr, "a live member")
	}
	return nil
}

func claimsName(name, id, addr string, h holder, whose string) error {
	if id == h.id {
		return fmt.Errorf("Member '%s' at %s has both name and node ID '%s' of %s at %s: if two agents run, one has a copy of the "+
			"other's data directory and needs its own name and node-id file; if the agent has moved, wait until the old address has failed",
			name, addr, id, whose, h.addr)
	}
	return fmt.Errorf("Member '%s' at %s has conflicting node ID '%s': the name belongs to %s at %s with node ID '%s'; "+
		"give one of them another node_name, or wait until the old one has failed", name, addr, id, whose, h.addr, h.id)
}

func claimsID(name, id, addr, holder, at, whose string) error {
	return fmt.Errorf("Member '%s' at %s has conflicting node ID '%s': it is that of %s, '%s' at %s; "+
		"give one of them another node_id, or remove the copied node-id file", name, addr, id, whose, holder, at)
}

// follow keeps the list of the live in step with the pool's events. It returns where those are now that have failed and were
// refused at another address before.
func (r *rules) follow(e Event) (elsewhere []mover) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range e.Members {
		if m.Name == r.name {
			continue
		}
		if h, is := r.alive[m.Name]; is && r.names[h.id] == m.Name {
			delete(r.names, h.id)
		}
		delete(r.alive, m.Name)
		if addr, is := r.moved[m.Name]; is && e.Kind == Failed {
			elsewhere = append(elsewhere, mover{m.Name, addr})
		}
		delete(r.moved, m.Name)
		if e.Kind == Joined || e.Kind == Updated && m.Status == StatusAlive {
			h := holder{m.Tags[tagID], hostPort(m.Addr, int(m.Port))}
			r.alive[m.Name] = h
			if h.id != "" {
				r.names[h.id] = m.Name
			}
		}
	}
	return elsewhere
}

// nodeMember reads a member as memberlist shows it. What others sent is checked: Serf does so only for its own delegates.
func nodeMember(n *memberlist.Node) (Member, error) {
	if len(n.Addr) != net.IPv4len && len(n.Addr) != net.IPv6len {
		return Member{}, fmt.Errorf("cannot read the member '%s': its address has %d bytes", n.Name, len(n.Addr))
	}
	if len(n.Meta) > memberlist.MetaMaxSize {
		return Member{}, fmt.Errorf("cannot read the member '%s': its tags have %d bytes", n.Name, len(n.Meta))
	}
	tags, err := readTags(n.Meta)
	if err != nil {
		return Member{}, fmt.Errorf("cannot read the tags of member '%s': %w", n.Name, err)
	}
	return Member{Name: n.Name, Addr: n.Addr.String(), Port: n.Port, Tags: tags, Status: StatusAlive, ProtocolMin: n.PMin,
		ProtocolMax: n.PMax, ProtocolCur: n.PCur, DelegateMin: n.DMin, DelegateMax: n.DMax, DelegateCur: n.DCur}, nil
}

// tagMagic begins the tags as Serf encodes them: a MessagePack map of texts follows. Without it all of it is the role.
const tagMagic = 0xff

func readTags(b []byte) (map[string]string, error) {
	tags := map[string]string{}
	if len(b) == 0 {
		return tags, nil
	}
	if b[0] != tagMagic {
		tags["role"] = string(b)
		return tags, nil
	}
	n, b, err := msgp.ReadMapHeaderBytes(b[1:])
	for ; n > 0 && err == nil; n-- {
		var key, value []byte
		if key, b, err = readText(b); err == nil {
			value, b, err = readText(b)
		}
		tags[string(key)] = string(value)
	}
	return tags, err
}

// readText reads a text that may be encoded as one or as bytes.
func readText(b []byte) (text, rest []byte, err error) {
	if msgp.NextType(b) == msgp.BinType {
		return msgp.ReadBytesZC(b)
	}
	return msgp.ReadStringZC(b)
}
