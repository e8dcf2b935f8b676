package query

import (
	"reflect"
	"strings"
	"testing"

	"rostra/kit/wire"
)

// TestFill is the language of templates.
func TestFill(t *testing.T) {
	w := words{full: "geo-db-x", prefix: "geo-", suffix: "db-x", groups: []string{"geo-db-x", "db"}}
	for text, want := range map[string]string{
		"":                                    "",
		"plain $ text } {":                    "plain $ text } {",
		"${name.full}":                        "geo-db-x",
		"a${name.prefix}b${name.suffix}c":     "ageo-bdb-xc",
		"${ name.full\t}":                     "geo-db-x",
		"${match(0)}/${match(1)}/${match(2)}": "geo-db-x/db/",
		"${ match ( 1 ) }":                    "db",
		"x${agent.segment}y":                  "xy",
		"$${name.full}":                       "${name.full}",
		"a$${b}$${c${match(1)}":               "a${b}${cdb",
		"$${":                                 "${",
		"${":                                  "!the ${ is never closed by a }",
		"a ${name.full":                       "!the ${ is never closed by a }",
		"${}":                                 `!unknown word ""`,
		"${name}":                             `!unknown word "name"`,
		"${Name.Full}":                        `!unknown word "Name.Full"`,
		"${match}":                            `!unknown word "match"`,
		"${match()}":                          "!match(): the number of a group",
		"${match(x)}":                         "!match(x): the number of a group",
		"${match(-1)}":                        "!match(-1): the number of a group",
		"${match(99999999999999999999)}":      "!the number of a group",
		"${${name.full}}":                     `!unknown word "${name.full"`,
	} {
		got, err := w.fill(text)
		if err != nil {
			got = "!" + err.Error()
		}
		if wrong, is := strings.CutPrefix(want, "!"); got != want && (!is || err == nil || !strings.Contains(got, wrong)) {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// TestRender: every string of the service is filled, and no other; the stored definition stays what it is.
func TestRender(t *testing.T) {
	const x = "${name.suffix}"
	d := &Definition{ID: id(1), Name: "Geo-", Session: x, Token: x, DNS: DNS{x}, Template: Template{Type: PrefixMatch, Regexp: `^geo-(.)`, RemoveEmptyTags: true},
		Service: Service{Service: x, Failover: Failover{Datacenters: []string{"a", x}, Targets: []Target{{Datacenter: x}}}, IgnoreCheckIDs: []string{x}, Near: x,
			Tags: []string{"", "${match(1)}", "${match(2)}", "!" + x}, NodeMeta: wire.Pairs{{Key: x, Value: x}}, ServiceMeta: wire.Pairs{{Key: "k", Value: x}}}}
	before := string(d.AppendJSON(nil))
	c, err := d.compile()
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.render("geo-DB")
	if err != nil {
		t.Fatal(err)
	}
	want := *d
	want.Service = Service{Service: "DB", Failover: Failover{Datacenters: []string{"a", "DB"}, Targets: []Target{{Datacenter: "DB"}}}, IgnoreCheckIDs: []string{"DB"}, Near: "DB",
		Tags: []string{"D", "!DB"}, NodeMeta: wire.Pairs{{Key: x, Value: "DB"}}, ServiceMeta: wire.Pairs{{Key: "k", Value: "DB"}}}
	if !reflect.DeepEqual(got, &want) {
		t.Errorf("%s\nwant %s", got.AppendJSON(nil), want.AppendJSON(nil))
	}
	if after := string(d.AppendJSON(nil)); after != before {
		t.Errorf("the stored one became %s", after)
	}
	if got, err = c.render("other"); err != nil || got.Service.Service != "other" || len(got.Service.Tags) != 1 {
		t.Errorf("a name that the expression does not match: %s, %v", got.AppendJSON(nil), err)
	}
	d.Template = Template{}
	if c, err = d.compile(); err != nil {
		t.Fatal(err)
	}
	if got, err = c.render("geo-db"); err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("no template: %s, %v", got.AppendJSON(nil), err)
	}
}

// FuzzTemplate: no text panics, what was taken at a write is taken for every name, and a text without ${ stays what it is.
func FuzzTemplate(f *testing.F) {
	f.Add("${match(1)}-$${x}", "^(.*?)-", "geo-", "geo-db")
	f.Add("${", "(", "", "ß")
	f.Add("${ match ( 1 ) }${name.full}", "(?i)K", "K", "K")
	f.Fuzz(func(t *testing.T, text, expression, prefix, name string) {
		if len(expression) > 100 {
			return
		}
		d := prefixed(1, prefix)
		d.Template.Regexp, d.Service.Service, d.Service.Tags = expression, text, []string{text}
		if d.checkTemplate() != nil {
			return
		}
		c, err := d.compile()
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.render(name)
		if err != nil {
			t.Fatalf("%q was taken, and for %q it is %v", text, name, err)
		}
		if !strings.Contains(text, "${") && got.Service.Service != text {
			t.Fatalf("%q became %q", text, got.Service.Service)
		}
	})
}
