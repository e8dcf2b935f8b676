package event

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/tinylib/msgp/msgp"
)

//go:generate go tool msgp -file event.go -o event_gen.go -tests=false -io=false -unexported

// version is the layout of a payload in gossip.
const version = 1

// event is a user event: the payload in gossip (spec agent.md §9), and with LTime the JSON of the API.
type event struct {
	ID            string `msg:"ID" json:"ID"` // a lower-case UUID
	Name          string `msg:"n" json:"Name"`
	Payload       []byte `msg:"p,omitempty" json:"Payload"` // nil if there is none
	NodeFilter    string `msg:"nf,omitempty" json:"NodeFilter"`
	ServiceFilter string `msg:"sf,omitempty" json:"ServiceFilter"`
	TagFilter     string `msg:"tf,omitempty" json:"TagFilter"`
	Version       int    `msg:"v" json:"Version"`
	LTime         uint64 `msg:"-" json:"LTime"` // gossip's clock where it was received
}

// Fire is the Procedure by which a server sends an event to all agents of its datacenter.
type Fire struct {
	Event event `msg:"Event"`
}

// decode reads what came by gossip: whatever a member sends.
func decode(b []byte) (*event, error) {
	e := new(event)
	if rest, err := msgp.Skip(b); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("cannot decode a user event: %d bytes are not one value", len(b))
	}
	if _, err := e.UnmarshalMsg(b); err != nil {
		return nil, fmt.Errorf("cannot decode a user event: %w", err)
	}
	if _, err := indexOf(e.ID); err != nil {
		return nil, fmt.Errorf("cannot decode a user event: %w", err)
	}
	if e.Name == "" || e.Version != version {
		return nil, fmt.Errorf("cannot decode a user event: its name is %q, its version %d", e.Name, e.Version)
	}
	if len(e.Payload) == 0 {
		e.Payload = nil
	}
	return e, nil
}

// indexOf returns the index that stands for a list whose last event has this ID: the two halves of the UUID, one xor the
// other (spec http/event.md).
func indexOf(id string) (uint64, error) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return 0, fmt.Errorf("%q is no UUID", id)
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(raw) != 16 || strings.ToLower(id) != id {
		return 0, fmt.Errorf("%q is no UUID in lower case", id)
	}
	index := uint64(0)
	for i := range 8 {
		index = index<<8 | uint64(raw[i]^raw[i+8])
	}
	return index, nil
}
