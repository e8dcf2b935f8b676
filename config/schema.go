package config

import (
	"fmt"
	"reflect"
	"strings"

	"rostra/engine/room"
	"rostra/kit/tree"
)

var (
	definitionsType = reflect.TypeFor[[]room.Definition]()
	rawType         = reflect.TypeFor[map[string]any]()
)

// setting is one key that some package obeys, as its tags describe it.
type setting struct {
	key      string
	flags    []string // without dashes; the first is the one shown in help
	def, dev string   // texts; "" is the zero value, for dev: as def
	reload   bool
	help     string
	sockaddr string // "", "one" or "many": may hold a go-sockaddr template giving one or several addresses
	typ      reflect.Type
	fields   []reflect.Value // where the value goes: one for each package that obeys it
}

// schema is all settings of a process.
type schema struct {
	byKey  map[string]*setting
	byFlag map[string]*setting
	order  []*setting // as the structs list them
}

// newSchema reads the tags of the structs that settings point to. Its errors are mistakes of a programmer.
func newSchema(settings []any) (*schema, error) {
	s := &schema{byKey: map[string]*setting{}, byFlag: map[string]*setting{}}
	for _, p := range settings {
		v := reflect.ValueOf(p)
		if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
			continue
		}
		if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
			return nil, fmt.Errorf("settings must be a pointer to a struct, got %T", p)
		}
		if err := s.addStruct(v.Elem()); err != nil {
			return nil, fmt.Errorf("settings %T: %w", p, err)
		}
	}
	return s, nil
}

func (s *schema) addStruct(v reflect.Value) error {
	for i := range v.NumField() {
		f, fv := v.Type().Field(i), v.Field(i)
		key, tagged := f.Tag.Lookup("key")
		switch {
		case !tagged && f.Type.Kind() == reflect.Struct && (f.IsExported() || f.Anonymous):
			if err := s.addStruct(fv); err != nil {
				return err
			}
		case tagged:
			if err := s.add(key, f, fv); err != nil {
				return fmt.Errorf("field %s: %w", f.Name, err)
			}
		}
	}
	return nil
}

func (s *schema) add(key string, f reflect.StructField, fv reflect.Value) error {
	set := &setting{key: key, typ: f.Type, fields: []reflect.Value{fv}, def: f.Tag.Get("default"), dev: f.Tag.Get("dev"),
		help: f.Tag.Get("help"), sockaddr: f.Tag.Get("sockaddr"), reload: f.Tag.Get("reload") == "yes"}
	if names := f.Tag.Get("flag"); names != "" {
		set.flags = strings.Split(names, ",")
	}
	if err := set.check(f); err != nil {
		return err
	}
	if have := s.byKey[key]; have != nil { // several packages may obey one key, if they agree about it
		if have.typ != set.typ || have.def != set.def || have.dev != set.dev || have.reload != set.reload {
			return fmt.Errorf("key %s is described differently elsewhere", key)
		}
		have.fields = append(have.fields, fv)
		return nil
	}
	s.byKey[key] = set
	s.order = append(s.order, set)
	for _, name := range set.flags {
		if s.byFlag[name] != nil {
			return fmt.Errorf("flag -%s is taken by %s", name, s.byFlag[name].key)
		}
		s.byFlag[name] = set
	}
	return nil
}

func (set *setting) check(f reflect.StructField) error {
	if !f.IsExported() {
		return fmt.Errorf("a tagged field must be exported")
	}
	if set.key != strings.ToLower(set.key) || set.key == "" {
		return fmt.Errorf("key %q must be lower-case and not empty", set.key)
	}
	if !strings.HasPrefix(set.key, "rostra.") && lookup(set.key) == nil && above(set.key) == nil {
		return fmt.Errorf("key %q is not in the table of known keys; our own live below rostra", set.key)
	}
	if !supported(set.typ) {
		return fmt.Errorf("type %s cannot be a setting", set.typ)
	}
	if set.isRaw() && (set.def != "" || set.dev != "" || len(set.flags) > 0) {
		return fmt.Errorf("type %s can have neither default nor flag", set.typ)
	}
	for _, t := range []string{set.def, set.dev} {
		if _, err := set.defaultValue(t); err != nil {
			return err
		}
	}
	return nil
}

// isRaw reports whether the setting takes objects as they are.
func (set *setting) isRaw() bool { return set.typ == definitionsType || set.typ == rawType }

// isList and isMap say how values of several sources are merged.
func (set *setting) isList() bool { return set.typ.Kind() == reflect.Slice }
func (set *setting) isMap() bool  { return set.typ.Kind() == reflect.Map }

// isBool says whether the flag can stand without a value.
func (set *setting) isBool() bool {
	t := set.typ
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Bool
}

func supported(t reflect.Type) bool {
	if t == definitionsType || t == rawType {
		return true
	}
	switch t.Kind() {
	case reflect.Slice:
		return t.Elem().Kind() == reflect.String
	case reflect.Map:
		return t.Key().Kind() == reflect.String && (t.Elem().Kind() == reflect.String || t.Elem() == tree.DurationType)
	case reflect.Pointer:
		return scalar(t.Elem())
	}
	return scalar(t)
}

func scalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64:
		return true
	}
	return false
}

// defaultValue reads the text of a default or dev tag: lists are separated by commas, maps are k:v,k:v.
func (set *setting) defaultValue(t string) (reflect.Value, error) {
	out := reflect.New(set.typ).Elem()
	if t == "" {
		return out, nil
	}
	for _, part := range parts(set, t) {
		v, err := fromText(set.typ, part)
		if err != nil {
			return out, fmt.Errorf("default %q: %w", t, err)
		}
		out = merged(out, v)
	}
	return out, nil
}

func parts(set *setting, t string) []string {
	if set.isList() || set.isMap() {
		return strings.Split(t, ",")
	}
	return []string{t}
}

// merged applies the rule of the sources: lists concatenate, maps overlay, of scalars the later stands.
func merged(old, add reflect.Value) reflect.Value {
	switch add.Kind() {
	case reflect.Slice:
		out := reflect.MakeSlice(add.Type(), 0, old.Len()+add.Len())
		return reflect.AppendSlice(reflect.AppendSlice(out, old), add)
	case reflect.Map:
		out := reflect.MakeMap(add.Type())
		for _, m := range []reflect.Value{old, add} {
			for _, k := range m.MapKeys() {
				out.SetMapIndex(k, m.MapIndex(k))
			}
		}
		return out
	}
	return add
}
