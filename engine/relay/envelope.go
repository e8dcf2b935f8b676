package relay

import (
	"time"

	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

//go:generate go tool msgp -file envelope.go -o envelope_gen.go -tests=false -io=false -unexported

// The methods of the port. Those in the second block are between servers only.
const (
	methodApply   = "apply"   // applyBatch → outcomes
	methodRead    = "read"    // readAsk → readSaid
	methodCall    = "call"    // callAsk → callSaid
	methodWatch   = "watch"   // a stream of wants and news
	methodArchive = "archive" // a stream: archiveAsk; then archiveHead, and chunks until an empty one
	methodRestore = "restore" // a stream: archiveAsk, and chunks until an empty one; then a verdict

	methodConfirm = "confirm" // confirmAsk → confirmSaid: does the leader of this term still lead for all you know?
	methodReach   = "reach"   // confirmAsk → reachSaid: how far must I be, to speak for the cluster?
	methodForming = "forming" // confirmAsk → formingSaid: with whom would you form a cluster?
	methodSum     = "sum"     // sumAsk → sumSaid: what did you come to between two indexes?
)

// asking is the part of room.Options that travels.
type asking struct {
	Token       string        `msg:"Token"`
	Datacenter  string        `msg:"DC"`
	Server      string        `msg:"Server"`
	Consistency uint8         `msg:"Mode"`
	MaxStale    time.Duration `msg:"MaxStale"`
	Index       uint64        `msg:"Index"`
	Wait        time.Duration `msg:"Wait"`
}

func askingOf(o room.Options) asking {
	return asking{o.Token, o.Datacenter, o.Server, uint8(o.Consistency), o.MaxStale, o.Index, o.Wait}
}

func (a asking) options() room.Options {
	return room.Options{Token: a.Token, Datacenter: a.Datacenter, Server: a.Server,
		Consistency: httpd.Consistency(a.Consistency), MaxStale: a.MaxStale, Index: a.Index, Wait: a.Wait}
}

// freshness is the part of room.Meta that travels.
type freshness struct {
	Index       uint64        `msg:"Index"`
	KnownLeader bool          `msg:"Known"`
	LastContact time.Duration `msg:"Contact"`
}

func freshnessOf(m room.Meta) freshness { return freshness{m.Index, m.KnownLeader, m.LastContact} }

func (f freshness) meta(o room.Options) room.Meta {
	return room.Meta{Index: f.Index, KnownLeader: f.KnownLeader, LastContact: f.LastContact, Consistency: o.Consistency}
}

// verdict is an error on the wire inside an answer that carries several. Kind 255 stands for none.
type verdict struct {
	Kind uint8  `msg:"Kind"`
	Text string `msg:"Text"`
}

const noError = 255

func verdictOf(err error) verdict {
	if err == nil {
		return verdict{Kind: noError}
	}
	return verdict{uint8(fault.KindOf(err)), err.Error()}
}

func (v verdict) err() error {
	if v.Kind == noError {
		return nil
	}
	return &fault.Error{Kind: fault.Kind(v.Kind), Text: v.Text}
}

// applyBatch carries Commands of several callers.
type applyBatch struct {
	Final bool       `msg:"Final"` // it comes from a server: who does not lead must not send it on
	List  []applyAsk `msg:"List"`
}

type applyAsk struct {
	Asking  asking `msg:"Ask"`
	Command []byte `msg:"Command"` // as in the log
}

type outcomes struct {
	Fresh freshness `msg:"Fresh"`
	List  []outcome `msg:"List"`
}

type outcome struct {
	Verdict verdict `msg:"Verdict"`
	Value   []byte  `msg:"Value"`
}

type readAsk struct {
	Asking asking `msg:"Ask"`
	Query  []byte `msg:"Query"`
}

type readSaid struct {
	Fresh   freshness `msg:"Fresh"`
	Index   uint64    `msg:"Index"`
	Missing bool      `msg:"Missing"`
	Value   []byte    `msg:"Value"`
}

type callAsk struct {
	Asking asking `msg:"Ask"`
	Name   string `msg:"Name"`
	Body   []byte `msg:"Body"`
}

type callSaid struct {
	Fresh freshness `msg:"Fresh"`
	Value []byte    `msg:"Value"`
}

// want subscribes an agent to a Query under a number of its choice, above 0; without a Query it ends that, or asks for the
// whole answer again.
type want struct {
	ID      uint64 `msg:"ID"`
	Asking  asking `msg:"Ask"`
	Query   []byte `msg:"Query"`
	At      uint64 `msg:"At"`                // nothing older than the state at this index may be shown to the agent,
	Lineage string `msg:"Lineage"`           // if it is of this history
	Changes bool   `msg:"Changes,omitempty"` // long answers may come as what changed; agents that do not know that leave it out
	Again   bool   `msg:"Again,omitempty"`   // a change did not apply; only to servers that sent one
}

// news is an answer to a want, or a part of one: the Value is that of all frames up to the one without More. Its changes
// are told in the Value, one delta or several, if From is there. ID 0 tells how fresh the server is.
type news struct {
	ID      uint64    `msg:"ID"`
	More    bool      `msg:"More"`
	Index   uint64    `msg:"Index"`
	Missing bool      `msg:"Missing"`
	At      uint64    `msg:"At"` // the index of the state that was asked
	Lineage string    `msg:"Lineage"`
	Value   []byte    `msg:"Value"`
	Verdict verdict   `msg:"Verdict"`        // the want is over
	Fresh   freshness `msg:"Fresh"`          // of ID 0
	Keep    bool      `msg:"Keep,omitempty"` // the next answer may come as what changed in this one
	From    uint64    `msg:"From,omitempty"` // the Index of the answer that the change begins at, the one sent last
	Sum     uint32    `msg:"Sum,omitempty"`  // of the value that the change makes (CRC-32C)
}

type archiveAsk struct {
	Asking asking `msg:"Ask"`
}

type archiveHead struct {
	Index uint64 `msg:"Index"`
}

type confirmAsk struct {
	From string `msg:"From"` // the ID of the server that asks
	Term uint64 `msg:"Term"`
}

type confirmSaid struct {
	Term uint64 `msg:"Term"`
}

type reachSaid struct {
	Index uint64 `msg:"Index"`
}

type sumAsk struct {
	Entry uint64 `msg:"Entry"` // of the log, that the server must have run
	From  uint64 `msg:"From"`
	To    uint64 `msg:"To"`
}

type sumSaid struct {
	Sum   uint64 `msg:"Sum"`
	Known bool   `msg:"Known"`
}

type formingSaid struct {
	Begun bool     `msg:"Begun"`
	With  []string `msg:"With"`
}
