package definition

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl"
)

// ReadServices returns the services of a configuration file's content; ext is the file's extension, which says its format.
// They are read as the agent will read them, so that nothing is sent of a file that has a mistake, and each has a name and
// is kept as it was written, in JSON. Other settings in the file are passed over. Errors are for people, and name the key.
func ReadServices(content []byte, ext string) (all []*ServiceText, err error) {
	file := map[string]json.RawMessage{}
	switch ext {
	case ".json":
		err = json.Unmarshal(content, &file)
	case ".hcl":
		file, err = hclMembers(content)
	default:
		err = fmt.Errorf("file has unknown extension; must be .hcl or .json")
	}
	if err != nil {
		return nil, err
	}
	keys := slices.SortedFunc(maps.Keys(file), func(a, b string) int { return cmp.Compare(strings.ToLower(a), strings.ToLower(b)) })
	for _, key := range keys { // as the agent reads them, in capitals or not
		value, many := file[key], strings.EqualFold(key, "services")
		if !many && !strings.EqualFold(key, "service") {
			continue
		}
		list := []json.RawMessage{value}
		if many && value[0] == '[' {
			if err := json.Unmarshal(value, &list); err != nil {
				return nil, err
			}
		}
		for _, raw := range list {
			t, err := ReadService(raw)
			if err == nil {
				err = t.united()
			}
			if err != nil {
				_, what := misread(key, err)
				return nil, what
			}
			if t.Name == "" {
				return nil, fmt.Errorf("%s: name is missing", key)
			}
			all = append(all, t)
		}
	}
	return all, nil
}

// hclMembers returns the members of a file in HCL as JSON. HCL gives every block as a list of maps: a list of one is
// taken for the map, but where lists of definitions stand.
func hclMembers(b []byte) (map[string]json.RawMessage, error) {
	file := map[string]any{}
	if err := hcl.Unmarshal(b, &file); err != nil {
		return nil, err
	}
	members := map[string]json.RawMessage{}
	for key, value := range file {
		raw, err := json.Marshal(unfold(key, value))
		if err != nil {
			return nil, err
		}
		members[key] = raw
	}
	return members, nil
}

// unfold turns every list of one map, at any depth, into that map, unless its key says that it is a list.
func unfold(key string, v any) any {
	switch v := v.(type) {
	case []map[string]any:
		if !strings.EqualFold(key, "services") && !strings.EqualFold(key, "checks") && len(v) == 1 {
			return unfold(key, v[0])
		}
		list := make([]any, len(v))
		for i, m := range v {
			list[i] = unfold("", m)
		}
		return list
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = unfold("", e)
		}
		return list
	case map[string]any:
		object := map[string]any{}
		for key, value := range v {
			object[key] = unfold(key, value)
		}
		return object
	}
	return v
}
