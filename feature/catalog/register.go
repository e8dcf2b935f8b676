package catalog

//go:generate go tool msgp -file register.go -o register_gen.go -tests=false -io=false

// Register writes a node, an instance on it and checks, in one step. It is idempotent: what is already so moves nothing.
type Register struct {
	Node     Node     `msg:"Node"`
	SkipNode bool     `msg:"SkipNode"` // leave an existing node's row alone
	Service  *Service `msg:"Service"`
	Checks   []*Check `msg:"Checks"`
}

// Deregister removes an instance with its checks, or a check, or else the whole node.
type Deregister struct {
	Node      string `msg:"Node"`
	ServiceID string `msg:"ServiceID"`
	CheckID   string `msg:"CheckID"`
}
