// Package build says which program this is: to Consul's clients the version whose behaviour it has, and beside that its
// own. Every place that names a version asks here.
package build

import (
	"runtime/debug"
	"sync"
)

const (
	// Consul is the version of Consul that clients see: in version's first line, agent/self, the build tag, node meta.
	Consul = "1.21.4"
	// Rostra is this program's own version.
	Rostra = "0.1.0"
	// Protocol is the gossip protocol spoken by default, ProtocolMin and ProtocolMax what is understood.
	Protocol, ProtocolMin, ProtocolMax = 2, 2, 3
)

// Stamp is when and from what the program was built, as far as its maker said.
type Stamp struct {
	Revision string // short commit hash; "" if unknown
	Date     string // RFC 3339; the epoch if unknown
}

// Info returns the program's stamp.
var Info = sync.OnceValue(func() Stamp {
	s := Stamp{Date: "1970-01-01T00:00:01Z"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return s
	}
	for _, kv := range info.Settings {
		switch kv.Key {
		case "vcs.revision":
			s.Revision = kv.Value[:min(8, len(kv.Value))]
		case "vcs.time":
			s.Date = kv.Value
		}
	}
	return s
})

// Tag is the value of the gossip tag "build".
func Tag() string { return Consul + ":" + Info().Revision }
