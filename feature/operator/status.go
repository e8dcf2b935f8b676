package operator

import (
	"context"
	"maps"

	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

//go:generate go tool msgp -file status.go -o status_gen.go -tests=false -io=false -unexported

// counters are all that this agent and its server counted; nobody else knows them.
func counters(h *room.Host, r *httpd.Request) (any, error) {
	if dc := r.Params.Datacenter; dc != "" && dc != h.Self.Datacenter {
		return nil, fault.ErrNoPath
	}
	all := h.Cluster.Counters()
	maps.Copy(all, h.Agent.Counters())
	if p, err := pilotOf(h); err == nil {
		maps.Copy(all, p.counters())
	}
	return all, nil
}

// statusAsk asks a server who leads and who keeps the log.
type statusAsk struct{}

// servers are those of a datacenter, as one of them sees them.
type servers struct {
	Leader string   `msg:"Leader"` // its address; "" while none leads
	Peers  []string `msg:"Peers"`  // the addresses of those that keep the log
}

// statusCall lets statusAsk travel.
var statusCall = room.ProcedureType{New: func() room.Procedure { return new(statusAsk) }, Result: room.Packed[servers]()}

// Name implements room.Procedure.
func (*statusAsk) Name() string { return "operator.status" }

// Allowed is always nil: load balancers probe without a token.
func (*statusAsk) Allowed(authz.Decider) error { return nil }

// Call implements room.Procedure.
func (*statusAsk) Call(_ context.Context, h *room.Host) (room.Result, error) {
	var s servers
	leader, all := h.Raft.Peers()
	for _, p := range all {
		s.Peers = append(s.Peers, p.Address)
		if p.ID == leader {
			s.Leader = p.Address
		}
	}
	return s, nil
}

// status asks any server of the datacenter that the request names: the answer is the same at all of them, and given at
// once, also while none leads.
func status(h *room.Host, r *httpd.Request) (servers, error) {
	o := room.Options{Token: r.Params.Token, Datacenter: r.Params.Datacenter, Consistency: httpd.Stale}
	result, _, err := h.Door.Call(r.Context(), new(statusAsk), o)
	if err != nil {
		return servers{}, err
	}
	return result.(servers), nil
}

func leader(h *room.Host, r *httpd.Request) (any, error) {
	s, err := status(h, r)
	return s.Leader, err
}

func peers(h *room.Host, r *httpd.Request) (any, error) {
	s, err := status(h, r)
	return append([]string{}, s.Peers...), err // never null
}
