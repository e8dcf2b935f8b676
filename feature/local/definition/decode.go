package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// unknownMember is the error of a member nobody knows.
type unknownMember string

func (u unknownMember) Error() string { return fmt.Sprintf("json: unknown field %q", string(u)) }

// memberError is an error with the place inside the definition, a dotted path of its members as they were written. Its
// text is the cause's alone: over HTTP that is all Consul says, files add the place.
type memberError struct {
	path  string
	cause error
}

func (e *memberError) Error() string { return e.cause.Error() }
func (e *memberError) Unwrap() error { return e.cause }

// at puts an error inside the member key.
func at(key string, err error) error {
	if err == nil {
		return nil
	}
	var inner *memberError
	if errors.As(err, &inner) {
		return &memberError{key + "." + inner.path, inner.cause}
	}
	return &memberError{key, err}
}

// members are the members of an input struct by their spelling, lower-cased and without underscores: files write
// deregister_critical_service_after, HTTP clients DeregisterCriticalServiceAfter. What is not here is unknown.
type members map[string]int

func membersOf(t reflect.Type, aliases map[string]string) members {
	m := members{}
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			m[strings.ToLower(f.Name)] = i
		}
	}
	for from, to := range aliases {
		m[from] = m[to]
	}
	return m
}

// read decodes the JSON object raw into the struct v points to. Of a member given twice the last counts, as
// everywhere in JSON. special, if not nil, may take a member over by its Go name.
func (m members) read(raw []byte, v any, special func(name, key string, value json.RawMessage) (bool, error)) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	t, err := d.Token()
	switch {
	case err != nil:
		return err
	case t == nil:
		return nil
	case t != json.Delim('{'):
		return errors.New("json: a definition must be an object")
	}
	s := reflect.ValueOf(v).Elem()
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key := t.(string) // what else a decoder can find there is an error
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		index, known := m[strings.ReplaceAll(strings.ToLower(key), "_", "")]
		if !known {
			return &memberError{key, unknownMember(key)}
		}
		if special != nil {
			if took, err := special(s.Type().Field(index).Name, key, value); took || err != nil {
				if err != nil {
					return err
				}
				continue
			}
		}
		if err := json.Unmarshal(value, s.Field(index).Addr().Interface()); err != nil {
			return &memberError{key, err}
		}
	}
	return nil
}

// ReadService decodes a service: a JSON object whose members may be spelled as in files or as over HTTP; null is one without
// members. The error's text is Consul's, for clients. raw must be one JSON value; it is kept and must not be changed.
func ReadService(raw json.RawMessage) (*ServiceText, error) {
	in := new(serviceInput)
	var first, rest []*checkInput
	err := serviceMembers.read(raw, in, func(name, key string, value json.RawMessage) (took bool, err error) {
		switch name {
		case "Check":
			first, err = readChecks(key, value)
		case "Checks":
			rest, err = readChecks(key, value)
		default:
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return nil, err
	}
	for _, c := range append(first, rest...) {
		if !c.empty() || !c.first {
			in.Checks = append(in.Checks, c)
		}
	}
	return &ServiceText{Name: in.Name, ID: in.id(), Token: in.Token, Raw: raw, in: in}, nil
}

// readChecks decodes what stands under check or checks: an object or a list of them, whichever is written, because in
// HCL one block is an object and two are a list.
func readChecks(key string, value json.RawMessage) ([]*checkInput, error) {
	list := []json.RawMessage{value}
	single := true
	if value[0] == '[' {
		single = false
		if err := json.Unmarshal(value, &list); err != nil {
			return nil, &memberError{key, err}
		}
	}
	var out []*checkInput
	for i, raw := range list {
		place := key
		if !single {
			place = fmt.Sprintf("%s.%d", key, i)
		}
		if string(raw) == "null" {
			continue
		}
		c, err := readCheck(raw)
		if err != nil {
			return nil, at(place, err)
		}
		c.place, c.first = place, single
		out = append(out, c)
	}
	return out, nil
}

// ReadCheck decodes a check like ReadService a service.
func ReadCheck(raw json.RawMessage) (*CheckText, error) {
	in, err := readCheck(raw)
	if err != nil {
		return nil, err
	}
	return &CheckText{in.Name, in}, nil
}

func readCheck(raw json.RawMessage) (*checkInput, error) {
	in := &checkInput{raw: raw}
	return in, checkMembers.read(raw, in, func(name, key string, value json.RawMessage) (bool, error) {
		if f, _ := checkType.FieldByName(name); f.Type == durationType && value[0] != '"' && value[0] != 'n' {
			in.bare = key
		}
		return false, nil
	})
}

// united reports a duration of a file that is a number: there it has no unit (spec config.md §1).
func (c *checkInput) united() error {
	if c.bare == "" {
		return nil
	}
	return &memberError{c.bare, errors.New(`a number has no unit here; write a text like "10s"`)}
}

// united does so for all checks of a service.
func (t *ServiceText) united() error {
	for _, c := range t.in.Checks {
		if err := c.united(); err != nil {
			return at(c.place, err)
		}
	}
	return nil
}
