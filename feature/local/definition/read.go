package definition

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"rostra/engine/room"
)

// Read makes services and checks of the configuration's definitions, in their order. The error is all that is wrong with
// them, each with file, line, key and name, in words for people; then nothing is returned beside it. Of two definitions of
// one ID the last counts, as in Consul, which does not say so; this does, in the log.
func (r Rules) Read(defs []room.Definition, log *slog.Logger) (services []*Service, checks []*Check, err error) {
	var wrong []error
	ofService, ofCheck := map[string]int{}, map[string]int{}
	for _, d := range defs {
		s, c, mistaken := r.one(d)
		if len(mistaken) > 0 {
			wrong = append(wrong, mistaken.told(d)...)
			continue
		}
		var id string
		var twice bool
		if s != nil {
			id = s.Row.ID
			services, twice = put(services, ofService, id, s)
		} else {
			id = c.Row.CheckID
			checks, twice = put(checks, ofCheck, id, c)
		}
		if twice {
			log.Warn("the configuration defines this twice; this definition counts", kindOf(d), id, "at", place(d, ""))
		}
	}
	if len(wrong) > 0 {
		return nil, nil, errors.Join(wrong...)
	}
	return services, checks, nil
}

// kindOf says what is defined: service or check.
func kindOf(d room.Definition) string { return strings.TrimSuffix(strings.ToLower(d.Key), "s") }

// one makes the service or the check of one definition, or returns all that is wrong with it.
func (r Rules) one(d room.Definition) (s *Service, c *Check, wrong mistakes) {
	raw, err := json.Marshal(d.Value)
	if err != nil {
		return nil, nil, of("", err)
	}
	var sense mistakes
	if kindOf(d) == "service" {
		t, form := readService(raw)
		wrong = append(form, t.united().clear(form)...)
		s, sense = r.service(t, d.File)
	} else {
		in, form := readCheck(raw)
		wrong = append(form, in.united().clear(form)...)
		c, sense = r.alone(in, d.File)
	}
	return s, c, append(wrong, sense.clear(wrong)...)
}

// Warnings returns what the definitions say that has no effect, or not the one expected, with its place, a line for people
// each: for who only looks whether they are right. An agent says the same in its log.
func (r Rules) Warnings(defs []room.Definition) (all []string) {
	services, first := map[string]bool{}, map[string]string{}
	type binding struct {
		room.Definition
		service string // ID
	}
	var bound []binding
	for _, d := range defs {
		s, c, wrong := r.one(d)
		if len(wrong) > 0 {
			continue
		}
		note := func(path, text string, args ...any) {
			all = append(all, fmt.Sprintf("%s: %s: ", place(d, path), subject(d, path))+fmt.Sprintf(text, args...))
		}
		var id string
		if s != nil {
			id = s.Row.ID
			services[id] = true
			if s.mesh {
				note("", noMesh)
			}
			if !s.speakable() {
				note("name", noDNS)
			}
			for _, one := range s.remarks {
				note("", "%s", one)
			}
		} else {
			id = c.Row.CheckID
			if c.Row.ServiceID != "" {
				bound = append(bound, binding{d, c.Row.ServiceID})
			}
			for _, one := range c.remarks {
				note("", "%s", one)
			}
		}
		if at := first[kindOf(d)+id]; at != "" {
			note("", "the ID %s is defined twice, first at %s; the last one counts", id, at)
		}
		first[kindOf(d)+id] = place(d, "")
	}
	for _, b := range bound {
		if !services[b.service] {
			all = append(all, fmt.Sprintf("%s: %s: ServiceID %q does not exist in these files; the check is left out unless that service was registered over HTTP",
				place(b.Definition, "service_id"), subject(b.Definition, "service_id"), b.service))
		}
	}
	return all
}

// put appends v to the list, or lets it take the place of what has its ID, which seen tells.
func put[T any](list []T, seen map[string]int, id string, v T) (_ []T, twice bool) {
	if i, twice := seen[id]; twice {
		list[i] = v
		return list, true
	}
	seen[id] = len(list)
	return append(list, v), false
}
