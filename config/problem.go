package config

import "strings"

// Problem is one thing that is wrong with the sources.
type Problem struct {
	Key string // dotted; "" if a whole source could not be read
	Err error  // one line that names file, line, key and what to do
}

// Problems are all that is wrong with the sources, in their order, never none.
type Problems []Problem

// Error returns one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unread reports whether a whole source is missing from the settings.
func (p Problems) Unread() bool { return p.About("") }

// About reports whether one of the problems is with this key.
func (p Problems) About(key string) bool {
	for _, one := range p {
		if one.Key == key {
			return true
		}
	}
	return false
}

// note adds a problem with a key, if there is one.
func (l *loader) note(key string, err error) {
	if err != nil {
		l.problems = append(l.problems, Problem{key, err})
	}
}
