package definition

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"rostra/kit/tree"
)

// members are the members of an input struct by their spelling, lower-cased and without underscores: files write
// deregister_critical_service_after, HTTP clients DeregisterCriticalServiceAfter. What is not here is unknown.
type members struct {
	of    reflect.Type
	index map[string]int
}

func membersOf(t reflect.Type, aliases map[string]string) members {
	m := members{t, map[string]int{}}
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			m.index[strings.ToLower(f.Name)] = i
		}
	}
	for from, to := range aliases {
		m.index[from] = m.index[to]
	}
	return m
}

// spelled returns the members as files write them, sorted: deregister_critical_service_after for
// DeregisterCriticalServiceAfter, http for HTTP.
func (m members) spelled() (all []string) {
	for i := range m.of.NumField() {
		if f := m.of.Field(i); f.IsExported() {
			all = append(all, underscored(f.Name))
		}
	}
	slices.Sort(all)
	return all
}

// underscored puts _ between the words of a Go name: before a capital after a small letter, and before the last of several
// capitals if a small letter follows. Digits are no letters: H2PingUseTLS is h2ping_use_tls.
func underscored(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) {
			before := rune(name[i-1])
			if unicode.IsLower(before) || unicode.IsUpper(before) && i+1 < len(name) && unicode.IsLower(rune(name[i+1])) {
				b.WriteByte('_')
			}
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// spelling is how the members of one definition were spelled, by their Go names.
type spelling map[string]string

// key returns the member as it was spelled; if it was not written, as files spell it.
func (s spelling) key(name string) string { return cmp.Or(s[name], underscored(name)) }

// read decodes the JSON object raw into the struct v points to, as far as it fits, and notes its spelling. Of a member given
// twice the last counts, as everywhere in JSON. special, if not nil, may take a member over by its Go name.
func (m members) read(raw []byte, v any, s spelling, special func(name, key string, value json.RawMessage) (bool, mistakes)) (wrong mistakes) {
	d := json.NewDecoder(bytes.NewReader(raw))
	t, err := d.Token()
	switch {
	case err != nil:
		return of("", err)
	case t == nil:
		return nil
	case t != json.Delim('{'):
		return of("", wrongType{errors.New("json: a definition must be an object"), m.of, raw})
	}
	into := reflect.ValueOf(v).Elem()
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return append(wrong, mistake{"", err})
		}
		key := t.(string) // what else a decoder can find there is an error
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return append(wrong, mistake{"", err})
		}
		index, known := m.index[strings.ReplaceAll(strings.ToLower(key), "_", "")]
		if !known {
			wrong = append(wrong, mistake{key, unknownMember{key, m}})
			continue
		}
		name, field := m.of.Field(index).Name, into.Field(index)
		s[name] = key
		if special != nil {
			if took, inner := special(name, key, value); took {
				wrong = append(wrong, inner...)
				continue
			}
		}
		if err := json.Unmarshal(value, field.Addr().Interface()); err != nil {
			wrong = append(wrong, mistake{key, wrongType{err, field.Type(), value}})
		}
	}
	return wrong
}

// ReadService decodes a service: a JSON object whose members may be spelled as in files or as over HTTP; null is one without
// members. The error's text is Consul's, for clients. raw must be one JSON value; it is kept and must not be changed.
func ReadService(raw json.RawMessage) (*ServiceText, error) {
	t, wrong := readService(raw)
	if len(wrong) > 0 {
		return nil, wrong
	}
	return t, nil
}

// readService returns what can be read of a service, and all that is wrong with its form.
func readService(raw json.RawMessage) (*ServiceText, mistakes) {
	in := &serviceInput{spelling: spelling{}}
	var first, rest []*checkInput
	wrong := serviceMembers.read(raw, in, in.spelling, func(name, key string, value json.RawMessage) (_ bool, inner mistakes) {
		switch name {
		case "Check":
			first, inner = readChecks(key, value)
		case "Checks":
			rest, inner = readChecks(key, value)
		default:
			return false, nil
		}
		return true, inner
	})
	for _, c := range append(first, rest...) {
		if !c.empty() || !c.first {
			in.Checks = append(in.Checks, c)
		}
	}
	return &ServiceText{Name: in.Name, ID: in.id(), Token: in.Token, Raw: raw, in: in}, wrong
}

// readChecks decodes what stands under check or checks: an object or a list of them, whichever is written, because in
// HCL one block is an object and two are a list.
func readChecks(key string, value json.RawMessage) (out []*checkInput, wrong mistakes) {
	list := []json.RawMessage{value}
	single := true
	if value[0] == '[' {
		single = false
		if err := json.Unmarshal(value, &list); err != nil {
			return nil, of(key, err)
		}
	}
	for i, raw := range list {
		place := key
		if !single {
			place = fmt.Sprintf("%s.%d", key, i)
		}
		if string(raw) == "null" {
			continue
		}
		c, inner := readCheck(raw)
		wrong = append(wrong, inner.within(place)...)
		c.place, c.first = place, single
		out = append(out, c)
	}
	return out, wrong
}

// ReadCheck decodes a check like ReadService a service.
func ReadCheck(raw json.RawMessage) (*CheckText, error) {
	in, wrong := readCheck(raw)
	if len(wrong) > 0 {
		return nil, wrong
	}
	return &CheckText{in.Name, in}, nil
}

// readCheck returns what can be read of a check, and all that is wrong with its form.
func readCheck(raw json.RawMessage) (*checkInput, mistakes) {
	in := &checkInput{raw: raw, spelling: spelling{}}
	return in, checkMembers.read(raw, in, in.spelling, func(name, key string, value json.RawMessage) (bool, mistakes) {
		if f, _ := checkType.FieldByName(name); f.Type == durationType && value[0] != '"' && value[0] != 'n' {
			in.bare = append(in.bare, bare{key, value})
		}
		return false, nil
	})
}

// bare is a duration that was written as a number: over HTTP nanoseconds.
type bare struct {
	key string
	raw json.RawMessage
}

// united reports the durations of a file's check that are numbers: there they have no unit (spec config.md §1).
func (c *checkInput) united() (wrong mistakes) {
	for _, b := range c.bare {
		wrong = append(wrong, mistake{b.key, wrongType{errors.New("it has no unit"), tree.DurationType, b.raw}})
	}
	return wrong
}

// united does so for all checks of a service.
func (t *ServiceText) united() (wrong mistakes) {
	for _, c := range t.in.Checks {
		wrong = append(wrong, c.united().within(c.place)...)
	}
	return wrong
}
