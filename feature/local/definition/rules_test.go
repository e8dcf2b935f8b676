package definition

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"rostra/kit/fault"
)

// understood returns what a service's text means, if it came over HTTP.
func understood(t *testing.T, text string) *Service {
	t.Helper()
	read, err := ReadService([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Rules{Node: "n1"}.Service(read, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (c *Check) String() string {
	return fmt.Sprintf("%s of %q: %q %s %s/%s token %q reap %s", c.Row.CheckID, c.Row.ServiceID, c.Row.Name, c.Row.Status,
		c.Row.Interval, c.Row.Timeout, c.Token, c.ReapAfter)
}

func TestMeaningOfChecks(t *testing.T) {
	s := understood(t, `{"Name":"web","Token":"t","Checks":[
		{"TTL":"1h"},
		{"CheckID":"a","Name":"A","HTTP":"http://x","Interval":"90s","Timeout":"5s","Token":"own","Status":"passing"},
		{"ID":"b","TTL":"1h","DeregisterCriticalServiceAfter":"1s"},
		{"ID":"a","TTL":"2h","DeregisterCriticalServiceAfter":"2h"}]}`)
	read, err := ReadCheck([]byte(`{"TTL":"1h","Token":"own"}`))
	if err != nil {
		t.Fatal(err)
	}
	before := len(s.Checks)
	earlier, err := Rules{Node: "n1"}.CheckOf(s, read, "early")
	if err != nil || len(s.Checks) != before {
		t.Fatal(err, len(s.Checks))
	}
	want := []string{
		`service:web:1 of "web": "Service 'web' check" critical / token "t" reap 0s`,
		`a of "web": "Service 'web' check" critical / token "t" reap 2h0m0s`, // the last counts, at the first one's place
		`b of "web": "Service 'web' check" critical / token "t" reap 1m0s`,
		`early of "web": "Service 'web' check" critical / token "own" reap 0s`,
	}
	for i, c := range append(s.Checks, earlier) {
		if i >= len(want) || c.String() != want[i] {
			t.Errorf("check %d: %s", i, c)
		}
	}
	read, err = ReadCheck([]byte(`{"Name":"Disk","service_id":"web","tcp":"x:1","interval":"90s"}`))
	if err != nil {
		t.Fatal(err)
	}
	alone, err := Rules{Node: "n1"}.Check(read, "")
	if err != nil || alone.String() != `Disk of "web": "Disk" critical 1m30s/0s token "" reap 0s` {
		t.Errorf("%v %v", alone, err)
	}
	if alone.Spec.Interval != 90*time.Second {
		t.Errorf("interval %s", alone.Spec.Interval)
	}
}

// Form and sense are told apart: what the rules refuse has been read.
func TestRefusals(t *testing.T) {
	for _, text := range []string{`{}`, `null`, `{"Name":"w","Address":"::"}`, `{"Name":"w","Check":{"HTTP":"x"}}`,
		`{"Name":"w","Check":{"Args":["true"],"Interval":"1s"}}`, `{"Name":"w","Check":{"TTL":"1s","Status":"fine"}}`} {
		read, err := ReadService([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if s, err := (Rules{}).Service(read, ""); s != nil || !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Refused) {
			t.Errorf("%s: %v %v", text, s, err)
		}
	}
	for _, text := range []string{``, `7`, `[]`, `{"Foo":1}`, `{"Name":1}`, `{"Check":{"Foo":1}}`, `{"Checks":[{}, 7]}`} {
		if read, err := ReadService([]byte(text)); read != nil || err == nil {
			t.Errorf("%s: %v %v", text, read, err)
		}
	}
}

// What was said of the definition before is not said again, but of a name and of the mesh, which that may not have had.
func TestWhatIsSaidOnce(t *testing.T) {
	odd := understood(t, `{"Name":"a_b","Kind":"x","Checks":[{"ID":"c","TTL":"1h","Shell":"sh","Args":[],"DeregisterCriticalServiceAfter":"1s"},{"ID":"c","TTL":"1h"}]}`)
	for _, test := range []struct {
		before *Service
		want   string // the beginnings of what is said
	}{
		{nil, "service mesh, service cannot be found, deregister_critical_service_after"}, // of a check that does not count, too
		{understood(t, `{"ID":"a_b","Name":"plain"}`), "service mesh, service cannot be found"},
		{understood(t, `{"Name":"a_b"}`), "service mesh"},
		{odd, ""},
	} {
		var log bytes.Buffer
		odd.Warn(slog.New(slog.NewTextHandler(&log, nil)), test.before)
		var said []string
		for _, line := range strings.Split(log.String(), "\n") {
			for _, begin := range strings.Split("service mesh, service cannot be found, deregister_critical_service_after", ", ") {
				if strings.Contains(line, `msg="`+begin) && strings.Contains(line, "service=a_b") {
					said = append(said, begin)
				}
			}
		}
		if got := strings.Join(said, ", "); got != test.want || strings.Count(log.String(), "\n") != len(said) {
			t.Errorf("%q, want %q:\n%s", got, test.want, &log)
		}
	}
	if odd.Notice() != noMesh || understood(t, `{"Name":"a_b","Proxy":null}`).Notice() != "" {
		t.Error("the wrong client is told of the mesh")
	}
}
