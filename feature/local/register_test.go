package local

import (
	"testing"

	"rostra/feature/local/definition"
	"rostra/kit/disk"
)

// FuzzRegister sends bodies to both registrations: whatever is accepted is read back from its file as it was.
func FuzzRegister(f *testing.F) {
	for _, r := range lifeOfRequests {
		f.Add(r.body)
	}
	f.Add(`{"Name":"w","checks":{"args":["a"],"interval":1},"tagged_addresses":{"lan":{"Address":"::1"}},"Proxy":{"a":[]},"Weights":null}`)
	f.Add(`{"name":"w","Name":null,"check":[{"ttl":"1s"},{"ttl":"1s","checkid":"w"},null],"meta":{"a":"b"},"enableTagOverride":true}`)
	f.Fuzz(func(t *testing.T, body string) {
		raw, err := firstValue([]byte(body))
		if err != nil {
			return
		}
		l := &lab{t: t}
		fs := disk.NewForgetful()
		a := l.must(fs, "/d", defaults())
		if text, err := definition.ReadService(raw); err == nil {
			if d, err := a.k.rules().Service(text, ""); err == nil {
				if err := a.k.register(newRegistration(d, fromHTTP)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if text, err := definition.ReadCheck(raw); err == nil {
			if d, err := a.k.rules().Check(text, ""); err == nil {
				_ = a.k.registerCheck(newChecked(d, fromHTTP, nil)) // its service may not be there
			}
		}
		want := a.picture()
		a.stop()
		b := l.must(fs.PowerCut(), "/d", defaults())
		if got := b.picture(); got != want {
			t.Errorf("%s\nwas:\n%s\nis:\n%s", body, want, got)
		}
		b.stop()
	})
}

// FuzzFiles starts an agent on files of any content: it starts, or says which file is wrong.
func FuzzFiles(f *testing.F) {
	f.Add([]byte(`{"Service":{"Name":"w","Checks":[{"TTL":"1s"}]},"Token":"t","Without":["service:w"],"Also":[{"ID":"x","Check":{"TTL":"1s"},"Token":""}]}`))
	f.Add([]byte(`{"Check":{"Name":"c","TTL":"1s"},"Token":""}`))
	f.Add([]byte(`{"Maintenance":{"ServiceID":"","Reason":"r"},"Token":""}`))
	f.Add([]byte(`{"CheckID":"c","Output":"o","Status":"passing","Expires":99999999999}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := &lab{t: t}
		fs := disk.NewForgetful()
		files, err := newFiles(fs, "/d")
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{servicesDir, checksDir, statesDir} {
			if err := disk.WriteFile(fs, files.path(kind, "c"), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if a, err := l.open(fs, "/d", defaults()); err == nil {
			a.stop()
		}
	})
}

func TestNothingIsWrittenForTheSame(t *testing.T) {
	l := newLab(t)
	fs := disk.NewForgetful()
	a := l.must(fs, "/d", defaults())
	body := `{"Name":"w","Check":{"TTL":"1h"}}`
	a.put("service/register", body)
	a.put("service/register", `{"Name":"other"}`)
	for _, step := range []struct {
		body   string
		writes bool
	}{{body, false}, {`{"Name":"w","Check":{"TTL":"2h"}}`, true}, {body, true}, {body, false}} {
		before := fs.Steps()
		a.put("service/register", step.body)
		if wrote := fs.Steps() > before; wrote != step.writes {
			t.Errorf("%s: written %v", step.body, wrote)
		}
	}
	a.stop()
	fs = fs.PowerCut()
	a = l.must(fs, "/d", defaults())
	before := fs.Steps()
	a.put("service/register", body)
	if fs.Steps() > before {
		t.Error("written after a restart")
	}
	a.put("service/deregister/w", "")
	a.put("service/register", body)
	want := a.picture()
	a.stop()
	if a = l.must(fs.PowerCut(), "/d", defaults()); a.picture() != want {
		t.Errorf("lost: %s", a.picture())
	}
}
