package server

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tinylib/msgp/msgp"

	"rostra/engine/room"
	"rostra/engine/roster"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

// The level of a cluster says by which versions of their rules Commands are proposed (room.Level). It is a part of the
// state, and rises once every server of the log says, by gossip, that it knows more.

// level is the one row of levels. Without it the level is 1.
type level struct{ Level int }

var levels = store.NewTable[level]("rostra.level", store.Schema[level]{Key: func(*level) string { return "" }})

// MarshalMsg appends the row.
func (l *level) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendInt(b, l.Level), nil }

// UnmarshalMsg reads the row.
func (l *level) UnmarshalMsg(b []byte) (rest []byte, err error) {
	l.Level, rest, err = msgp.ReadIntBytes(b)
	return rest, err
}

// Msgsize bounds the encoded size, in bytes.
func (l *level) Msgsize() int { return msgp.IntSize }

func levelOf(r store.Reader) int {
	if row := levels.Get(r, ""); row != nil {
		return row.Level
	}
	return 1
}

// rules are the levels of a server.
type rules struct {
	known int          // by this program
	used  atomic.Int64 // by the state
}

// now is the level by which this server may propose.
func (r *rules) now() int { return min(int(r.used.Load()), r.known) }

// encode encodes a Command for the log by the rules that are in use.
func (s *Server) encode(c room.Command) ([]byte, error) {
	level := s.rules.now()
	entry, err := s.types.Command(c, level)
	if fault.Is(err, fault.Refused) && level < s.rules.known {
		if all, behind := s.commonLevel(); all == 0 {
			err = fault.New(fault.Refused, "%v; what server %s knows is not known yet: gossip has not shown it", err, behind)
		} else if behind != "" {
			err = fault.New(fault.Refused, "%v; server %s knows no others than those of level %d: upgrade it", err, behind, all)
		} else {
			err = fault.New(fault.Refused, "%v; all servers know newer ones, which will be in use in some seconds", err)
		}
	}
	return entry, err
}

// encodeFor encodes a Command for servers of another datacenter, whose level only they know: for all that may be asked. They
// encode it anew.
func (s *Server) encodeFor(c room.Command, datacenter string) ([]byte, error) {
	level := s.rules.known
	if s.host != nil && s.host.Roster != nil {
		level = min(level, s.host.Roster.Level(datacenter))
	}
	return s.types.Command(c, level)
}

// errLevel is why a server stops that is too old for its cluster.
func errLevel(level, known int) error {
	return fmt.Errorf("the cluster uses rules of level %d, this program knows those up to %d; upgrade this server", level, known)
}

// learn takes note of the state's level after it may have changed, and refuses one that this program does not know.
func (s *Server) learn() error {
	v := s.store.View()
	defer v.Release()
	l := levelOf(v)
	s.rules.used.Store(int64(l))
	if l > s.rules.known {
		return errLevel(l, s.rules.known)
	}
	return nil
}

// SetLevel is the Command that raises the level.
type SetLevel struct{ Level int }

// Name is the Command's name in the log.
func (c *SetLevel) Name() string { return "rostra.level" }

// Allowed is always nil: only a leader proposes it.
func (c *SetLevel) Allowed(store.Reader, authz.Decider) error { return nil }

// Run raises the level; it never falls.
func (c *SetLevel) Run(tx *store.Tx) (room.Result, error) {
	if levelOf(tx) < c.Level {
		levels.Put(tx, &level{c.Level})
	}
	return nil, nil
}

// MarshalMsg appends the level.
func (c *SetLevel) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendInt(b, c.Level), nil }

// UnmarshalMsg reads the level.
func (c *SetLevel) UnmarshalMsg(b []byte) (rest []byte, err error) {
	c.Level, rest, err = msgp.ReadIntBytes(b)
	return rest, err
}

// levelPeriod is how often the leader looks whether all servers know more.
const levelPeriod = 2 * time.Second

// raiseLevel is a duty of the leader.
func (s *Server) raiseLevel(ctx context.Context) error {
	tick := time.NewTicker(levelPeriod)
	defer tick.Stop()
	for {
		if all, _ := s.commonLevel(); all > s.rules.now() {
			if _, _, err := s.Apply(ctx, &SetLevel{Level: all}, room.Options{}); err != nil {
				return err
			}
			s.opts.Log.Info("all servers know newer rules of commands", "level", all)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// commonLevel is the highest level that all servers of the log know, and, if this one knows more, one of those that do not.
// It is 0 while some of them is not seen in gossip.
func (s *Server) commonLevel() (level int, behind string) {
	level = s.rules.known
	if s.clients == nil { // a lone server
		return level, ""
	}
	for _, p := range s.node.Peers() {
		if p.ID == s.opts.ID {
			continue
		}
		one := roster.Server{Node: p.ID}
		if s.host != nil && s.host.Roster != nil {
			if known, is := s.host.Roster.Find(p.ID); is {
				one = known
			}
		}
		if one.Level < level {
			level, behind = one.Level, one.Node
		}
	}
	return level, behind
}
