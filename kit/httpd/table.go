package httpd

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
)

// endpoint is all that lives at one path.
type endpoint struct {
	path     string
	routes   []Route
	allow    []string     // "OPTIONS,GET,PUT"
	any      bool         // the one route takes every method
	legacy   bool         // GET is taken for PUT
	redirect bool         // the path lacks the final slash of a prefix
	extra    http.Handler // instead of routes
}

// table finds the endpoint of a path.
type table struct {
	exact   map[string]*endpoint
	prefix  map[string]*endpoint
	longest int // the longest prefix
}

func newTable(routes []Route, extra map[string]http.Handler, legacy bool) (*table, error) {
	t := &table{exact: map[string]*endpoint{}, prefix: map[string]*endpoint{}}
	for _, r := range routes {
		if err := t.add(r); err != nil {
			return nil, fmt.Errorf("cannot serve %s %s: %w", r.Method, r.Path, err)
		}
		if legacy && r.Legacy {
			t.takeGets(r.Path)
		}
	}
	for path, handler := range extra {
		switch {
		case !strings.HasPrefix(path, "/") || handler == nil:
			return nil, fmt.Errorf("cannot serve %q: it needs a path and a handler", path)
		case t.exact[path] != nil || t.prefix[path] != nil:
			return nil, fmt.Errorf("cannot serve %s: it is a route already", path)
		}
		t.put(&endpoint{path: path, extra: handler})
	}
	for path := range t.prefix {
		if bare := strings.TrimSuffix(path, "/"); t.exact[bare] == nil {
			t.exact[bare] = &endpoint{path: path, redirect: true}
		}
	}
	return t, nil
}

func (t *table) put(e *endpoint) {
	if strings.HasSuffix(e.path, "/") && e.path != "/" {
		t.prefix[e.path] = e
		t.longest = max(t.longest, len(e.path))
		return
	}
	t.exact[e.path] = e
}

// takeGets lets GET do at a path what PUT does.
func (t *table) takeGets(path string) {
	e := t.exact[path]
	if e == nil {
		e = t.prefix[path]
	}
	e.legacy = true
	e.allow[0] += "," + http.MethodGet
}

func (t *table) add(r Route) error {
	switch {
	case !strings.HasPrefix(r.Path, "/"):
		return fmt.Errorf("the path does not start with /")
	case r.Serve == nil:
		return fmt.Errorf("there is no function")
	case r.Method == http.MethodHead || r.Method == http.MethodOptions:
		return fmt.Errorf("the method is answered for every path")
	}
	if r.Legacy && r.Method != http.MethodPut {
		return fmt.Errorf("only a PUT can be taken for a GET of old")
	}
	if r.Filter != nil && !isStruct(r.Filter) {
		return fmt.Errorf("the filter's sample is a %T and not a struct", r.Filter)
	}
	e := t.exact[r.Path]
	if e == nil {
		e = t.prefix[r.Path]
	}
	if e == nil {
		e = &endpoint{path: r.Path, allow: []string{"OPTIONS"}}
		t.put(e)
	}
	for _, other := range e.routes {
		if other.Method == r.Method || other.Method == "" || r.Method == "" {
			return fmt.Errorf("the path has the method %q already", other.Method)
		}
	}
	e.routes = append(e.routes, r)
	e.any = r.Method == ""
	e.allow[0] += "," + r.Method
	return nil
}

// find returns the endpoint of a decoded path and the rest after its prefix; nil if there is none.
func (t *table) find(path string) (*endpoint, string) {
	if e := t.exact[path]; e != nil {
		return e, ""
	}
	var found *endpoint
	for i := 1; i < len(path) && i < t.longest; i++ {
		if path[i] == '/' {
			if e := t.prefix[path[:i+1]]; e != nil {
				found = e
			}
		}
	}
	if found == nil {
		return nil, ""
	}
	return found, path[len(found.path):]
}

// route returns the route for a method, nil if the method is not allowed. HEAD never is.
func (e *endpoint) route(method string) *Route {
	for i := range e.routes {
		if r := &e.routes[i]; r.Method == method || e.any && method != http.MethodHead {
			return r
		}
	}
	return nil
}

func isStruct(sample any) bool {
	t := reflect.TypeOf(sample)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}
