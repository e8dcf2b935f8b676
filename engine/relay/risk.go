package relay

import (
	"rostra/engine/room"
	"rostra/kit/httpd"
)

// Risk is what it means that a server may have done what it was asked, and did not answer.
type Risk int

// The risks.
const (
	Harmless   Risk = iota // nothing: another may be asked
	Repeatable             // something may have changed, and another may do it again; if none answers the outcome is unknown
	Single                 // something may have changed, and must not be changed twice
)

// RiskOf returns the risk of a procedure: with Stale any server may run it, and then another may run it again.
func RiskOf(p room.Procedure, o room.Options) Risk {
	if o.Consistency != httpd.Stale {
		return Single
	}
	if c, may := p.(interface{ Changes() bool }); may && c.Changes() {
		return Repeatable
	}
	return Harmless
}
