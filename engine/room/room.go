package room

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"time"

	"rostra/engine/consensus"
	"rostra/engine/gossip"
	"rostra/engine/roster"
	"rostra/engine/shelf"
	"rostra/kit/cert"
	"rostra/kit/cli"
	"rostra/kit/disk"
	"rostra/kit/httpd"
	"rostra/kit/live"
	"rostra/kit/metric"
	"rostra/kit/store"
)

// Room is what a feature hands over: plain data, listed in features.go.
type Room struct {
	Name     string // of the feature's folder
	Tables   []store.AnyTable
	Triggers []store.Trigger
	Commands []CommandType
	Queries  []QueryType     // those that agents ask servers
	Calls    []ProcedureType // those that agents ask servers
	Verbs    []cli.Verb
	Settings func() any                                 // a new settings struct, if the feature has settings
	Open     func(h *Host, settings any) (*Part, error) // what it does in a running agent; nil: nothing
}

// Part is a feature at work in one agent. All fields may be nil.
type Part struct {
	Routes []httpd.Route
	Loops  []Loop                              // run while this server leads
	Run    func(ctx context.Context) error     // runs as long as the agent does
	Reload func(settings any) error            // takes changed settings over
	Stats  func() map[string]map[string]string // sections of `info`
	Close  func() error
}

// Loop is a duty of the leader. Run is called once this server leads and its state is whole; its ctx ends with the term.
// An error is logged and the loop started again after a pause.
type Loop struct {
	Name string
	Run  func(ctx context.Context) error
}

// Identity says who this agent is.
type Identity struct {
	Node       string // node name
	ID         string // node ID, a UUID
	Datacenter string // lower-case
	Primary    string // the datacenter whose access rules count for all, lower-case
	Domain     string // DNS domain with its last dot
	Address    string // advertised IP
	Tagged     map[string]string
	Region     string // where it stands, for people
	Zone       string
	Server     bool
	Dev        bool
	ServerPort int

	// What only gossip tells of it.
	Bootstrap bool          // it was started to be a cluster of its own
	Expect    int           // bootstrap_expect; 0 if not set
	Level     int           // the newest rules of Commands that its program knows (Level)
	TLS       bool          // its server port speaks TLS
	Replica   bool          // a server that shall not vote
	Reconnect time.Duration // how long the others shall keep it after it failed; 0 leaves it to them
}

// Host is what a feature may know of the agent it runs in, and ask of it.
type Host struct {
	Door       Door
	Self       Identity
	Log        *slog.Logger
	Disk       disk.FS      // where Dir lies
	Dir        string       // the data directory; "" keeps everything in memory
	Translate  bool         // translate_wan_addrs
	Cluster    Cluster      // the servers
	Raft       Raft         // their log; nil on agents that are not servers
	LAN, WAN   *gossip.Pool // WAN is nil on agents that are not servers
	Roster     *roster.Roster
	Certs      *cert.Keeper                   // those of this agent between agents; nil where no agent runs
	HTTPSCerts *cert.Keeper                   // those of its HTTPS port; nil if it has none
	Meta       *live.Value[map[string]string] // the metadata of its node, which a reload changes; nil, as in tests, is none
	Reports    *Reports                       // what it says of itself
	Metrics    *metric.Registry               // what it measures; nil, as in tests, measures nothing
	Shelf      *shelf.Shelf                   // what features of this agent leave for each other
	Agent      Agent                          // the process itself
}

// ForceLeave makes a failed member of this datacenter one that left, with prune one that is not listed; on a server also in
// the pool between datacenters, under its name there. That one is told even if it still takes the member for alive, because
// it takes longer to notice: when it does, the member has left. One that lives objects in both, and is asked in the first only.
func (h *Host) ForceLeave(name string, prune bool) error {
	lives := slices.ContainsFunc(h.LAN.Members(), func(m gossip.Member) bool { return m.Name == name && m.Status == gossip.StatusAlive })
	err := h.LAN.ForceLeave(name, prune)
	if err != nil || h.WAN == nil || lives {
		return err
	}
	far := name + "." + h.Self.Datacenter
	if !slices.ContainsFunc(h.WAN.Members(), func(m gossip.Member) bool { return m.Name == far }) {
		return nil
	}
	return h.WAN.ForceLeave(far, prune)
}

// Cluster is what a feature may ask of the group of servers beyond the Door, on any agent.
type Cluster interface {
	// Archive asks for a snapshot of the whole state of a datacenter: its leader's, with Stale that of the server asked.
	// write, to be called once, writes it as an archive. The index is that of its newest log entry.
	Archive(ctx context.Context, o Options) (write func(io.Writer) error, index uint64, err error)
	Unarchive(ctx context.Context, r io.Reader, o Options) error // replaces the whole state by an archive's
	Counters() map[string]uint64                                 // what this agent's door counted since its start
	// Restored closes when an archive next replaces the state: what was in step with it may no longer be.
	Restored() <-chan struct{}
	Stats() map[string]map[string]string // the sections "consul" and, on servers, "raft" of info
}

// Raft is the group of servers that keep the log, as one of them sees it. Changes work on the leader only; elsewhere they
// are a fault.NotApplied.
type Raft interface {
	// Peers returns the stored configuration, and which is the leader's ID: "" while unknown.
	Peers() (leader string, all []consensus.Peer)
	// Change adds or removes a server, or moves leadership to it.
	Change(ctx context.Context, c consensus.Change) error
	// Progress returns how far this server is.
	Progress() consensus.Progress
}

// Agent is what a feature may ask of the process.
type Agent interface {
	Reload(ctx context.Context) error
	Leave(ctx context.Context) error     // a graceful leave; the process ends soon after
	Debug() map[string]any               // the effective configuration, secrets hidden
	Stats() map[string]map[string]string // the sections of info
	Counters() map[string]uint64         // what the surfaces counted since the start
	// Monitor gives the log's lines of a level and above from now on, until stop is called. Lines that nobody takes while
	// some hundred others wait are lost. It is an error if there is no such level.
	Monitor(level string, asJSON bool) (lines <-chan []byte, stop func(), err error)
}
