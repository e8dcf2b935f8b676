package kv

//go:generate go tool msgp -file command.go -o command_gen.go -tests=false -io=false

// Put writes one key: its verb is Set, CAS, Lock or Unlock. Its Result is false if the state forbids it, else true.
type Put struct {
	Op Op `msg:"Op"`
}

// Delete deletes one key or a tree: its verb is DeleteKey, DeleteCAS or DeleteTree. Its Result is false if the index is
// stale, else true.
type Delete struct {
	Op Op `msg:"Op"`
}

// Reap collects tombstones of before a time of the log's clock, in Unix nanoseconds and rounded down to half minutes,
// and lock-delays that are over. It does at most 2,048 of each kind; its Result tells whether there is more.
type Reap struct {
	Before int64 `msg:"Before"`
}
