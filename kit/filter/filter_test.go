package filter

import (
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/go-bexpr"
)

type check struct {
	Status string
	Tags   []string
	Meta   map[string]string
}

type address struct {
	Address string
	Port    int
}

type embedded struct{ ID string }

// pairs is a Map as a sorted list would be one.
type pairs [][2]string

func (p pairs) Len() int { return len(p) }
func (p pairs) Get(key string) (string, bool) {
	for _, kv := range p {
		if kv[0] == key {
			return kv[1], true
		}
	}
	return "", false
}

type name string

type entry struct {
	embedded
	Node    name
	Port    uint16
	Weight  int8
	Load    float64
	Native  bool
	Tags    []string
	Nums    []int
	Meta    map[string]string
	Labels  pairs
	Tagged  map[string]address
	Checks  []*check
	Proxy   *address
	Renamed string `bexpr:"Alias"`
	Hidden  string `bexpr:"-"`
	Func    func()
	secret  string
}

func sample() *entry {
	return &entry{
		embedded: embedded{"id-1"}, Node: "web-1.example", Port: 8080, Weight: -3, Load: 0.5, Native: true,
		Tags: []string{"v1", "blue"}, Nums: []int{16, 2}, Meta: map[string]string{"env": "prod", "a b": "c", "path": "/api"},
		Labels: pairs{{"x", "1"}}, Tagged: map[string]address{"wan": {"1.2.3.4", 80}},
		Checks:  []*check{{Status: "passing", Tags: []string{"t"}}, {Status: "critical", Meta: map[string]string{"k": "v"}}},
		Renamed: "ali", secret: "s",
	}
}

func TestMatch(t *testing.T) {
	for expr, want := range map[string]bool{
		// strings
		`Node == "web-1.example"`: true, `Node==web`: false, `Node != web`: true, "Node == `web-1.example`": true,
		`Node contains "web"`: true, `web in Node`: true, `"z" not in Node`: true, `Node not contains web`: false,
		`Node matches "^web-[0-9]+"`: true, `Node matches "b-1"`: true, `Node not matches "^b"`: true,
		"  Node\t==\n\"x\"  ": false, `Alias == ali`: true, `ID == "id-1"`: true,
		// numbers and booleans
		`Port == 8080`: true, `Port == "0x1f90"`: true, `Port != 1`: true, `Weight == -3`: true, `Load == 0.5`: true,
		`Native == true`: true, `Native != false`: true, `Native == "1"`: true,
		// lists
		`v1 in Tags`: true, `Tags contains "v1"`: true, `green not in Tags`: true, `Tags is empty`: false, `Tags is not empty`: true,
		`16 in Nums`: true, `"0x10" in Nums`: true, `3 in Nums`: false,
		// maps
		`env in Meta`: true, `"none" not in Meta`: true, `Meta.env == prod`: true, `Meta["a b"] == c`: true, `Meta is not empty`: true,
		`Tagged.wan.Port == 80`: true, `Tagged["wan"].Address matches "^1"`: true, `wan in Tagged`: true,
		`Labels.x == 1`: true, `x in Labels`: true, `Labels is empty`: false, `y in Labels`: false,
		`Meta.path == "/api"`: true,
		// §11: a missing key makes ==, in and "is not empty" false and everything else true
		`Meta.none == x`: false, `x in Meta.none`: false, `Meta.none != x`: true, `x not in Meta.none`: true,
		`Meta.none matches x`: true, `Meta.none not matches x`: true, `Labels.none == x`: false, `Labels.none != x`: true,
		`Tagged.lan.Port == 80`: false, `Tagged.lan.Port != 80`: true, `Proxy.Port == 1`: false, `Proxy.Port != 1`: true,
		// any element of a list of objects
		`Checks.Status == critical`: true, `Checks.Status == warning`: false, `Checks.Status != passing`: true,
		`t in Checks.Tags`: true, `Checks.Meta.k == v`: true, `Checks is empty`: false, `Checks.Tags is empty`: true,
		// and, or, not, parentheses
		`Port==1 or Port==8080 and Native==true`: true, `(Port==1 or Port==8080) and Native==false`: false,
		`not Port==1`: true, `not not Port==1`: false, `not Port==1 and Native==false`: false, `not (Port==1 and Native==false)`: true,
		`((Port==8080))`: true, `( Port==8080 ) and ( Native==true )`: true, `Port==1 or Port==2 or Port==8080`: true,
		`Node == "quote\"inside"`: false,
	} {
		f, err := Compile(expr, entry{})
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if got, err := f.Match(sample()); err != nil || got != want {
			t.Errorf("%s: %v, %v", expr, got, err)
		}
		if got, err := f.Match(*sample()); err != nil || got != want {
			t.Errorf("%s on a value: %v, %v", expr, got, err)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for expr, want := range map[string]string{
		`Foo == 1`: `Selector "Foo" is not valid`, `Node.x == 1`: `Selector "Node.x" is not valid`,
		`Checks.Foo == 1`: `Selector "Checks.Foo" is not valid`, `x in Hidden`: `Selector "Hidden" is not valid`,
		`secret == 1`: `Selector "secret" is not valid`, `Func is empty`: `Selector "Func" is not valid`,
		`Renamed == 1`: `Selector "Renamed" is not valid`, `Tags.x == 1`: `Selector "Tags.x" is not valid`,
		`Port contains 1`: `Invalid match operator "In" for selector "Port"`, `Port is empty`: `Invalid match operator "Is Empty" for selector "Port"`,
		`Tags == v1`: `Invalid match operator`, `Meta == x`: `Invalid match operator`, `Proxy == x`: `Invalid match operator`,
		`Node is not empty`: `Invalid match operator "Is Not Empty"`, `Checks contains x`: `Invalid match operator`,
		`Port == abc`: `Failed to convert value "abc" for selector "Port"`, `Port == 70000`: `value out of range`, `Native == 2`: `invalid syntax`,
		`Node matches "("`: `Failed to compile regular expression`,
		``:                 `1:1 (0): no match found, expected: `, `Node == _x`: `1:9 (8): no match found, expected: `,
		"Node == x and\nPort = 1": `2:6 (19): no match found, expected: `, `Node == x )`: `1:11 (10): no match found, expected: "and", "or", end of expression`, `(Node == x`: `expected: ")"`,
		`Node == 01`: `no match found`, `Node == 1x`: `no match found`, `Node == "open`: `unterminated string literal`, `Node == "\q"`: `cannot read the string`,
		`Node == x orNode == y`: `no match found`, `Node == x or`: `no match found`, `Type==`: `no match found`, `Node`: `no match found`,
		`Meta["x == 1`: `unterminated`, `Meta[x] == 1`: `no match found`,
		strings.Repeat("(", 1000) + "Port==1" + strings.Repeat(")", 1000): `nested deeper than the limit of 256`,
		strings.Repeat("x", MaxLength+1):                                  `has 65537 bytes, the limit is 65536`,
	} {
		_, err := Compile(expr, &entry{})
		var refused *Error
		if !errors.As(err, &refused) {
			t.Errorf("%.60s: %v", expr, err)
			continue
		}
		if !strings.HasPrefix(err.Error(), "Failed to create boolean expression evaluator: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %s", expr, err, want)
		}
		if got := errors.Unwrap(err).Error(); strings.Contains(got, "evaluator") {
			t.Errorf("%.60s: the bare reason is %s", expr, got)
		}
	}
	for _, sample := range []any{nil, 3, []entry{}, map[string]string{}} {
		if _, err := Compile(`a == b`, sample); err == nil {
			t.Errorf("sample %T: accepted", sample)
		}
	}
}

func TestMatchRefusesOtherTypes(t *testing.T) {
	f, err := Compile(`Node == x`, entry{})
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range []any{nil, (*entry)(nil), check{}, 3} {
		if _, err := f.Match(item); err == nil {
			t.Errorf("%T: accepted", item)
		}
	}
}

// plain is what today's go-bexpr treats as release 0.1.2 did: no lists of structs, all keys present.
type plain struct {
	Name   string
	Port   int
	Native bool
	Tags   []string
	Meta   map[string]string
}

// FuzzCompile looks for panics, and holds what both accept to go-bexpr's verdict.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		`Name == "web" and (Port != 80 or not v1 in Tags)`, `Meta["k"] matches "^v" or Meta is empty`, `Checks.Status != passing`,
		`Name contains web and Native == true`, "Name == `x`", `x not in Meta`, `Tags is not empty`, `not not Port == -1.5`,
	} {
		f.Add(seed)
	}
	datum := plain{"web", 80, true, []string{"v1"}, map[string]string{"k": "v"}}
	f.Fuzz(func(t *testing.T, expr string) {
		if c, err := Compile(expr, entry{}); err == nil {
			if _, err := c.Match(sample()); err != nil {
				t.Fatalf("%q: %v", expr, err)
			}
		}
		ours, err := Compile(expr, plain{})
		if err != nil || len(expr) > 500 {
			return
		}
		theirs, err := bexpr.CreateEvaluator(expr)
		if err != nil || newer(expr) {
			return
		}
		want, err := theirs.Evaluate(datum)
		if err != nil {
			return
		}
		if got, err := ours.Match(datum); err != nil || got != want {
			t.Fatalf("%q: %v, %v; go-bexpr says %v", expr, got, err, want)
		}
	})
}

// newer reports whether an expression may mean something else to go-bexpr 0.1.17: strings that begin with a slash are
// pointers to it, slashes belong to names, and an absent key does not match.
func newer(expr string) bool {
	return strings.ContainsAny(expr, "/") || strings.Contains(expr, "matches") && strings.Contains(expr, "Meta") ||
		strings.Contains(expr, "nil")
}

// TestWhyNotTheLibrary keeps the reasons for an own evaluator true: when go-bexpr does what §11 asks, it may come back.
func TestWhyNotTheLibrary(t *testing.T) {
	for _, expr := range []string{`Checks.Status == critical`, `Meta.path == "/api"`, `Meta.none matches x`} {
		e, err := bexpr.CreateEvaluator(expr)
		if err != nil {
			continue
		}
		if got, err := e.Evaluate(*sample()); err == nil && got {
			t.Errorf("go-bexpr agrees about %s now", expr)
		}
	}
	if _, err := bexpr.CreateEvaluator(`Foo == 1`); err != nil {
		t.Error("go-bexpr refuses unknown selectors now")
	}
}

func BenchmarkMatch(b *testing.B) {
	f, err := Compile(`Meta.env == prod and Checks.Status != warning and v1 in Tags`, entry{})
	if err != nil {
		b.Fatal(err)
	}
	item := sample()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = f.Match(item)
	}
}
