package room

import "strings"

// Definition is one service, check or watch as a configuration source wrote it, before any feature has looked inside.
// It is immutable: reloads compare and share it.
type Definition struct {
	File  string         // the file, or "flag -hcl"
	Line  int            // where the definition begins, from 1
	Key   string         // the key it was written under, lower-case: service, services, check, checks or watches
	Value map[string]any // keys as written; string, bool, int64, uint64, float64, []any, map[string]any; never null
	Lines map[string]int // line of each nested key by its lower-case dotted path: "check.script", "checks.1.args"
}

// LineOf returns the line of the nested key at a dotted path (any case), or that of the nearest thing around it.
func (d Definition) LineOf(path string) int {
	for path = strings.ToLower(path); path != ""; {
		if line, ok := d.Lines[path]; ok {
			return line
		}
		cut := strings.LastIndexByte(path, '.')
		if cut < 0 {
			break
		}
		path = path[:cut]
	}
	return d.Line
}
