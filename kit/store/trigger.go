package store

import "sort"

// Trigger is a consequence inside the same transaction: when a row of the table On changes or goes, Run is called. It is
// declared by the feature that suffers (sessions end when their node goes), so that imports need not run upward.
type Trigger struct {
	Name string // "nodes → sessions": printed by the golden test of all triggers
	on   AnyTable
	run  func(tx *Tx, c change)
	key  func(slot any) string
}

// OnChange declares a trigger. run gets the row before the Command and after it (nil: it was not there, or is gone). It
// cannot fail, and may write any table; what it writes runs further triggers until nothing changes.
func OnChange[T any, P Record[T]](name string, on *Table[T, P], run func(tx *Tx, before, after *T)) Trigger {
	return Trigger{
		Name: name,
		on:   on,
		key:  func(s any) string { return s.(*slot[T]).key },
		run: func(tx *Tx, c change) {
			before, _ := c.rec.(*T)
			after := c.slot.(*slot[T]).at(newest)
			if before != after {
				run(tx, before, after)
			}
		},
	}
}

// cascadeRounds is far above the length of any chain of tables; triggers that feed each other for longer never rest.
const cascadeRounds = 1000

// cascade runs the triggers to completion: in feature order, the rows of each in key order.
func (tx *Tx) cascade() {
	if len(tx.store.triggers) == 0 || !tx.anyWatched() {
		return
	}
	cursors := make([]int, len(tx.store.triggers))
	again := true
	for round := 0; again; round++ {
		if round == cascadeRounds {
			panic("triggers feed each other without end")
		}
		again = false
		for i := range tx.store.triggers {
			t := &tx.store.triggers[i]
			rows := tx.rows(t, cursors[i])
			cursors[i] = len(tx.changes)
			for _, c := range rows {
				t.run(tx, c)
				again = true
			}
		}
	}
}

func (tx *Tx) anyWatched() bool {
	for i := range tx.changes {
		if tx.changes[i].table.common().watched {
			return true
		}
	}
	return false
}

// rows returns the changes of the trigger's table since cursor: one for each slot, with its oldest before, by key.
func (tx *Tx) rows(t *Trigger, cursor int) []change {
	var rows []change
	var seen map[any]bool
	for _, c := range tx.changes[cursor:] {
		if c.table.common().on.id() != t.on.id() || seen[c.slot] {
			continue
		}
		if seen == nil {
			seen = map[any]bool{}
		}
		seen[c.slot] = true
		rows = append(rows, c)
	}
	sort.Slice(rows, func(i, j int) bool { return t.key(rows[i].slot) < t.key(rows[j].slot) })
	return rows
}
