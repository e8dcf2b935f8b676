// Package authz says what may be done. A Decider answers for one caller; Commands and Queries ask it, at the door, for
// what they need. It is pure: no state, no clock. Until access rules exist the only Decider is AllowAll.
package authz

import "rostra/kit/fault"

// Resource is a kind of thing that rights are given on, in the words of Consul's rules.
type Resource string

// The resources this version asks for.
const (
	Agent    Resource = "agent"
	Event    Resource = "event"
	Key      Resource = "key"
	Keyring  Resource = "keyring"
	Node     Resource = "node"
	Operator Resource = "operator"
	Query    Resource = "query"
	Service  Resource = "service"
	Session  Resource = "session"
	ACL      Resource = "acl"
)

// Access is what is to be done with a resource.
type Access string

// The kinds of access.
const (
	Read  Access = "read"
	Write Access = "write"
	List  Access = "list"
)

// Decider decides for one caller. Prefix asks for the right on every name that starts with name. Safe for concurrent use.
type Decider interface {
	Allowed(r Resource, a Access, name string, prefix bool) bool
}

// AllowAll is the Decider while access rules are switched off.
type AllowAll struct{}

// Allowed is always true.
func (AllowAll) Allowed(Resource, Access, string, bool) bool { return true }

// Require returns nil if d allows the access, else the error a client is shown (spec http/conventions.md §4).
func Require(d Decider, r Resource, a Access, name string) error {
	if d.Allowed(r, a, name, false) {
		return nil
	}
	on := ""
	if name != "" {
		on = ` on "` + name + `"`
	}
	return fault.New(fault.Denied, "Permission denied: token lacks permission '%s:%s'%s", r, a, on)
}
