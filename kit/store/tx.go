package store

import (
	"fmt"
	"hash/crc32"
	"runtime/debug"
	"slices"
)

// Batch is the work of one log entry: several Commands, each with its own index, published together. Only the goroutine
// that began it may use it.
type Batch struct {
	tx    Tx
	start uint64
}

// Begin opens the batch of one log entry. now is the log's clock when the leader packed the entry, in Unix nanoseconds: the
// only clock a Command may see. Every Begin must be followed by Commit.
func (s *Store) Begin(now int64) *Batch {
	s.writing.Lock()
	b := &Batch{tx: s.room, start: s.index}
	b.tx.store, b.tx.now = s, now
	return b
}

// Panic is the error of a Command that panicked: a mistake of ours, which its undoing has made harmless.
type Panic struct {
	Value any
	Stack []byte // for the log, not for clients
}

// Error returns the text for the client.
func (p *Panic) Error() string { return fmt.Sprintf("cannot apply the command: %v", p.Value) }

// Run runs one Command. If it returns an error or panics, everything it wrote is undone and the error is returned; the
// index moves only if it changed something.
func (b *Batch) Run(command func(*Tx) error) (err error) {
	tx := &b.tx
	tx.reset()
	defer func() {
		if p := recover(); p != nil {
			tx.undo()
			err = &Panic{p, debug.Stack()}
		}
	}()
	if err := command(tx); err != nil {
		tx.undo()
		return err
	}
	tx.cascade()
	tx.finish()
	return nil
}

// Digest is a fingerprint of what the batch has changed so far: of the index of each Command that changed something, the
// subjects it touched, and the rows it left. Replicas that ran the same Commands in the same state have the same, also those
// of different versions: how it is made is part of the format.
func (b *Batch) Digest() uint64 { return b.tx.digest }

// Index returns the index of the newest Command of the batch (or before it) that changed something.
func (b *Batch) Index() uint64 { return b.tx.store.index }

// Commit publishes the view, then wakes who watches what was touched. Results may be given out after it returns.
func (b *Batch) Commit() {
	s := b.tx.store
	defer s.writing.Unlock()
	defer b.leave()
	if s.index == b.start {
		return
	}
	b.tx.writeMarks()
	old := s.view.Load()
	v := s.next(old)
	v.time = b.tx.now
	if old.read.Load() { // then there is one who will ask for this one, too, without having to wait for the next batch
		s.capture(v)
	}
	s.registry.touching.Store(true)
	s.view.Store(v)
	s.history.retire(old)
	s.registry.wake(b.tx.woken)
	s.registry.touching.Store(false)
	s.moved.Add(1)
	s.history.sweep(b.tx.now)
}

// roomy is how many elements of a list are kept for the next batch.
const roomy = 1024

// leave keeps the room of the batch's lists for the next one, and nothing of what was in them.
func (b *Batch) leave() {
	tx := &b.tx
	tx.store.room = Tx{changes: emptied(tx.changes), touches: emptied(tx.touches), woken: emptied(tx.woken), scratch: emptied(tx.scratch)}
}

func emptied[T any](list []T) []T {
	if cap(list) > roomy {
		return nil
	}
	list = list[:cap(list)]
	clear(list)
	return list[:0]
}

// Tx is the transaction of one running Command. It reads its own writes.
type Tx struct {
	store   *Store
	now     int64
	index   uint64 // the index this Command gets if it changes something
	changes []change
	touches []Subject
	forgets []Subject
	marks   marks // over the whole batch
	lineage *string
	digest  uint64    // over the whole batch
	scratch []byte    // for encoded rows
	woken   []Subject // over the whole batch
	wokenAt int       // how many of them are of earlier Commands
	oldAt   int
}

// change is one slot written, with the version it had before.
type change struct {
	table table
	slot  any
	head  any // *version[T]
	rec   any // *T before
}

func (tx *Tx) reset() {
	tx.index = tx.store.index + 1
	tx.changes, tx.touches, tx.forgets, tx.lineage = tx.changes[:0], tx.touches[:0], tx.forgets[:0], nil
	tx.wokenAt, tx.oldAt = len(tx.woken), len(tx.store.history.queue)
}

// Index returns the index that the Command's writes carry (their ModifyIndex).
func (tx *Tx) Index() uint64 { return tx.index }

// Time returns the log's clock at packing, in Unix nanoseconds.
func (tx *Tx) Time() int64 { return tx.now }

func (tx *Tx) limit() uint64   { return newest }
func (tx *Tx) tree(id int) any { return tx.store.tables[id].working() }

// Touched returns the index of the last Command before this one that touched the subject.
func (tx *Tx) Touched(s Subject) uint64 {
	if m, is := tx.marks.last[s.named()]; is {
		return m.value()
	}
	return readTouched(tx, s)
}

// Touch makes this Command's index the subject's, and wakes its watchers after the commit. A Command touches a subject
// only when it changed what a reader of the subject sees.
func (tx *Tx) Touch(s Subject) {
	tx.touches = append(tx.touches, s)
	tx.woken = append(tx.woken, s)
}

// Wake wakes the subject's watchers after the commit without giving it an index of its own: for subjects whose index is
// that of a record. A prefix watch is woken by every subject of its kind that its name is a prefix of.
func (tx *Tx) Wake(s Subject) { tx.woken = append(tx.woken, s) }

// Forget drops a subject's index, when another (an extinction, say) speaks for it from now on.
func (tx *Tx) Forget(s Subject) {
	tx.touches = slices.DeleteFunc(tx.touches, func(t Subject) bool { return t == s })
	tx.forgets = append(tx.forgets, s)
	tx.woken = append(tx.woken, s)
}

// Lineage returns the name of the history that the index counts; "" until it has one.
func (tx *Tx) Lineage() string { return tx.store.lineage }

// SetLineage names the history that the index counts from now on, and touches the subject of kind "lineage".
func (tx *Tx) SetLineage(id string) {
	tx.lineage = &id
	tx.Touch(Subject{Kind: "lineage"})
}

func (tx *Tx) changed(t table, slot, head, rec any) {
	tx.changes = append(tx.changes, change{t, slot, head, rec})
}

func (tx *Tx) supersede(t table, slot, newer any, size int, brief bool) {
	tx.store.history.queue = append(tx.store.history.queue, superseded{t, slot, newer, tx.index, tx.now, size, brief})
}

// resupersede takes note that the Command has written the slot again: only its last version is in the chain.
func (tx *Tx) resupersede(slot, newer any) {
	mine := tx.store.history.queue[tx.oldAt:]
	for i := range mine {
		if mine[i].slot == slot {
			mine[i].newer = newer
		}
	}
}

// undo takes back everything the Command did.
func (tx *Tx) undo() {
	for i := len(tx.changes) - 1; i >= 0; i-- {
		c := tx.changes[i]
		tx.store.bytes.Add(c.table.undo(c))
	}
	tx.woken = tx.woken[:tx.wokenAt]
	h := &tx.store.history
	clear(h.queue[tx.oldAt:])
	h.queue = h.queue[:tx.oldAt]
	tx.reset()
}

// marks are the indexes that subjects got in the batch. Only the last of each counts for who reads the view, so the table
// is written once for a subject, and not with every Command.
type marks struct {
	order []Subject // in which they were first marked
	last  map[Subject]mark
}

// mark is made by the Command of that index: it touched the subject or made it forgotten.
type mark struct {
	by     uint64
	forgot bool
}

func (m mark) value() uint64 {
	if m.forgot {
		return 0
	}
	return m.by
}

func (m *marks) set(s Subject, last mark) {
	if _, again := m.last[s]; !again {
		if m.last == nil {
			m.last = map[Subject]mark{}
		}
		m.order = append(m.order, s)
	}
	m.last[s] = last
}

// finish takes the index, if anything changed, and marks the subjects with it.
func (tx *Tx) finish() {
	tx.forgets = slices.DeleteFunc(tx.forgets, func(s Subject) bool { return tx.Touched(s) == 0 })
	if len(tx.changes)+len(tx.touches)+len(tx.forgets) == 0 {
		tx.woken = tx.woken[:tx.wokenAt] // what changed nothing wakes nobody
		return
	}
	tx.digest = tx.foldRows(fold(tx.digest, tx.index, tx.woken[tx.wokenAt:]), tx.changes)
	for _, s := range tx.forgets {
		tx.marks.set(s.named(), mark{tx.index, true})
	}
	for _, s := range tx.touches {
		tx.marks.set(s.named(), mark{by: tx.index})
	}
	tx.store.index = tx.index
	if tx.lineage != nil {
		tx.store.lineage = *tx.lineage
	}
}

// writeMarks writes the batch's marks, each at the index of the Command that made it.
func (tx *Tx) writeMarks() {
	for _, s := range tx.marks.order {
		m := tx.marks.last[s]
		tx.index = m.by
		if m.forgot {
			touched.Delete(tx, s.key())
		} else {
			touched.Put(tx, &touch{Subject: s.key(), Index: m.by})
		}
	}
}

// FNV-1a.
const fnvOffset, fnvPrime = 14695981039346656037, 1099511628211

// fold adds a Command to a digest: FNV-1a over its index and its subjects, in their order.
func fold(digest, index uint64, list []Subject) uint64 {
	const offset, prime = fnvOffset, fnvPrime
	h := digest ^ offset
	for i := range 8 {
		h = (h ^ index>>(8*i)&0xff) * prime
	}
	for i := range list {
		for _, text := range [2]string{list[i].Kind, list[i].Name} {
			for k := range len(text) {
				h = (h ^ uint64(text[k])) * prime
			}
			h = (h ^ 0xff) * prime
		}
	}
	return h
}

// foldRows adds the rows that a Command left: for each, the CRC-32C over its bytes, its key and
// the name of its table.
func (tx *Tx) foldRows(h uint64, rows []change) uint64 {
	for _, c := range rows {
		common := c.table.common()
		key, b := common.row(tx.scratch[:0], c.slot)
		tx.scratch = append(append(b, key...), common.on.Name()...)
		h = (h ^ uint64(crc32.Checksum(tx.scratch, castagnoli))) * fnvPrime
	}
	return h
}

// String names the transaction in panics and logs.
func (tx *Tx) String() string { return fmt.Sprintf("transaction at index %d", tx.index) }
