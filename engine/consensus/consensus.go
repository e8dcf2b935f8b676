// Package consensus keeps a log of Commands that survives: it packs what many callers propose at once into few log
// entries, puts each on disk (on a majority, once there are several servers) before anyone is told that it happened, and
// feeds the committed entries in order to one Machine. It is Raft behind a narrow door; what the bytes of a Command mean
// it does not know. engine/server is its only caller.
//
// # The log entry
//
// One log entry carries many Commands, so that they share one fsync. Its bytes (little-endian), version 1:
//
//	offset  size  what
//	0       1     format version, 1
//	1       8     the log's clock at packing, unix nanoseconds, signed; never before the entry the leader packed before
//	9       4     n, the number of Commands, at least 1
//	13      4+l   n times: the length l of a Command, and its bytes
//	end-4   4     CRC32C (Castagnoli) of all bytes before it
//
// An entry of an unknown version or with a wrong checksum stops the server (Node.Failed, or an error of Open); nothing is
// ever skipped. A batch has at most 1,024 Commands and 256 KiB; a larger Command travels alone.
//
// # The directory
//
//	format                        {"Format":1} and its checksum; a newer or foreign one is refused
//	log/<first index>-<id>.wal    segments of raft-wal (codec 1), zero-filled to SegmentBytes
//	log/meta                      the list of segments, Raft's term and vote, and how far the log is known to have reached;
//	                              the vote is the candidate's address, a zero byte and its id
//	snapshots/<index>-<term>-<n>/ meta.json and state.bin, the newest two
//
// format, meta and meta.json are one line of JSON and one line with the CRC32C of the first, in hex. A name that ends in
// .tmp was never finished. A log that ends in a write the power cut into is cut back to the last whole append: such a
// write was never acknowledged. Damage anywhere else is refused with the name of the file.
//
// # Elections
//
// A follower that has not heard its leader for 500 ms looks for votes within another 500 ms, asking first whether it would
// get them (pre-vote), so that one that hears nobody deposes nobody. Three servers have a new leader 1.0 s after theirs
// died (p50 of 20 in TestFailover, at most 1.44 s). Nothing that stands still for 300 ms, an fsync, a garbage
// collection, changes the leader: heartbeats every 95 ms (100 to 200 ms while the leader's own disk stands still) do not wait
// for the disk, and the lease is as long as a follower's patience. With a lease of half of that, which Raft recommends, a
// leader gave up at 60 of 60 pauses of 300 ms, its own or of a follower it needed, and at 25 of 60 of 200 ms (TestPauses);
// what a shorter lease gives is only that a leader that was cut off says so a quarter of a second earlier. No answer rests
// on the lease: reads are confirmed by a majority (engine/server).
package consensus

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"rostra/engine/consensus/link"
	"rostra/kit/disk"
	"rostra/kit/metric"
)

// Machine is the replicated state machine. Its methods are called from one goroutine, except that a view given by
// Capture is written while Apply goes on.
type Machine interface {
	// Apply runs the Commands of one log entry in order and returns one Outcome for each. It is a function of the state
	// and the Batch, else servers diverge. A panic means that it cannot go on: the node stops (Failed) before the entry
	// counts as applied.
	Apply(b Batch) []Outcome
	// Capture returns a view of the state now. It is cheap and stops no writer.
	Capture() (Image, error)
	// Restore replaces the whole state by what Image.WriteTo wrote. It may read r to its end or not; on an error the
	// state does not matter, the node does not serve it.
	Restore(r io.Reader) error
	// Time returns the time of the newest Batch in the state, 0 if there was none.
	Time() int64
	// StateSize returns roughly how many bytes Capture would write. It is cheap.
	StateSize() int64
}

// ErrState, in the chain of an error that Apply panics with, says that the state is wrong although the log is right. It is
// noted on disk, and no node opens the directory again.
var ErrState = errors.New("the state of this server is not that of the others")

// Image is an unmoving view of the Machine's state.
type Image interface {
	io.WriterTo
	// Release gives the view back; it is called once.
	Release()
}

// Batch is what one log entry carries.
type Batch struct {
	Index, Term uint64
	// Time is the log's clock when the leader packed the entry, in unix nanoseconds: the only clock Commands may know. It
	// follows the leader's slowly, and never jumps.
	Time int64
	// Commands are the proposed bytes. They are never changed, but to keep a part of one keeps the whole entry's memory.
	Commands [][]byte
}

// Outcome is the result of one Command, handed to whoever proposed it.
type Outcome struct {
	Value any
	Err   error
}

// Options say where and how a Node keeps its log. The zero value of a duration or size means its default.
type Options struct {
	Dir     string  // where all of it is kept; "" keeps it in memory (-dev)
	FS      disk.FS // the disk of Dir; nil is the machine's
	ID      string  // this server's Raft id, kept for life
	Address string  // where other servers reach it
	// Metrics takes what is measured here; Raft itself emits to go-metrics (metric.Capture).
	Metrics   *metric.Registry
	Bootstrap bool   // form a cluster of this one server if there is no state yet
	Recover   []Peer // replace the servers that are stored by these, this one among them; see Plan
	// Streams reach the other servers; nil is a lone server's. From Open on, also if it fails, they are the Node's.
	Streams link.Streams
	// Resolve returns the address a server has now; where it knows none, the stored one is used. It is asked for every
	// message, from many goroutines, so it must be quick. nil knows none.
	Resolve func(id string) (address string, ok bool)
	Logger  *slog.Logger     // nil: slog.Default()
	Now     func() time.Time // the clock that the log's clock follows; nil: time.Now

	HeartbeatTimeout time.Duration // 500 ms without a leader starts an election
	ElectionTimeout  time.Duration // 500 ms, at least HeartbeatTimeout
	NoPreVote        bool          // stand for election without asking first whether it could be won
	// LeaderLease without a quorum ends leadership; its most and its default are HeartbeatTimeout: a leader that gave up
	// before its followers would do so only means an election more. TestPauses has the figures.
	LeaderLease time.Duration

	SlowAppend     time.Duration // 1 ms: appends that take longer let three batches be in flight
	NoStopSnapshot bool          // Close cuts none
	Sizes

	memory *memory // of a server without Dir; a test gives the one of the life before
}

// Sizes bound what is kept.
type Sizes struct {
	SnapshotBytes    int64 // 64 MiB: a snapshot is cut after max(this, the state's size) bytes of log
	SnapshotCommands int64 // 1,000,000: and after so many Commands
	TrailingBytes    int64 // 16 MiB of log, at most, are kept behind a snapshot for servers that lag
	CacheBytes       int64 // 8 MiB of log, at most, are kept in memory for them; nothing without Streams
	SegmentBytes     int   // 32 MiB: the size of a file of the log
	QueueBytes       int64 // 64 MiB of Commands, at most, wait to be packed; more are refused
}

func (o *Options) fill() error {
	if o.ID == "" || o.Address == "" {
		return errors.New("cannot open the log: server id or address is missing")
	}
	if o.FS == nil {
		o.FS = disk.OS()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	orElse(&o.HeartbeatTimeout, 500*time.Millisecond)
	orElse(&o.ElectionTimeout, o.HeartbeatTimeout)
	orElse(&o.LeaderLease, o.HeartbeatTimeout)
	o.LeaderLease = min(o.LeaderLease, o.HeartbeatTimeout-time.Microsecond) // leadAtOnce lowers the other by as much
	orElse(&o.SnapshotBytes, 64<<20)
	orElse(&o.SnapshotCommands, 1_000_000)
	orElse(&o.TrailingBytes, 16<<20)
	orElse(&o.CacheBytes, 8<<20)
	orElse(&o.SegmentBytes, 32<<20)
	orElse(&o.SlowAppend, time.Millisecond)
	orElse(&o.QueueBytes, 64<<20)
	if o.Streams == nil {
		o.CacheBytes = 0 // nobody reads the log but a start
	}
	if o.Dir == "" && o.memory == nil {
		o.memory = newMemory()
	}
	if o.SegmentBytes < 4096 || o.SegmentBytes > 1<<30 {
		return fmt.Errorf("cannot open the log: segments of %d bytes (4 KiB to 1 GiB)", o.SegmentBytes)
	}
	return nil
}

func orElse[T ~int | ~int64](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// raftConfig is Raft's own configuration. Its timed snapshots are off: the policy here counts bytes.
func (o *Options) raftConfig(notify chan<- bool) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(o.ID)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = o.HeartbeatTimeout, o.ElectionTimeout, o.LeaderLease
	c.PreVoteDisabled = o.NoPreVote
	c.MaxAppendEntries = maxAppendEntries
	c.SnapshotInterval, c.SnapshotThreshold = 24*365*time.Hour, ^uint64(0)
	c.TrailingLogs = 0
	c.NotifyCh = notify
	c.ShutdownOnRemove = false
	c.Logger = hcLogger(o.Logger)
	return c
}

// maxAppendEntries is small because Raft counts entries, and ours are up to 256 KiB.
const maxAppendEntries = 8
