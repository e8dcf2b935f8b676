package session

import (
	"slices"
	"strconv"
	"strings"

	"rostra/feature/catalog"
	"rostra/kit/httpd"
	"rostra/kit/store"
	"rostra/kit/wire"
)

//go:generate go tool msgp -file session.go -o session_gen.go -tests=false -io=false -unexported

// What happens to the keys that a session holds when it ends.
const (
	Release = "release" // they stay, unlocked
	Delete  = "delete"  // they go
)

// Session is a row of Sessions and the payload of Create. Apart from CreateIndex and ModifyIndex it never changes: a
// renewal is a row of its own.
type Session struct {
	ID            string         `msg:"ID"` // a lower-case UUID
	Name          string         `msg:"Name"`
	Node          string         `msg:"Node"`      // as the client spelled it
	LockDelay     wire.Duration  `msg:"LockDelay"` // as asked for; kv caps it
	Behavior      string         `msg:"Behavior"`  // Release or Delete
	TTL           string         `msg:"TTL"`       // as the client wrote it
	Life          wire.Duration  `msg:"Life"`      // what TTL means; 0: the session does not expire
	NodeChecks    []string       `msg:"NodeChecks"`
	ServiceChecks []ServiceCheck `msg:"ServiceChecks"`
	Checks        []string       `msg:"Checks"` // the member of before Consul 1.7
	CreateIndex   uint64         `msg:"CreateIndex"`
	ModifyIndex   uint64         `msg:"ModifyIndex"`
	Shows         bool           `msg:"Shows,omitempty"`    // checks of type session follow it: a row under the second version of the rules
	Outlasts      bool           `msg:"Outlasts,omitempty"` // its TTL outlasts its node (Delay): a row under the third version
}

// In nanoseconds: what caps lock-delays (spec http/session.md), and what caps how long a TTL outlasts its session, which
// nobody can end any more.
const (
	maxDelay   = 60_000_000_000
	maxOutlast = 10 * maxDelay
)

// Delay is for how long after the session's end nobody gets a lock that it held, in nanoseconds. r shows the state with the
// end. When its node is taken out the holder, which may be cut off, goes on believing in its TTL. Nobody asked for that end:
// autopilot takes out a server that is dead in its eyes. So the TTL is waited for, and an eighth of it, since the log's clock
// may be ahead of the holder's by a sixteenth of what has passed.
func (s *Session) Delay(r store.Reader) wire.Duration {
	delay := min(s.LockDelay, maxDelay)
	if s.Outlasts && catalog.Nodes.Get(r, strings.ToLower(s.Node)) == nil {
		delay = max(delay, min(s.Life+s.Life/8, maxOutlast))
	}
	return delay
}

// ServiceCheck names a service's check that a session is bound to.
type ServiceCheck struct {
	ID        string `msg:"ID"`
	Namespace string `msg:"Namespace"`
}

// renewal says when a session that expires was last renewed. It is apart from the session because a renewal is nothing
// that readers of sessions see.
type renewal struct {
	ID      string        `msg:"ID"`
	Renewed int64         `msg:"Renewed"` // the log's clock, Unix nanoseconds
	Life    wire.Duration `msg:"Life"`
}

// Sessions is the table of sessions by ID, filed by lower-cased node and by the catalog's keys of bound checks.
var Sessions = store.NewTable[Session]("sessions", store.Schema[Session]{
	Key: func(s *Session) string { return s.ID },
	Indexes: []store.Index[Session]{
		{Name: "node", Keys: func(s *Session) []string { return []string{strings.ToLower(s.Node)} }},
		{Name: "check", Keys: func(s *Session) []string {
			keys := s.bound()
			for i, id := range keys {
				keys[i] = catalog.Key(s.Node, id)
			}
			return keys
		}},
	},
})

var renewals = store.NewTable[renewal]("session.renewals", store.Schema[renewal]{
	Key:   func(r *renewal) string { return r.ID },
	Brief: true,
})

// Find returns the session of an ID in any case, nil if there is none.
func Find(r store.Reader, id string) *Session { return Sessions.Get(r, strings.ToLower(id)) }

// bound returns the IDs of all bound checks, each once, in the order they are looked at.
func (s *Session) bound() []string {
	var ids []string
	add := func(id string) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, id := range s.Checks {
		add(id)
	}
	for _, id := range s.NodeChecks {
		add(id)
	}
	for _, c := range s.ServiceChecks {
		add(c.ID)
	}
	return ids
}

// AppendJSON appends the shape of spec http/session.md.
func (s *Session) AppendJSON(b []byte) []byte {
	b = httpd.AppendString(append(b, `{"ID":`...), s.ID)
	b = httpd.AppendString(append(b, `,"Name":`...), s.Name)
	b = httpd.AppendString(append(b, `,"Node":`...), s.Node)
	b = strconv.AppendInt(append(b, `,"LockDelay":`...), int64(s.LockDelay), 10)
	b = httpd.AppendString(append(b, `,"Behavior":`...), s.Behavior)
	b = httpd.AppendString(append(b, `,"TTL":`...), s.TTL)
	b = httpd.AppendStrings(append(b, `,"NodeChecks":`...), s.NodeChecks)
	b = appendServiceChecks(append(b, `,"ServiceChecks":`...), s.ServiceChecks)
	if len(s.Checks) > 0 {
		b = httpd.AppendStrings(append(b, `,"Checks":`...), s.Checks)
	}
	b = httpd.AppendUint(append(b, `,"CreateIndex":`...), s.CreateIndex)
	b = httpd.AppendUint(append(b, `,"ModifyIndex":`...), s.ModifyIndex)
	return append(b, '}')
}

func appendServiceChecks(b []byte, list []ServiceCheck) []byte {
	if len(list) == 0 {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i, c := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = httpd.AppendString(append(b, `{"ID":`...), c.ID)
		b = append(httpd.AppendString(append(b, `,"Namespace":`...), c.Namespace), '}')
	}
	return append(b, ']')
}

// List is the Value of all Queries for sessions, by ID.
//
//msgp:ignore List
type List []*Session

// AppendJSON appends the array; [] if there is none.
func (l List) AppendJSON(b []byte) []byte {
	return httpd.AppendArray(b, l)
}

// MarshalMsg appends the list.
func (l List) MarshalMsg(b []byte) ([]byte, error) { return wire.AppendList(b, l) }

// UnmarshalMsg reads the list.
func (l *List) UnmarshalMsg(b []byte) (rest []byte, err error) {
	*l, rest, err = wire.ReadList[Session](b)
	return rest, err
}
