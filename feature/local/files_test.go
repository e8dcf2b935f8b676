package local

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rostra/kit/disk"
)

var osDisk = disk.OS()

func countFiles(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if !e.IsDir() {
			n++
		}
	}
	return n
}

func dirNames(t *testing.T, dir string) string {
	return fmt.Sprintf("checks/%d services/%d", countFiles(t, filepath.Join(dir, checksDir)), countFiles(t, filepath.Join(dir, servicesDir)))
}

// picture is what a restart must bring back.
func (a *agent) picture() string {
	a.k.mu.Lock()
	defer a.k.mu.Unlock()
	var b strings.Builder
	for _, i := range sorted(keysOf(a.k)) {
		if !i.check {
			s := a.k.services[i.id]
			fmt.Fprintf(&b, "%s port %d tags %v token %q\n", i.id, s.row.Port, s.def.Row.Tags, s.token) // tags of the row may be the catalog's
			continue
		}
		c := a.k.checks[i.id]
		fmt.Fprintf(&b, "  %s of %q %s interval %s ttl %s notes %q name %q token %q\n", i.id, c.row.ServiceID, c.row.Type, c.row.Interval,
			c.ttl(), c.row.Notes, c.row.Name, c.token)
	}
	return b.String()
}

func keysOf(k *keeper) map[item]bool {
	set := map[item]bool{}
	for id := range k.services {
		set[item{id: id}] = true
	}
	for id := range k.checks {
		set[item{true, id}] = true
	}
	return set
}

// lifeOfRequests changes registrations in all the ways that touch files.
var lifeOfRequests = []struct{ path, body string }{
	{"service/register?token=t1", `{"Name":"a","Port":1,"Check":{"TTL":"1h"},"Checks":[{"CheckID":"c2","TTL":"2h"}]}`},
	{"service/register", `{"Name":"b","Tags":["x"],"Checks":[{"CheckID":"c3","TTL":"1h"}]}`},
	{"check/register?token=t2", `{"Name":"lone","TTL":"1h","Notes":"n"}`},
	{"check/register", `{"Name":"of-a","ServiceID":"a","TTL":"1h"}`},
	{"service/register", `{"Name":"a","Port":2,"Check":{"CheckID":"c4","TTL":"1h"}}`}, // c2 and service:a:1 stay
	{"check/deregister/c2", ""}, // out of the service's file
	{"check/register", `{"Name":"service:a:1","ServiceID":"a","TTL":"5h"}`},                      // gets a file of its own
	{"check/register", `{"Name":"c4","ServiceID":"b","TTL":"6h"}`},                               // moves to another service
	{"service/register", `{"Name":"b","Tags":["y"],"Checks":[{"CheckID":"of-a","TTL":"7h"}]}`},   // takes a's check
	{"service/maintenance/a?enable=true&reason=r", ""},                                           //
	{"maintenance?enable=true", ""},                                                              //
	{"service/register?replace-existing-checks", `{"Name":"b","Check":{"TTL":"1h"}}`},            //
	{"service/register?replace-existing-checks&token=t3", `{"Name":"a","Check":{"TTL":"1h"}}`},   //
	{"service/register", `{"ID":"c","Name":"cc","Checks":[{"CheckID":"service:a","TTL":"9h"}]}`}, // takes it from a
	{"check/pass/lone", ""},
	{"maintenance?enable=false", ""},
	{"service/deregister/a", ""},
	{"check/deregister/lone", ""},
	{"service/deregister/c", ""},
}

// TestRestartBringsBackWhatWasRegistered restarts the agent after each request.
func TestRestartBringsBackWhatWasRegistered(t *testing.T) {
	l := newLab(t)
	fs, dir := disk.NewForgetful(), "/data"
	a := l.must(fs, dir, defaults())
	for _, r := range lifeOfRequests {
		a.put(r.path, r.body)
		want := a.picture()
		a.settle()
		l.agree(a)
		a.stop()
		fs = fs.PowerCut()
		a = l.must(fs, dir, defaults())
		if got := a.picture(); got != want {
			t.Fatalf("after %s %s\nwas:\n%s\nis:\n%s", r.path, r.body, want, got)
		}
	}
}

// TestPowerCutAtEveryStep cuts the power at each step on the disk: what was acknowledged is there after it, and what was
// refused or under way is there as before or as asked.
func TestPowerCutAtEveryStep(t *testing.T) {
	if lost := powerCuts(t, nil); lost != "" {
		t.Fatal(lost)
	}
}

// TestPowerCutsAreNoticed leaves each kind of sync out: the test above must then find something lost.
func TestPowerCutsAreNoticed(t *testing.T) {
	for _, kind := range []string{"sync", "syncdir"} {
		if lost := powerCuts(t, func(op disk.Op) bool { return op.Kind == kind }); lost == "" {
			t.Errorf("without %s nothing was lost", kind)
		}
	}
}

func powerCuts(t *testing.T, lie func(disk.Op) bool) (lost string) {
	l := newLab(t)
	// The pictures between the requests, and the steps on the disk.
	pictures := []string{""}
	fs, dir := disk.NewForgetful(), "/data"
	a := l.must(fs, dir, defaults())
	begin := fs.Steps()
	for _, r := range lifeOfRequests {
		a.put(r.path, r.body)
		pictures = append(pictures, a.picture())
	}
	steps := fs.Steps() - begin
	a.stop()
	for _, torn := range []bool{false, true} {
		for n := 0; n <= steps && lost == ""; n++ {
			fs := disk.NewForgetful()
			a := l.must(fs, dir, defaults())
			fs.Lie(lie)
			fs.CutAfter(n)
			done := 0
			for _, r := range lifeOfRequests {
				if status, _ := a.do("PUT", r.path, r.body); status != 200 {
					break
				}
				done++
			}
			a.stop()
			if torn {
				fs = fs.PowerCutTorn(rand.New(rand.NewPCG(7, uint64(n))).IntN)
			} else {
				fs = fs.PowerCut()
			}
			b, err := l.open(fs, dir, defaults())
			if err != nil {
				lost = fmt.Sprintf("after a cut at step %d: %v", n, err)
				continue
			}
			got := b.picture()
			b.stop()
			if got != pictures[done] && (done == len(lifeOfRequests) || !within(got, pictures[done], pictures[done+1])) {
				lost = fmt.Sprintf("after a cut at step %d (torn %v), %d requests done, the next %s\nwas:\n%s\nis:\n%s", n, torn, done,
					lifeOfRequests[done].path, pictures[done], got)
			}
		}
	}
	return lost
}

// within reports whether each line of got stands before or after the request that was under way, and each that stands
// in both is there.
func within(got, before, after string) bool {
	has := func(text, line string) bool { return strings.Contains(text, line+"\n") }
	for _, line := range strings.Split(strings.TrimSuffix(got, "\n"), "\n") {
		if line != "" && !has(before, line) && !has(after, line) {
			return false
		}
	}
	for _, line := range strings.Split(strings.TrimSuffix(before, "\n"), "\n") {
		if line != "" && has(after, line) && !has(got, line) {
			return false
		}
	}
	return true
}

// TestARefusedRegistrationLeavesNothing fails the writing of the file: here and after a restart all is as before.
func TestARefusedRegistrationLeavesNothing(t *testing.T) {
	for _, before := range []string{"", `{"Name":"w","Port":1,"Check":{"TTL":"1h","Status":"passing"}}`} {
		for _, path := range []string{"service/register", "check/register"} {
			l := newLab(t)
			dir := t.TempDir()
			a := l.must(osDisk, dir, defaults())
			if before != "" {
				a.put("service/register", before)
				a.put("check/register", `{"Name":"c","TTL":"1h","Notes":"before"}`)
			}
			want, folder := a.picture(), filepath.Join(dir, servicesDir)
			if path == "check/register" {
				folder = filepath.Join(dir, checksDir)
			}
			if err := os.Rename(folder, folder+".away"); err != nil {
				t.Fatal(err)
			}
			if status, _ := a.do("PUT", path, bodyFor(path)); status != 500 {
				t.Errorf("%s with a broken disk: %d", path, status)
			}
			if got := a.picture(); got != want {
				t.Errorf("after a refused %s\nwas:\n%s\nis:\n%s", path, want, got)
			}
			if err := os.Rename(folder+".away", folder); err != nil {
				t.Fatal(err)
			}
			a.stop()
			a = l.must(osDisk, dir, defaults())
			if got := a.picture(); got != want {
				t.Errorf("after a refused %s and a restart\nwas:\n%s\nis:\n%s", path, want, got)
			}
		}
	}
}

func bodyFor(path string) string {
	if path == "check/register" {
		return `{"Name":"c","TTL":"1h","Notes":"after"}`
	}
	return `{"Name":"w","Port":2,"Check":{"TTL":"2h"}}`
}

func TestTTLStateSurvivesARestart(t *testing.T) {
	l := newLab(t)
	dir := t.TempDir()
	a := l.must(osDisk, dir, defaults())
	states := func() int { return countFiles(t, filepath.Join(dir, statesDir)) }
	a.put("service/register", `{"Name":"w","Checks":[{"CheckID":"fine","TTL":"1h"},{"CheckID":"late","TTL":"5ms"},{"CheckID":"never","TTL":"1h"}]}`)
	a.put("check/register", `{"Name":"http","HTTP":"http://127.0.0.1:1/","Interval":"1h","Status":"passing"}`)
	a.put("check/warn/fine?note=so+so", "")
	a.put("check/pass/late", "")
	a.k.saveStates()
	if states() != 2 {
		t.Errorf("%d states", states())
	}
	waitFor(t, func() bool { return a.checks()["late"].Status == "critical" })
	a.stop()
	a = l.must(osDisk, dir, defaults())
	got := a.checks()
	if c := got["fine"]; c.Status != "warning" || c.Output != "so so" {
		t.Errorf("fine: %s", show(c))
	}
	for _, id := range []string{"late", "never"} {
		if c := got[id]; c.Status != "critical" {
			t.Errorf("%s: %s", id, show(c))
		}
	}
	if c := got["http"]; c.Status != "critical" { // what its definition says was for the first time
		t.Errorf("http: %s", show(c))
	}
	a.k.mu.Lock()
	left := time.Until(a.k.checks["fine"].expires)
	a.k.mu.Unlock()
	if left > time.Hour || left < time.Hour-time.Minute {
		t.Errorf("%s are left of an hour", left)
	}
	a.put("service/deregister/w", "")
	if states() != 0 {
		t.Errorf("%d states are left of a deregistered service", states())
	}
	if err := os.WriteFile(filepath.Join(dir, statesDir, "junk.tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a.stop()
	l.must(osDisk, dir, defaults())
	if states() != 0 {
		t.Errorf("%d former states are left", states())
	}
}

// A state is written over the one before; one that is not whole does not count.
func TestTTLStateIsWhole(t *testing.T) {
	f, err := newFiles(osDisk, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := f.path(statesDir, "c")
	for _, output := range []string{strings.Repeat("long ", 900), "short", ""} {
		want := savedState{"c", output, "passing", 123}
		if err := f.saveState(want); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := readState(b); !ok || got != want {
			t.Errorf("%.20q: %v %v", output, got, ok)
		}
		end := bytes.IndexByte(b, '\n')
		for i := range end {
			torn := bytes.Clone(b)
			torn[i] ^= 1
			if _, ok := readState(torn); ok {
				t.Fatalf("a state with a wrong byte at %d counts", i)
			}
			if _, ok := readState(b[:i]); ok {
				t.Fatalf("a state of %d bytes of %d counts", i, end)
			}
		}
	}
}

func FuzzReadState(f *testing.F) {
	f.Add([]byte("00000000 {}\n"))
	f.Add([]byte("e3 \n"))
	f.Fuzz(func(_ *testing.T, b []byte) { readState(b) })
}

func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

func TestADamagedFileStopsTheStart(t *testing.T) {
	l := newLab(t)
	dir := t.TempDir()
	a := l.must(osDisk, dir, defaults())
	a.put("service/register", `{"Name":"w"}`)
	a.stop()
	path := a.k.files.path(servicesDir, "w")
	if err := os.WriteFile(path+disk.TempSuffix, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	a = l.must(osDisk, dir, defaults())
	a.stop()
	if got := dirNames(t, dir); got != "checks/0 services/1" {
		t.Errorf("an unfinished file stays: %s", got)
	}
	for _, text := range []string{"", "{", `{"Service":null}`, `{"Service":{"Nme":"x"}}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := l.open(osDisk, dir, defaults()); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move the file away") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestScriptsNotAllowedAnyMoreAreKept: a registration that may not run now comes back when it may.
func TestScriptsNotAllowedAnyMoreAreKept(t *testing.T) {
	l := newLab(t)
	dir, yes := t.TempDir(), true
	allowed := defaults()
	allowed.EnableScripts = &yes
	a := l.must(osDisk, dir, allowed)
	a.put("service/register", `{"Name":"w","Check":{"Args":["true"],"Interval":"1h"}}`)
	a.put("check/register", `{"Name":"c","Args":["true"],"Interval":"1h"}`)
	want := a.picture()
	a.stop()
	a = l.must(osDisk, dir, defaults())
	if got := a.picture(); got != "" {
		t.Errorf("not allowed, but there:\n%s", got)
	}
	a.stop()
	if a = l.must(osDisk, dir, allowed); a.picture() != want {
		t.Errorf("allowed again:\n%s", a.picture())
	}
}

// stuck is a disk on which folders cannot be synced while fail is set: a file may then be there or not.
type stuck struct {
	disk.FS
	fail bool
}

func (s *stuck) SyncDir(dir string) error {
	if s.fail {
		return os.ErrInvalid
	}
	return s.FS.SyncDir(dir)
}

// TestARegistrationThatIsHalfOnTheDiskIsUndone: its file has its name already when writing it fails.
func TestARegistrationThatIsHalfOnTheDiskIsUndone(t *testing.T) {
	l := newLab(t)
	fs := &stuck{FS: disk.NewForgetful()}
	a := l.must(fs, "/d", defaults())
	a.put("service/register", bodyFor("service/register"))
	a.put("check/register", bodyFor("check/register"))
	want := a.picture()
	fs.fail = true
	for _, r := range []struct{ path, body string }{
		{"service/register", `{"Name":"w","Port":9}`}, {"service/register", `{"Name":"new"}`},
		{"check/register", `{"Name":"c","TTL":"9h"}`}, {"check/register", `{"Name":"new","TTL":"9h"}`},
	} {
		if status, _ := a.do("PUT", r.path, r.body); status != 500 {
			t.Errorf("%s %s: %d", r.path, r.body, status)
		}
	}
	a.stop()
	fs.fail = false
	if a = l.must(fs, "/d", defaults()); a.picture() != want {
		t.Errorf("after refused registrations and a restart\nwas:\n%s\nis:\n%s", want, a.picture())
	}
}
