package wire

import (
	"encoding/json"
	"slices"
)

// Says reports whether a member of a JSON object holds anything but empty values, so that its loss would be one. Clients that
// have read an object write its empty members back.
func Says(raw json.RawMessage) bool {
	var v any
	return json.Unmarshal(raw, &v) == nil && filled(v)
}

func filled(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, member := range v {
			if filled(member) {
				return true
			}
		}
		return false
	case []any:
		return slices.ContainsFunc(v, filled)
	}
	return v != nil && v != "" && v != false && v != 0.0
}
