package agent

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"rostra/engine/room"
	"rostra/feature/kv"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// The model of one key: what it holds. Every value is written once only, so a value stands for its ModifyIndex, and a CAS on
// an index is one on the value that was read with it.

type opKind uint8

const (
	opGet opKind = iota
	opPut
	opCAS
	opDelete
)

type opIn struct {
	kind   opKind
	key    string
	value  string // to be written
	expect string // with CAS; "" stands for no entry
	listed bool   // a get as a list of one: what many who ask share, where a single key is looked up for each
}

type opOut struct {
	value   string // what was read
	ok      bool   // whether a CAS took place
	unknown bool   // it may have happened, and may still
}

var keyModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(opIn).key
			by[key] = append(by[key], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range by {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		holds, in, out := state.(string), input.(opIn), output.(opOut)
		switch in.kind {
		case opPut:
			return true, in.value
		case opDelete:
			return true, ""
		case opCAS:
			took := holds == in.expect
			if took {
				holds = in.value
			}
			return out.unknown || out.ok == took, holds
		}
		return out.unknown || out.value == holds, holds
	},
	DescribeOperation: func(input, output any) string {
		in, out := input.(opIn), output.(opOut)
		switch in.kind {
		case opPut:
			return fmt.Sprintf("put %s (unknown %v)", in.value, out.unknown)
		case opDelete:
			return fmt.Sprintf("delete (unknown %v)", out.unknown)
		case opCAS:
			return fmt.Sprintf("cas %s→%s: %v (unknown %v)", in.expect, in.value, out.ok, out.unknown)
		}
		return fmt.Sprintf("get: %q (unknown %v)", out.value, out.unknown)
	},
}

// history is what clients did and saw.
type history struct {
	mu  sync.Mutex
	ops []porcupine.Operation
}

func (h *history) add(op porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
}

// certain counts the operations whose outcome is known.
func (h *history) certain() (n int) {
	for _, op := range h.ops {
		if !op.Output.(opOut).unknown {
			n++
		}
	}
	return n
}

// client does one operation after the other through the door of one machine, whatever process runs there.
type client struct {
	id   int
	node *simNode
	hist *history
	next int
	seen map[string]seenValue
}

type seenValue struct {
	value string
	index uint64
}

// do does one operation and notes what came of it. What certainly did not happen leaves no trace.
func (c *client) do(ctx context.Context, in opIn, mode httpd.Consistency) {
	ctx, end := context.WithTimeout(ctx, 5*time.Second)
	defer end()
	door := c.node.running.Load().host.Door
	call := time.Now().UnixNano()
	var out opOut
	var err error
	switch in.kind {
	case opGet:
		var found *kv.Entry
		if found, err = get(ctx, door, in, room.Options{Consistency: mode}); err != nil {
			return // a read that failed tells nothing
		}
		c.seen[in.key] = seenValue{}
		if found != nil {
			out.value = string(found.Value)
			c.seen[in.key] = seenValue{out.value, found.ModifyIndex}
		}
	case opPut:
		_, _, err = door.Apply(ctx, &kv.Put{Op: kv.Op{Verb: kv.Set, Key: in.key, Value: []byte(in.value)}}, room.Options{})
	case opDelete:
		_, _, err = door.Apply(ctx, &kv.Delete{Op: kv.Op{Verb: kv.DeleteKey, Key: in.key}}, room.Options{})
	case opCAS:
		last := c.seen[in.key]
		in.expect = last.value
		var r room.Result
		r, _, err = door.Apply(ctx, &kv.Put{Op: kv.Op{Verb: kv.CAS, Key: in.key, Value: []byte(in.value), Index: last.index}}, room.Options{})
		if err == nil {
			out.ok = r.(bool)
		}
	}
	returned := time.Now().UnixNano()
	if err != nil {
		if fault.Is(err, fault.NotApplied) || fault.Is(err, fault.NoLeader) {
			return
		}
		out.unknown, returned = true, math.MaxInt64
	}
	c.hist.add(porcupine.Operation{ClientId: c.id, Input: in, Output: out, Call: call, Return: returned})
}

// get reads a key, nil if it is not there. No key of these tests begins with another.
func get(ctx context.Context, door room.Door, in opIn, o room.Options) (*kv.Entry, error) {
	if !in.listed {
		a, _, err := door.Read(ctx, kv.KeyQuery{Key: in.key}, o)
		if err != nil {
			return nil, err
		}
		return a.Value.(kv.Found).Entry, nil
	}
	a, _, err := door.Read(ctx, kv.ListQuery{Prefix: in.key}, o)
	if err != nil {
		return nil, err
	}
	for _, e := range a.Value.(kv.List) {
		return e, nil
	}
	return nil, nil
}

// value is a new one, never written before.
func (c *client) value() string {
	c.next++
	return fmt.Sprintf("%d.%d", c.id, c.next)
}

// judge checks the history; one that is not linearizable is kept.
func judge(t *testing.T, h *history, seed uint64) {
	t.Helper()
	result, info := porcupine.CheckOperationsVerbose(keyModel, h.ops, time.Minute)
	if result == porcupine.Ok {
		return
	}
	t.Errorf("seed %d: the history of %d operations is %s", seed, len(h.ops), result)
	if *simKeep == "" {
		t.Log("run with -keep DIR to keep it")
		return
	}
	file := filepath.Join(*simKeep, fmt.Sprintf("history-%d.html", seed))
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := porcupine.Visualize(keyModel, info, f); err != nil {
		t.Error(err)
	}
	t.Logf("the history is in %s", file)
}

// TestCheckerBites: the checker must find what is wrong, else it checks nothing.
func TestCheckerBites(t *testing.T) {
	op := func(client int, in opIn, out opOut, call, ret int64) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: ret}
	}
	put := func(v string) opIn { return opIn{kind: opPut, key: "k", value: v} }
	get := opIn{kind: opGet, key: "k"}
	cas := func(from, to string) opIn { return opIn{kind: opCAS, key: "k", expect: from, value: to} }
	for _, c := range []struct {
		what string
		good bool
		ops  []porcupine.Operation
	}{
		{"a read of what was written", true, []porcupine.Operation{op(1, put("a"), opOut{}, 1, 2), op(2, get, opOut{value: "a"}, 3, 4)}},
		{"a lost write", false, []porcupine.Operation{op(1, put("a"), opOut{}, 1, 2), op(2, get, opOut{}, 3, 4)}},
		{"a stale read", false, []porcupine.Operation{op(1, put("a"), opOut{}, 1, 2), op(1, put("b"), opOut{}, 3, 4), op(2, get, opOut{value: "a"}, 5, 6)}},
		{"an unknown write seen late", true, []porcupine.Operation{op(1, put("a"), opOut{unknown: true}, 1, math.MaxInt64), op(2, get, opOut{}, 3, 4), op(2, get, opOut{value: "a"}, 5, 6)}},
		{"one seen and gone again", false, []porcupine.Operation{op(1, put("a"), opOut{unknown: true}, 1, math.MaxInt64), op(2, get, opOut{value: "a"}, 3, 4), op(2, get, opOut{}, 5, 6)}},
		{"two that won one CAS", false, []porcupine.Operation{op(1, cas("", "a"), opOut{ok: true}, 1, 4), op(2, cas("", "b"), opOut{ok: true}, 2, 3)}},
		{"a CAS that lost without cause", false, []porcupine.Operation{op(1, cas("", "a"), opOut{}, 1, 2)}},
	} {
		if got := porcupine.CheckOperations(keyModel, c.ops); got != c.good {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
