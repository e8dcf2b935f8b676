package operator

import (
	"rostra/engine/room"
	"rostra/kit/wire"
)

//go:generate go tool msgp -file calls.go -o calls_gen.go -tests=false -io=false -unexported

// configQuery asks for autopilot's configuration. Its Value is a *Config, nil while no leader has written the first.
type configQuery struct{}

// usageQuery asks how much a datacenter's catalog holds. Its Value is a usage.
type usageQuery struct{}

// usage is how much a catalog holds.
type usage struct {
	Services            int `msg:"Services"` // names
	Instances           int `msg:"Instances"`
	Billable            int `msg:"Billable"` // instances that are neither servers nor of the mesh
	Nodes               int `msg:"Nodes"`
	APIGateways         int `msg:"APIGateways"`
	Proxies             int `msg:"Proxies"`
	IngressGateways     int `msg:"IngressGateways"`
	MeshGateways        int `msg:"MeshGateways"`
	TerminatingGateways int `msg:"TerminatingGateways"`
}

// progressAsk asks one server how far it is; the leader does so every two seconds.
type progressAsk struct{}

// progress is its result.
type progress struct {
	Last     uint64   `msg:"Last"` // index of the newest entry of its log
	LastTerm uint64   `msg:"LastTerm"`
	Contact  int64    `msg:"Contact"` // ns since it heard from the leader, -1 if never
	Peers    []string `msg:"Peers"`   // the IDs of the servers that it has stored; none if it is new
}

// peersAsk asks who the servers in Raft are.
type peersAsk struct{}

// peerList is its result.
type peerList struct {
	Peers []peer `msg:"Peers"`
	Index uint64 `msg:"Index"` // of the entry that made them so, as far as the server that answers knows
}

// peer is a server in Raft.
type peer struct {
	ID      string `msg:"ID"`
	Node    string `msg:"Node"` // its name, "" if gossip does not know it
	Address string `msg:"Address"`
	Leader  bool   `msg:"Leader"`
	Voter   bool   `msg:"Voter"`
	Last    uint64 `msg:"Last"` // index of its newest entry as far as is known
}

// removeAsk has the leader take a server out of Raft. Its result is true if the leader was meant and has handed its
// leadership over: then it is to be asked again.
type removeAsk struct {
	ID      string `msg:"ID"`
	Address string `msg:"Address"` // or this
}

// transferAsk has the leader hand its leadership over, to the server ID if one is given.
type transferAsk struct {
	ID string `msg:"ID"`
}

// stateAsk asks the leader how the servers do.
type stateAsk struct{}

// stateReport is its result.
type stateReport struct {
	Healthy   bool         `msg:"Healthy"` // all of them
	Tolerance int          `msg:"Tolerance"`
	Servers   []serverLine `msg:"Servers"` // those in Raft
}

// serverLine is how one server in Raft does.
type serverLine struct {
	ID       string     `msg:"ID"`
	Node     string     `msg:"Node"`
	Address  string     `msg:"Address"`
	Gossip   int        `msg:"Gossip"` // a gossip.Status
	Build    string     `msg:"Build"`
	Leader   bool       `msg:"Leader"`
	Voter    bool       `msg:"Voter"`
	Replica  bool       `msg:"Replica"` // it shall not vote
	Contact  int64      `msg:"Contact"` // ns
	Last     uint64     `msg:"Last"`
	LastTerm uint64     `msg:"LastTerm"`
	Healthy  bool       `msg:"Healthy"`
	Since    int64      `msg:"Since"` // unix ns since when Healthy is so
	Meta     wire.Pairs `msg:"Meta"`  // of the node
}

// What travels.
var (
	queries = []room.QueryType{
		room.QueryOf[configQuery]("autopilot.config", room.Pointer[Config]()),
		room.QueryOf[usageQuery]("operator.usage", room.Packed[usage]()),
	}
	calls = []room.ProcedureType{
		{New: func() room.Procedure { return new(progressAsk) }, Result: room.Packed[progress]()},
		{New: func() room.Procedure { return new(peersAsk) }, Result: room.Packed[peerList]()},
		{New: func() room.Procedure { return new(removeAsk) }, Result: room.Bool},
		{New: func() room.Procedure { return new(transferAsk) }, Result: room.Nothing},
		{New: func() room.Procedure { return new(stateAsk) }, Result: room.Packed[stateReport]()},
	}
)
