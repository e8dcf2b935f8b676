package agent

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// The model of one lock: the entry with its holder and its LockIndex. What no client does, the end of a session that was
// not renewed or whose check failed, is an operation too, by nobody, which may take place at any time the rules allow, or
// never. So may what a client did without learning the outcome. Both count as never when they come after lockOver, which
// follows all that anybody saw; before it they are only tried where they change something.

type lockKind uint8

const (
	lockTake  lockKind = iota // acquire
	lockFree                  // release
	lockWrite                 // a transaction of check-session and set: what a sequencer is for
	lockRead
	lockEnd // the session ends
	lockOver
)

type lockIn struct {
	kind         lockKind
	key, session string
	value        string
	delays       bool // the key's sessions have a lock-delay, so a free lock may be refused
	deletes      bool // the session deletes its keys when it ends
}

type lockOut struct {
	ok      bool
	unknown bool
	entry   lockEntry // read
}

type lockEntry struct {
	there         bool
	holder, value string
	index         uint64
}

type lockState struct {
	lockEntry
	over bool
}

var lockModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(lockIn).key
			by[key] = append(by[key], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range by {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return lockState{} },
	Step: func(state, input, output any) (bool, any) {
		return stepLock(state.(lockState), input.(lockIn), output.(lockOut))
	},
	DescribeOperation: func(input, output any) string {
		in, out := input.(lockIn), output.(lockOut)
		verb := []string{"take", "free", "write", "read", "end", "over"}[in.kind]
		if in.kind == lockRead {
			return fmt.Sprintf("read: %+v", out.entry)
		}
		return fmt.Sprintf("%s %.8s %s: %v (unknown %v)", verb, in.session, in.value, out.ok, out.unknown)
	},
}

func stepLock(s lockState, in lockIn, out lockOut) (bool, lockState) {
	next, can := s, s.there && s.holder == in.session
	switch in.kind {
	case lockRead:
		return out.entry == s.lockEntry, s
	case lockOver:
		next.over = true
		return true, next
	case lockEnd:
		next.holder = ""
		if in.deletes {
			next.lockEntry = lockEntry{}
		}
	case lockTake:
		if s.holder == "" {
			can = true
			next.index++
		}
		next.there, next.holder, next.value = true, in.session, in.value
	case lockFree:
		next.holder, next.value = "", in.value
	case lockWrite:
		next.value = in.value
	}
	switch {
	case out.unknown && can:
		return true, next
	case out.unknown:
		return s.over, s
	case out.ok && can:
		return true, next
	case out.ok:
		return in.kind == lockEnd, s // the session is gone, and held nothing
	case in.kind == lockTake && s.holder == "":
		return in.delays, s
	}
	return !can, s
}

// belief is a time in which a client holds a lock as far as it knows: from when it was told so until it gives it up, learns
// otherwise, or a TTL has passed since it sent the last renewal that succeeded.
type belief struct {
	key, session string
	from, to     int64
}

// lockSession is what is known of a session.
type lockSession struct {
	class         *lockClass
	node          string
	deletes       bool
	born, renewed int64 // when the calls that made it and last renewed it were sent
	ended         int64 // when a call that destroyed it had returned; 0: never
}

// lockHistory is what lockers did and saw.
type lockHistory struct {
	mu       sync.Mutex
	ops      []porcupine.Operation
	beliefs  []belief
	sessions map[string]*lockSession
	zombies  []string // locks that were given to sessions after their end
	gone     map[uint64]farewell
}

// farewell is that a node was taken out of the catalog, by the log's index.
type farewell struct {
	node string
	at   int64 // when the first server did it
}

func newLockHistory() *lockHistory {
	return &lockHistory{sessions: map[string]*lockSession{}, gone: map[uint64]farewell{}}
}

func (h *lockHistory) add(client int, in lockIn, out lockOut, call time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	returned := time.Now().UnixNano()
	s := h.sessions[in.session]
	if out.ok && in.kind == lockTake && s.ended != 0 && s.ended < call.UnixNano() {
		h.zombies = append(h.zombies, in.key+" to "+in.session)
	}
	if out.unknown {
		returned = math.MaxInt64
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call.UnixNano(), Return: returned})
}

// left returns when a session's node was first taken out of the catalog in its time.
func (h *lockHistory) left(s *lockSession) (at int64, was bool) {
	for _, f := range h.gone {
		if f.node == s.node && f.at >= s.born && (!was || f.at < at) {
			at, was = f.at, true
		}
	}
	return at, was
}

// refusable returns the operations, in which a free lock may be refused once the node of a session that may have held it was
// taken out: whatever its lock-delay, its TTL outlasts it.
func (h *lockHistory) refusable() []porcupine.Operation {
	since := map[string]int64{}
	for _, s := range h.sessions {
		at, was := h.left(s)
		for _, key := range s.class.keys {
			if first, is := since[key]; was && (!is || at < first) {
				since[key] = at
			}
		}
	}
	ops := slices.Clone(h.ops)
	for i := range ops {
		in := ops[i].Input.(lockIn)
		if at, was := since[in.key]; was && ops[i].Return >= at {
			in.delays = true
			ops[i].Input = in
		}
	}
	return ops
}

// complete adds what nobody did: the ends of sessions. None comes earlier than a TTL after the last renewal was sent,
// unless a check may end the session, or its node is taken out.
func (h *lockHistory) complete() []porcupine.Operation {
	ops := h.refusable()
	end := int64(0)
	for _, op := range ops {
		end = max(end, op.Call)
		if op.Return != math.MaxInt64 {
			end = max(end, op.Return)
		}
	}
	keys := map[string]bool{}
	for id, s := range h.sessions {
		for _, key := range s.class.keys {
			keys[key] = true
			call := s.born
			if len(s.class.checks) == 0 {
				call = s.renewed + int64(s.class.ttl)
				if at, was := h.left(s); was {
					call = min(call, at)
				}
			}
			if call <= end {
				ops = append(ops, porcupine.Operation{ClientId: -1, Input: lockIn{kind: lockEnd, key: key, session: id, deletes: s.deletes},
					Output: lockOut{unknown: true}, Call: call, Return: math.MaxInt64})
			}
		}
	}
	for key := range keys {
		ops = append(ops, porcupine.Operation{ClientId: -2, Input: lockIn{kind: lockOver, key: key}, Output: lockOut{}, Call: end + 1, Return: end + 2})
	}
	return ops
}

// rivals lists the times in which two clients believed that they held the same lock.
func (h *lockHistory) rivals() (strict, loose []string) {
	all := slices.SortedFunc(slices.Values(h.beliefs), func(a, b belief) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.from, b.from))
	})
	last := belief{}
	for _, b := range all {
		if b.key == last.key && b.session != last.session && b.from < last.to {
			text := fmt.Sprintf("%s: %.8s from %d to %d and %.8s from %d", b.key, last.session, last.from, last.to, b.session, b.from)
			if h.sessions[b.session].class.fenced {
				loose = append(loose, text)
			} else {
				strict = append(strict, text)
			}
		}
		if b.key != last.key || b.to > last.to {
			last = b
		}
	}
	return strict, loose
}

// wrong says what is wrong with the history; nothing if nothing is.
func (h *lockHistory) wrong() (found []string, info porcupine.LinearizationInfo) {
	result, info := porcupine.CheckOperationsVerbose(lockModel, h.complete(), time.Minute)
	if result != porcupine.Ok {
		found = append(found, fmt.Sprintf("the history of %d operations on locks is %s", len(h.ops), result))
	}
	strict, _ := h.rivals()
	for _, r := range strict {
		found = append(found, "two believe that they hold "+r)
	}
	for _, z := range h.zombies {
		found = append(found, "a session that had ended was given a lock: "+z)
	}
	return found, info
}

// judgeLocks checks the history; one that is wrong is kept.
func judgeLocks(t *testing.T, h *lockHistory, seed uint64) {
	t.Helper()
	found, info := h.wrong()
	if len(found) == 0 {
		return
	}
	t.Errorf("seed %d: %q", seed, found)
	if *simKeep == "" {
		return
	}
	file := filepath.Join(*simKeep, fmt.Sprintf("locks-%d.html", seed))
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := porcupine.Visualize(lockModel, info, f); err != nil {
		t.Error(err)
	}
	t.Logf("the history of the locks is in %s", file)
}

// TestLockCheckerBites: what is wrong is found, and what is not is not.
func TestLockCheckerBites(t *testing.T) {
	class := &lockClass{keys: []string{"k"}, ttl: 10}
	never := int64(math.MaxInt64)
	op := func(client int, kind lockKind, session string, ok bool, call, ret int64) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Input: lockIn{kind: kind, key: "k", session: session},
			Output: lockOut{ok: ok, unknown: ret == never}, Call: call, Return: ret}
	}
	read := func(holder string, index uint64, call int64) porcupine.Operation {
		return porcupine.Operation{ClientId: 9, Input: lockIn{kind: lockRead, key: "k"},
			Output: lockOut{entry: lockEntry{there: true, holder: holder, index: index}}, Call: call, Return: call + 1}
	}
	for _, c := range []struct {
		what string
		good bool
		ops  []porcupine.Operation
	}{
		{"taken, freed, taken", true, []porcupine.Operation{op(1, lockTake, "s", true, 1, 2), op(1, lockFree, "s", true, 3, 4), op(2, lockTake, "r", true, 5, 6), read("r", 2, 7)}},
		{"two holders", false, []porcupine.Operation{op(1, lockTake, "s", true, 1, 2), op(2, lockTake, "r", true, 3, 4)}},
		{"one after a session's time", true, []porcupine.Operation{op(1, lockTake, "s", true, 1, 2), op(2, lockTake, "r", true, 12, 13), read("r", 2, 14)}},
		{"a holder that comes back from its end", false, []porcupine.Operation{op(1, lockTake, "s", true, 1, 2), op(2, lockTake, "r", true, 12, 13), read("s", 1, 14)}},
		{"a LockIndex twice", false, []porcupine.Operation{op(1, lockTake, "s", true, 1, 2), op(1, lockFree, "s", true, 3, 4), op(2, lockTake, "r", true, 5, 6), read("r", 1, 7)}},
		{"a free lock refused", false, []porcupine.Operation{op(1, lockTake, "s", false, 1, 2)}},
		{"a write of who was fenced off", false, []porcupine.Operation{op(1, lockTake, "s", true, 1, 2), op(2, lockTake, "r", true, 12, 13), op(1, lockWrite, "s", true, 14, 15)}},
		{"an unknown acquire that came later", true, []porcupine.Operation{op(1, lockTake, "s", false, 1, never), op(2, lockTake, "r", true, 3, 4), op(2, lockFree, "r", true, 5, 6), read("s", 2, 7)}},
		{"an unknown acquire that never was", true, []porcupine.Operation{op(1, lockTake, "s", false, 1, never), op(2, lockTake, "r", true, 3, 4), read("r", 1, 5)}},
		{"a lock lost too early", false, []porcupine.Operation{op(1, lockTake, "s", true, 1, 2), read("", 1, 5)}},
	} {
		h := newLockHistory()
		h.sessions["s"], h.sessions["r"] = &lockSession{class: class}, &lockSession{class: class, renewed: 5}
		h.ops = c.ops
		if found, _ := h.wrong(); (len(found) == 0) != c.good {
			t.Errorf("%s: %q", c.what, found)
		}
	}
	for _, node := range []string{"n1", "n2"} {
		h := newLockHistory()
		h.sessions["s"], h.sessions["r"] = &lockSession{class: class, node: "n1"}, &lockSession{class: class, node: "n2"}
		h.gone[7] = farewell{node, 3}
		h.ops = []porcupine.Operation{op(1, lockTake, "s", true, 1, 2), read("", 1, 5), op(2, lockTake, "r", false, 7, 8)}
		if found, _ := h.wrong(); (len(found) == 0) != (node == "n1") {
			t.Errorf("%s is taken out: %q", node, found)
		}
	}
	h := newLockHistory()
	h.sessions["s"], h.sessions["r"] = &lockSession{class: class}, &lockSession{class: class}
	h.beliefs = []belief{{"k", "s", 1, 10}, {"k", "r", 10, 12}, {"k", "s", 11, 13}}
	if strict, _ := h.rivals(); len(strict) != 1 {
		t.Errorf("two believers: %q", strict)
	}
}
