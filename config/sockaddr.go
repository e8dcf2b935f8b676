package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/hashicorp/go-sockaddr/template"
)

// expandScalar replaces a template in a string setting by the address it gives, or by several separated by blanks.
func expandScalar(set *setting, v reflect.Value, at string) (reflect.Value, error) {
	addrs, err := expand(set, v.String(), at)
	if err != nil || addrs == nil {
		return v, err
	}
	out := reflect.New(v.Type()).Elem()
	out.SetString(strings.Join(addrs, " "))
	return out, nil
}

// expandList replaces the templates among the elements of a list, each by all addresses it gives.
func expandList(set *setting, v reflect.Value, at string) (reflect.Value, error) {
	out := reflect.MakeSlice(v.Type(), 0, v.Len())
	for i := range v.Len() {
		addrs, err := expand(set, v.Index(i).String(), at)
		if err != nil {
			return v, err
		}
		if addrs == nil {
			addrs = []string{v.Index(i).String()}
		}
		for _, a := range addrs {
			out = reflect.Append(out, reflect.ValueOf(a).Convert(v.Type().Elem()))
		}
	}
	return out, nil
}

// expand runs a template; nil without an error means that the text is none.
func expand(set *setting, s, at string) ([]string, error) {
	if !strings.Contains(s, "{{") {
		return nil, nil
	}
	out, err := template.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: cannot run the address template %q: %s: correct the template", at, set.key, s, oneLine(err.Error()))
	}
	addrs := strings.Fields(out)
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s: %s: the address template %q finds no address on this machine: name another interface, or the address itself",
			at, set.key, s)
	}
	if set.sockaddr != "many" && len(addrs) > 1 {
		return nil, fmt.Errorf("%s: %s: the address template %q finds %d addresses (%s), and one is needed: narrow it, or name the address itself",
			at, set.key, s, len(addrs), strings.Join(addrs, " "))
	}
	return addrs, nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
