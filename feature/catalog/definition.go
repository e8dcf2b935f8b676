package catalog

import (
	"cmp"
	"encoding/json"

	"rostra/kit/wire"
)

// definition is how a check is to be run by an external monitor. The servers store and show it, and run nothing. The
// members that are set are shown in this order.
type definition struct {
	Interval                       wire.Duration       `json:",omitempty"`
	Timeout                        wire.Duration       `json:",omitempty"`
	DeregisterCriticalServiceAfter wire.Duration       `json:",omitempty"`
	HTTP                           string              `json:",omitempty"`
	TLSServerName                  string              `json:",omitempty"`
	TLSSkipVerify                  bool                `json:",omitempty"`
	Header                         map[string][]string `json:",omitempty"`
	Method                         string              `json:",omitempty"`
	Body                           string              `json:",omitempty"`
	DisableRedirects               bool                `json:",omitempty"`
	TCP                            string              `json:",omitempty"`
	TCPUseTLS                      bool                `json:",omitempty"`
	UDP                            string              `json:",omitempty"`
	H2PING                         string              `json:",omitempty"`
	H2PingUseTLS                   bool                `json:",omitempty"`
	OSService                      string              `json:",omitempty"`
	GRPC                           string              `json:",omitempty"`
	GRPCUseTLS                     bool                `json:",omitempty"`
	TTL                            nanoseconds         `json:",omitempty"`
	OutputMaxSize                  int                 `json:",omitempty"`
	ScriptArgs                     []string            `json:",omitempty"`
	DockerContainerID              string              `json:",omitempty"`
	Shell                          string              `json:",omitempty"`
	AliasNode                      string              `json:",omitempty"`
	AliasService                   string              `json:",omitempty"`
	SessionName                    string              `json:",omitempty"`
}

// nanoseconds is a duration that is read in either form and shown as a number.
type nanoseconds int64

// UnmarshalJSON reads a text like "10s" or a number.
func (n *nanoseconds) UnmarshalJSON(b []byte) error { return (*wire.Duration)(n).UnmarshalJSON(b) }

// UnmarshalJSON reads a definition; members it does not know are ignored, as Consul does here. The three periods have a second
// name each, which counts if it is set.
func (d *definition) UnmarshalJSON(b []byte) error {
	type plain definition
	in := struct {
		*plain
		IntervalDuration, TimeoutDuration, DeregisterCriticalServiceAfterDuration wire.Duration
	}{plain: (*plain)(d)}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	d.Interval = cmp.Or(in.IntervalDuration, d.Interval)
	d.Timeout = cmp.Or(in.TimeoutDuration, d.Timeout)
	d.DeregisterCriticalServiceAfter = cmp.Or(in.DeregisterCriticalServiceAfterDuration, d.DeregisterCriticalServiceAfter)
	return nil
}

// encode returns the JSON that is stored with the check; nil for an empty definition.
func (d *definition) encode() []byte {
	b, err := json.Marshal(d)
	if err != nil || string(b) == "{}" {
		return nil
	}
	return b
}

// kind is the check's Type if the request names none.
func (d *definition) kind() string {
	switch {
	case d.HTTP != "":
		return "http"
	case d.TTL > 0:
		return "ttl"
	case d.TCP != "":
		return "tcp"
	case d.UDP != "":
		return "udp"
	case d.GRPC != "":
		return "grpc"
	case d.AliasNode != "" || d.AliasService != "":
		return "alias"
	case d.DockerContainerID != "":
		return "docker"
	case len(d.ScriptArgs) > 0:
		return "script"
	case d.H2PING != "":
		return "h2ping"
	case d.OSService != "":
		return "os_service"
	}
	return ""
}
