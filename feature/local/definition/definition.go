// Package definition is what people write of services and checks, and what it means on one agent. They write it in
// configuration files, in the bodies of requests, and in files for the command line; what came over HTTP is written down
// as it was and read again at the next start. feature/local keeps, runs and syncs what comes of it, and is the only caller.
//
// There are two steps. ReadService, ReadCheck and ReadServices look at the form alone: of what comes out all members are
// known and of the right types. Rules then say what such a text means on an agent, with all that follows from what was
// written: the catalog's rows, IDs, and what runs the checks; or in Consul's words what is wrong. They are two because the
// callers must tell them apart: clients are told of a mistake of form in other words, and a kept file that has one stops
// the agent's start, while one that the rules refuse does not.
//
// Nothing here is kept or started. All of it may be called concurrently, and what is returned is never changed.
package definition

import (
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"rostra/engine/check"
	"rostra/feature/catalog"
)

// ServiceText is the definition of a service as it was written. Its form is right; of its sense nothing is known.
type ServiceText struct {
	Name  string          // may be empty, which Rules refuse
	ID    string          // its name, if no ID was written
	Token string          // the one written in it; over HTTP the request's counts instead
	Raw   json.RawMessage // as it was written

	in *serviceInput
}

// CheckText is the definition of a check as it was written. Its form is right; of its sense nothing is known.
type CheckText struct {
	Name string // may be empty

	in *checkInput
}

// Service is what a definition means: an instance on one agent, with its checks.
type Service struct {
	Row    *catalog.Service // whole, but for the indexes
	Checks []*Check         // as they were written, each ID once
	Token  string           // with which the catalog is written; "" is the agent's own
	Raw    json.RawMessage  // as it was written

	mesh    bool
	remarks []string // on its checks
}

// Check is what a definition means: a check of a service or of the node.
type Check struct {
	Row   *catalog.Check  // its first status is in it; whole, but for the name and tags of a service that it names itself
	Spec  check.Spec      // it is valid
	Token string          // with which the catalog is written; "" is the agent's own
	Raw   json.RawMessage // as it was written

	// What an alias check copies: a service, "" for the node as a whole, of a node, "" for the agent's own.
	AliasService, AliasNode string

	// ReapAfter is how long it may be critical before its service is deregistered; 0 is for ever. It is the minimum at least.
	ReapAfter time.Duration

	remarks []string // what has no effect, or not the one expected
}

// minReap is the least that deregister_critical_service_after can mean.
const minReap = time.Minute

// noMesh is what is said of a service that asks for a part in the mesh: in the log, and to its client.
const noMesh = "service mesh is not built yet: kind, proxy, connect and locality of this service have no effect, and no sidecar was registered"

// Notice is what the client is told that registers the service, one line, because it has no effect; "" if all has.
func (s *Service) Notice() string {
	if s.mesh {
		return noMesh
	}
	return ""
}

// Warn logs what is accepted and has no effect, or not the one expected. before is what was registered under this ID until
// now, nil for nothing: what was said of that is not said again.
func (s *Service) Warn(log *slog.Logger, before *Service) {
	if s.mesh && (before == nil || !before.mesh) {
		log.Warn(noMesh, "service", s.Row.ID)
	}
	if name := s.Row.Service; !s.speakable() && (before == nil || before.Row.Service != name) {
		log.Warn(noDNS, "service", name)
	}
	if before == nil {
		warn(log, s.remarks, "service", s.Row.ID)
	}
}

// noDNS is what is said of a service whose name is no label of DNS.
const noDNS = "service cannot be found by DNS, because its name holds other characters than letters, digits and dashes, or more than 63"

// speakable reports whether the service's name can stand in a DNS question.
func (s *Service) speakable() bool {
	return !strings.ContainsFunc(s.Row.Service, notInNames) && len(s.Row.Service) <= 63
}

// Warn logs what is accepted and has no effect, or not the one expected, of a check that is registered by itself.
func (c *Check) Warn(log *slog.Logger) { warn(log, c.remarks, "check", c.Row.CheckID) }

func warn(log *slog.Logger, remarks []string, kind, id string) {
	for _, r := range remarks {
		log.Warn(r, kind, id)
	}
}

func notInNames(r rune) bool {
	return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

// remarks finds what a check's definition says in vain.
func (in *checkInput) remarks() (list []string) {
	if in.Script != "" {
		list = append(list, "script is the old way to define a check; write args, a list of the program and its arguments")
	}
	if in.Shell != "" && len(in.Args) > 0 {
		list = append(list, "shell has no effect beside args, which are run without one")
	}
	if d := dur(in.DeregisterCriticalServiceAfter); d > 0 && d < minReap {
		list = append(list, "deregister_critical_service_after is below the minimum, "+minReap.String()+", which counts instead")
	}
	return list
}
