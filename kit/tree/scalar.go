package tree

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
)

// Misfit says what a place should hold, what it holds and how to mend it. Who knows the place adds it.
type Misfit struct {
	Line            int // from 1; 0 if unknown
	Want, Got, Mend string
}

func (e *Misfit) Error() string { return fmt.Sprintf("expected %s, got %s: %s", e.Want, e.Got, e.Mend) }

// misfit is one of a node.
func (n *Node) misfit(want, mend string) *Misfit { return &Misfit{n.Line, want, n.Shown(), mend} }

// NeedObject is the error of a node that is no object, where one is expected.
func (n *Node) NeedObject() error {
	if n.Blocks {
		return &Misfit{n.Items[1].Line, "one block", n.Shown(), "put all of it into one block"}
	}
	return n.misfit("an object", "write a block, { … }")
}

// NeedObjects is the error of a node that is no object, where a list of them is expected.
func (n *Node) NeedObjects() error { return n.misfit("a list of objects", "write [{ … }]") }

// NeedList is the error of a node that is no list, where one of strings is expected.
func (n *Node) NeedList() error {
	mend := `write a list, ["…"]`
	if n.Kind == Text {
		mend = fmt.Sprintf("write [%q]", n.Val)
	}
	return n.misfit("a list of strings", mend)
}

// DurationType is the type of durations, which are written as texts with a unit.
var DurationType = reflect.TypeFor[time.Duration]()

// Scalar turns a node that is not null into a value of a type: a string, bool, int, int64, uint64, float64, duration, or a
// pointer to one of these. The error is a *Misfit.
func (n *Node) Scalar(t reflect.Type) (reflect.Value, error) {
	if t.Kind() == reflect.Pointer {
		v, err := n.Scalar(t.Elem())
		if err != nil {
			return v, err
		}
		p := reflect.New(t.Elem())
		p.Elem().Set(v)
		return p, nil
	}
	out := reflect.New(t).Elem()
	wrong := func() error {
		want, mend := wants(t)
		return n.misfit(want, mend(n))
	}
	switch {
	case t == DurationType:
		d, err := time.ParseDuration(n.Literal())
		if n.Kind != Text || err != nil {
			return out, wrong()
		}
		out.SetInt(int64(d))
	case t.Kind() == reflect.String && n.Kind == Text:
		out.SetString(n.Val.(string))
	case t.Kind() == reflect.Bool && n.Kind == Boolean:
		out.SetBool(n.Val.(bool))
	case n.Kind == Number && setNumber(out, n.Val):
	default:
		return out, wrong()
	}
	return out, nil
}

// setNumber stores a number that the field can hold exactly.
func setNumber(out reflect.Value, val any) bool {
	if f, ok := val.(float64); ok && out.Kind() != reflect.Float64 {
		if f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
			return false
		}
		val = int64(f)
	}
	switch out.Kind() {
	case reflect.Int, reflect.Int64:
		i, ok := val.(int64)
		if !ok || out.OverflowInt(i) {
			return false
		}
		out.SetInt(i)
	case reflect.Uint64:
		switch v := val.(type) {
		case uint64:
			out.SetUint(v)
		case int64:
			if v < 0 {
				return false
			}
			out.SetUint(uint64(v))
		}
	case reflect.Float64:
		out.SetFloat(reflect.ValueOf(val).Convert(reflect.TypeFor[float64]()).Float())
	default:
		return false
	}
	return true
}

// wants names what a field takes, and how to turn what was written into it.
func wants(t reflect.Type) (want string, mend func(*Node) string) {
	switch {
	case t == DurationType:
		return "a duration", func(n *Node) string {
			if n.Kind == Number {
				return fmt.Sprintf("add a unit and quotes, such as %q", n.Literal()+"s")
			}
			return `write numbers with their units (ms, s, m, h), such as "10s" or "1h30m"`
		}
	case t.Kind() == reflect.String:
		return "a string", func(n *Node) string {
			if n.Kind == Number || n.Kind == Boolean {
				return fmt.Sprintf("write it in quotes, %q", n.Literal())
			}
			return `write a string in quotes, "…"`
		}
	case t.Kind() == reflect.Bool:
		return "true or false", func(n *Node) string {
			if _, err := strconv.ParseBool(n.Literal()); n.Kind == Text && err == nil {
				return "write it without quotes"
			}
			return "write true or false, without quotes"
		}
	case t.Kind() == reflect.Float64:
		return "a number", mendNumber
	case t.Kind() == reflect.Uint64:
		return "a whole number from 0", mendNumber
	}
	return "a whole number", mendNumber
}

func mendNumber(n *Node) string {
	if _, err := strconv.ParseFloat(n.Literal(), 64); n.Kind == Text && err == nil {
		return fmt.Sprintf("write %s without quotes", n.Val)
	}
	return "write a number, without quotes"
}
