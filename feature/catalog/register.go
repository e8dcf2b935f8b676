package catalog

//go:generate go tool msgp -file register.go -o register_gen.go -tests=false -io=false

// Register writes a node, an instance on it and checks, in one step. It is idempotent: what is already so moves nothing.
type Register struct {
	Row      *Node    `msg:"Node"`
	SkipNode bool     `msg:"SkipNode"` // leave an existing node's row alone
	Service  *Service `msg:"Service"`  // nil: none
	Checks   []*Check `msg:"Checks,allownil"`
}

// Deregister removes an instance with its checks, or else a check, or else the whole node with all that is on it. It is
// no error if there is no such thing.
type Deregister struct {
	Node      string `msg:"Node"`
	ServiceID string `msg:"ServiceID"`
	CheckID   string `msg:"CheckID"`
}
