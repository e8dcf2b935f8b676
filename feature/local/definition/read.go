package definition

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"

	"rostra/engine/room"
)

// Read makes services and checks of the configuration's definitions, in their order. The error is all that is wrong with
// them, each with file, line and key, in words for people; then nothing is returned beside it. Of two definitions of one ID
// the last counts, as in Consul, which does not say so; this does, in the log.
func (r Rules) Read(defs []room.Definition, log *slog.Logger) (services []*Service, checks []*Check, err error) {
	var wrong []error
	ofService, ofCheck := map[string]int{}, map[string]int{}
	for _, d := range defs {
		kind := strings.TrimSuffix(d.Key, "s")
		var id string
		var twice bool
		raw, err := json.Marshal(d.Value)
		if err != nil {
			wrong = append(wrong, located(d, kind, err))
			continue
		}
		if kind == "service" {
			var s *Service
			if s, err = r.readService(raw, d.File); err == nil {
				id = s.Row.ID
				services, twice = put(services, ofService, id, s)
			}
		} else {
			var c *Check
			if c, err = r.readCheck(raw, d.File); err == nil {
				id = c.Row.CheckID
				checks, twice = put(checks, ofCheck, id, c)
			}
		}
		if err != nil {
			wrong = append(wrong, located(d, kind, err))
			continue
		}
		if twice {
			log.Warn("the configuration defines this twice; this definition counts", kind, id, "at", place(d, ""))
		}
	}
	if len(wrong) > 0 {
		return nil, nil, errors.Join(wrong...)
	}
	return services, checks, nil
}

func (r Rules) readService(raw []byte, file string) (*Service, error) {
	t, err := ReadService(raw)
	if err == nil {
		err = t.united()
	}
	if err != nil {
		return nil, err
	}
	return r.Service(t, file)
}

func (r Rules) readCheck(raw []byte, file string) (*Check, error) {
	t, err := ReadCheck(raw)
	if err == nil {
		err = t.in.united()
	}
	if err != nil {
		return nil, err
	}
	return r.Check(t, file)
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

// place names where a definition, or the key at path in it, stands.
func place(d room.Definition, path string) string {
	if strings.HasPrefix(d.File, fromFlag) {
		return d.File
	}
	return fmt.Sprintf("%s:%d", d.File, d.LineOf(path))
}

// located puts an error's place before it, and says what to do if the cause does not.
func located(d room.Definition, kind string, err error) error {
	path, what := misread(kind, err)
	return fmt.Errorf("%s: %w", place(d, path), what)
}

// misread says what is wrong with a definition of a kind, in words for people, and where in it: a dotted path.
func misread(kind string, err error) (path string, what error) {
	key := kind
	var inner *memberError
	if errors.As(err, &inner) {
		path = inner.path
		key += "." + path
	}
	var unknown unknownMember
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &unknown):
		return path, fmt.Errorf("invalid config key %s: remove it or correct its spelling", key)
	case errors.As(err, &wrong):
		return path, fmt.Errorf("%s must be %s, not %s", key, wanted(wrong.Type), wrong.Value)
	}
	return path, fmt.Errorf("%s: %w", key, err)
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	}
	return "a " + t.String()
}
