package gossip

import (
	"fmt"
	"net"
	"strconv"

	"github.com/hashicorp/serf/serf"
)

// Member is one member of a pool as this member sees it now. Its JSON is that of /v1/agent/members.
type Member struct {
	Name   string
	Addr   string // IP
	Port   uint16
	Tags   map[string]string // the caller's own copy; not nil
	Status Status

	ProtocolMin, ProtocolMax, ProtocolCur uint8 // memberlist's protocol
	DelegateMin, DelegateMax, DelegateCur uint8 // Serf's protocol
}

// Status says how a member does. Its numbers are part of the HTTP API.
type Status int

// The statuses of a member. StatusNone is the zero value: nothing is known.
const (
	StatusNone    Status = iota
	StatusAlive          // it answers
	StatusLeaving        // it said that it is going
	StatusLeft           // it went, or was made to
	StatusFailed         // it stopped answering
)

// String returns the word that `members` shows.
func (s Status) String() string {
	switch s {
	case StatusNone:
		return "none"
	case StatusAlive:
		return "alive"
	case StatusLeaving:
		return "leaving"
	case StatusLeft:
		return "left"
	case StatusFailed:
		return "failed"
	}
	return fmt.Sprintf("status(%d)", int(s))
}

// Kind says what an Event tells.
type Kind int

// The kinds of Event. Resync is the first event of every Run and the one that stands for events that were dropped
// because the receiver was slow: read Members again. Left is also told of a failed member that was forced to leave.
const (
	Resync Kind = iota
	Joined
	Left
	Failed
	Updated // its tags or its address changed
	Reaped  // it is no longer listed
	User    // somebody called Send
)

// Event is something that happened in a pool. Members is set for the kinds Joined to Reaped, the others for User only.
type Event struct {
	Kind    Kind
	Members []Member // as they were then, never empty; shared by all receivers: not to be changed
	Name    string
	Payload []byte // may be nil; shared by all receivers: not to be changed
	LTime   uint64 // Serf's Lamport time of the user event
}

func toMember(m serf.Member) Member {
	return Member{
		Name: m.Name, Addr: m.Addr.String(), Port: m.Port, Tags: copyTags(m.Tags), Status: toStatus(m.Status),
		ProtocolMin: m.ProtocolMin, ProtocolMax: m.ProtocolMax, ProtocolCur: m.ProtocolCur,
		DelegateMin: m.DelegateMin, DelegateMax: m.DelegateMax, DelegateCur: m.DelegateCur,
	}
}

func toStatus(s serf.MemberStatus) Status {
	switch s {
	case serf.StatusAlive:
		return StatusAlive
	case serf.StatusLeaving:
		return StatusLeaving
	case serf.StatusLeft:
		return StatusLeft
	case serf.StatusFailed:
		return StatusFailed
	}
	return StatusNone
}

// toEvent reports false for what is no news to callers: Serf's queries.
func toEvent(e serf.Event) (Event, bool) {
	switch e := e.(type) {
	case serf.UserEvent:
		return Event{Kind: User, Name: e.Name, Payload: e.Payload, LTime: uint64(e.LTime)}, true
	case serf.MemberEvent:
		kind, known := map[serf.EventType]Kind{
			serf.EventMemberJoin: Joined, serf.EventMemberLeave: Left, serf.EventMemberFailed: Failed,
			serf.EventMemberUpdate: Updated, serf.EventMemberReap: Reaped,
		}[e.Type]
		if !known || len(e.Members) == 0 {
			return Event{}, false
		}
		members := make([]Member, len(e.Members))
		for i, m := range e.Members {
			members[i] = toMember(m)
		}
		return Event{Kind: kind, Members: members}, true
	}
	return Event{}, false
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
