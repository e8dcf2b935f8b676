package gossip

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"regexp"
	"strings"
	"sync"

	"rostra/kit/notice"
)

// kind is something that went wrong with what a peer sent, as it is counted.
type kind struct {
	name  string // of the counter
	text  string // of the log line
	level slog.Level
}

var (
	kindKey      = kind{"refused.key", "gossip refused: we have no key in common; compare `keyring -list` and `encrypt` on both sides", slog.LevelError}
	kindMember   = kind{"refused.member", "gossip refused: this member cannot be one of the pool", slog.LevelWarn}
	kindIdentity = kind{"refused.identity", "gossip refused: two agents claim to be the same", slog.LevelError}
	kindNetwork  = kind{"refused.network", "gossip refused: the address is in none of the allowed networks", slog.LevelWarn}
	kindGarbage  = kind{"garbage", "gossip that cannot be understood was thrown away", slog.LevelWarn}
	kindOld      = kind{"replayed", "gossip of long ago was thrown away", slog.LevelWarn}
	kindFull     = kind{"dropped", "gossip came faster than this agent could take it, and was thrown away", slog.LevelWarn}
	kindKeyAsks  = kind{"refused.keyring", "gossip: a question about the keyring was thrown away", slog.LevelWarn}
)

// tally counts what was thrown away and logs it at most once a minute for each peer: who sends garbage must not fill disks.
type tally struct {
	log  *slog.Logger
	told notice.Board

	mu     sync.Mutex // guards counts
	counts map[string]uint64
}

func newTally(log *slog.Logger) *tally {
	return &tally{log: log, counts: map[string]uint64{}}
}

// note counts one case of kind k and logs it unless that was done for this peer within the last minute.
func (t *tally) note(k kind, peer, cause string, args ...any) {
	t.mu.Lock()
	t.counts[k.name]++
	t.mu.Unlock()
	t.told.Tell(t.log, k.level, k.name, peer, k.text, append([]any{"cause", cause}, args...)...)
}

func (t *tally) counters() map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}

// signs are the words by which lines of memberlist and Serf are known to speak of something thrown away. Neither has
// another way to tell. The first that fits counts.
var signs = []struct {
	words string
	kind  kind
}{
	{"no installed keys could decrypt the message", kindKey},
	{"encryption is configured but remote state is not encrypted", kindKey},
	{"remote state is encrypted and encryption is not configured", kindKey},
	{"Rejected node", kindNetwork}, {"Rejected IP update", kindNetwork}, {"Blocked alive", kindNetwork},
	{"serf: Name conflict for", kindIdentity}, {"Node name conflicts", kindIdentity},
	{"received old event", kindOld}, {"received old query", kindOld},
	{"handler queue full", kindFull},
	{"Decrypt packet failed", kindGarbage}, {"failed to receive", kindGarbage}, {"Failed to decode", kindGarbage},
	{"Failed to read remote state", kindGarbage}, {"Failed to receive user message", kindGarbage},
	{"Failed to decompress", kindGarbage}, {"invalid msgType", kindGarbage}, {"msg type (", kindGarbage},
	{"Message type (", kindGarbage}, {"missing message type", kindGarbage}, {"invalid checksum", kindGarbage},
	{"truncated messages", kindGarbage}, {"packet too short", kindGarbage}, {"unacceptable label", kindGarbage},
	{"label header", kindGarbage}, {"label is", kindGarbage}, {"Error decoding", kindGarbage}, {"message of unknown type", kindGarbage},
	{"bad type prefix", kindGarbage}, {"Remote state is zero bytes", kindGarbage}, {"Ignoring an alive message", kindGarbage},
	{"Vsn is not present", kindGarbage}, {"Failed push/pull merge", kindMember},
}

// known counts a line if it is one of those; then it is not logged otherwise.
func (t *tally) known(line string) bool {
	switch {
	case strings.Contains(line, "memberlist: ignoring alive message for"),
		strings.Contains(line, "Failed push/pull merge: ") && !strings.Contains(line, "merge: Node '"):
		return true // the rules have told it, with the reason
	case strings.HasPrefix(line, "memberlist: failed to join"):
		return false // Join tells it
	}
	if m := conflict.FindStringSubmatch(line); m != nil {
		t.note(kindIdentity, hostOf(m[3]), fmt.Sprintf("Member '%s' was at %s and claims to be at %s: the name of a member that has failed is free "+
			"for another address %s later", m[1], m[2], m[3], reclaim))
		return true
	}
	for _, s := range signs {
		if strings.Contains(line, s.words) {
			t.note(s.kind, peerOf(line), line)
			return true
		}
	}
	return false
}

// conflict is how memberlist says that a member comes from another address too soon: name, old address, new one.
var conflict = regexp.MustCompile(`Conflicting address for (.*)\. Mine: (\S+) Theirs: (\S+) Old state`)

// peerOf finds the IP of the peer at the end of a line of memberlist; "" if it names none.
func peerOf(line string) string {
	_, rest, ok := strings.Cut(line, "from=")
	if !ok {
		return ""
	}
	addr, _, _ := strings.Cut(rest, " ")
	return hostOf(addr)
}

func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}
