package local

import (
	"hash/maphash"
	"slices"
	"sync"
)

// item names a service or a check of this agent.
type item struct {
	check bool
	id    string
}

// locks are one lock for every item there could be. An ID may share its lock with another, which costs a wait and
// nothing else.
type locks struct {
	seed maphash.Seed
	all  [1024]sync.Mutex
}

// take locks all the items at once; always in one order, so that two callers cannot wait for each other.
func (l *locks) take(items map[item]bool) (release func()) {
	slots := make([]int, 0, len(items))
	for i := range items {
		slots = append(slots, int(maphash.Comparable(l.seed, i)%uint64(len(l.all))))
	}
	slices.Sort(slots)
	slots = slices.Compact(slots)
	for _, s := range slots {
		l.all[s].Lock()
	}
	return func() {
		for _, s := range slots {
			l.all[s].Unlock()
		}
	}
}

// takeAll locks what find names, and asks it again once it has the locks: what it names must not have grown by then.
func (l *locks) takeAll(find func() map[item]bool) (release func()) {
	items := find()
	for {
		release = l.take(items)
		now := find()
		if covers(items, now) {
			return release
		}
		release()
		items = now
	}
}

func covers(all, some map[item]bool) bool {
	for i := range some {
		if !all[i] {
			return false
		}
	}
	return true
}
