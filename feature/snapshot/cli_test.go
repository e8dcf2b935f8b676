package snapshot

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rostra/kit/cli/clitest"
)

// cliFile is a file of a test archive.
type cliFile struct{ name, text string }

// cliArchive packs files the way a server does; the last of them is SHA256SUMS as it should be if sums is true.
func cliArchive(t testing.TB, sums bool, files ...cliFile) []byte {
	t.Helper()
	if sums {
		lines := ""
		for _, f := range files {
			lines += fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(f.text)), f.name)
		}
		files = append(files, cliFile{"SHA256SUMS", lines})
	}
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	for _, f := range files {
		if err := tw.WriteHeader(&tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var (
	cliMeta  = cliFile{"meta.json", `{"Version":1,"ID":"2-60-1","Index":61,"Term":2,"Size":5}`}
	cliState = cliFile{"state.bin", "state"}
)

// verified reads an archive and none of its state.
func verified(r io.Reader) (uint64, error) {
	meta, err := readArchive(r, func(io.Reader) error { return nil })
	return meta.Index, err
}

func TestReadArchive(t *testing.T) {
	good := cliArchive(t, true, cliMeta, cliState)
	if index, err := verified(bytes.NewReader(good)); err != nil || index != 61 {
		t.Errorf("a good archive: %d, %v", index, err)
	}
	if index, err := verified(bytes.NewReader(cliArchive(t, true, cliState, cliMeta))); err != nil || index != 61 {
		t.Errorf("files in another order: %d, %v", index, err)
	}
	sum := func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
	twice := sum(cliMeta.text) + "  meta.json\n"
	for name, test := range map[string]struct {
		archive []byte
		want    string
	}{
		"empty":           {nil, "cannot decompress it: EOF"},
		"no gzip":         {[]byte("hello, not an archive"), "cannot decompress it: gzip: invalid header"},
		"no tar":          {good[:20], "cannot read it: unexpected EOF"},
		"truncated":       {good[:len(good)-4], "cannot decompress it: unexpected EOF"},
		"wrong gzip sum":  {append(bytes.Clone(good[:len(good)-8]), 0, 0, 0, 0, 0, 0, 0, 0), "cannot decompress it: gzip: invalid checksum"},
		"trailing":        {append(bytes.Clone(good), "x"...), "cannot decompress it: unexpected EOF"},
		"nothing in it":   {cliArchive(t, false), `file "meta.json" is missing`},
		"no state":        {cliArchive(t, true, cliMeta), `file "state.bin" is missing`},
		"no sums":         {cliArchive(t, false, cliMeta, cliState), `no hash for "meta.json"`},
		"strange file":    {cliArchive(t, true, cliMeta, cliState, cliFile{"x", ""}), `unexpected file "x"`},
		"file twice":      {cliArchive(t, true, cliMeta, cliState, cliState), `file "state.bin" is there twice`},
		"half the sums":   {cliArchive(t, false, cliMeta, cliState, cliFile{"SHA256SUMS", twice}), `no hash for "state.bin"`},
		"sum twice":       {cliArchive(t, false, cliMeta, cliState, cliFile{"SHA256SUMS", twice + twice}), `SHA256SUMS names "meta.json" twice`},
		"strange sum":     {cliArchive(t, false, cliMeta, cliState, cliFile{"SHA256SUMS", "aa meta.json\n"}), `unexpected line in SHA256SUMS: "aa meta.json"`},
		"changed state":   {cliArchive(t, false, cliMeta, cliFile{"state.bin", "stat3"}, cliFile{"SHA256SUMS", twice + sum("state") + "  state.bin\n"}), `hash check failed for "state.bin"`},
		"meta is no JSON": {cliArchive(t, true, cliFile{"meta.json", "x"}, cliState), "cannot read meta.json: invalid character 'x' looking for beginning of value"},
		"huge meta":       {cliArchive(t, true, cliFile{"meta.json", strings.Repeat(" ", smallFile+1)}, cliState), "cannot read meta.json: it is longer than 1048576 bytes"},
	} {
		if _, err := verified(bytes.NewReader(test.archive)); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

// FuzzReadArchive checks that only what is whole passes: a changed archive that still passes must hold the same
// files, or be one that another packer could have made.
func FuzzReadArchive(f *testing.F) {
	good := cliArchive(f, true, cliMeta, cliState)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(cliArchive(f, false, cliMeta, cliState))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := verified(bytes.NewReader(b)); err == nil && len(b) > 0 {
			if _, err := verified(bytes.NewReader(b[:len(b)-1])); err == nil {
				t.Error("an archive without its last byte passes")
			}
		}
	})
}

func TestCLISave(t *testing.T) {
	good := string(cliArchive(t, true, cliMeta, cliState))
	self := `{"Config":{"Version":"1.21.4","Datacenter":"dc1"}}`
	for _, test := range []struct {
		flags, file  string
		reply        string
		code         int
		out, errs    string // $DIR stands for the directory
		left         string // the files left behind
		askedAtLast  string
		oldUntouched bool
	}{
		{"", "b.snap", good, 0, "Saved and verified snapshot to index 60\n", "", "b.snap", "GET /v1/snapshot", false},
		{"-stale -datacenter=dc2", "b.snap", good, 0, "Saved and verified snapshot to index 60\n", "", "b.snap",
			"GET /v1/snapshot?dc=dc2&stale=", false},
		{"-append-filename=version,dc", "b.snap", good, 0, "Saved and verified snapshot to index 60\n", "",
			"b-1.21.4-dc1.snap b.snap", "GET /v1/snapshot", true},
		{"-append-filename=dc", "b.snap", good, 0, "Saved and verified snapshot to index 60\n", "",
			"b-dc1.snap b.snap", "GET /v1/snapshot", true},
		{"-append-filename=node", "b.snap", good, 1, "",
			"Error naming the snapshot: unknown word \"node\" in -append-filename: want version or dc\n", "b.snap", "GET /v1/agent/self", true},
		{"", "b.snap", good[:30], 1, "",
			"Error saving snapshot: cannot verify $DIR/b.snap.unverified: cannot read it: unexpected EOF\n",
			"b.snap b.snap.unverified", "GET /v1/snapshot", true},
		{"", "b.snap", "500 No cluster leader", 1, "",
			"Error saving snapshot: Unexpected response code: 500 (No cluster leader)\n", "b.snap", "GET /v1/snapshot", true},
		{"", "none/b.snap", good, 1, "",
			"Error saving snapshot: open $DIR/none/b.snap.unverified: no such file or directory\n", "b.snap", "GET /v1/snapshot", true},
	} {
		t.Run(test.flags+" "+test.file, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "b.snap"), []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			agent := &clitest.Agent{Replies: map[string]string{"GET /v1/snapshot": test.reply, "GET /v1/agent/self": self}}
			args := append([]string{"snapshot", "save"}, strings.Fields(test.flags)...)
			got := clitest.Run(t, Verbs(), agent, "", append(args, filepath.Join(dir, test.file))...)
			want := clitest.Result{Out: test.out, Err: strings.ReplaceAll(test.errs, "$DIR", dir), Code: test.code}
			if got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			asked := agent.Requests()
			if len(asked) == 0 || asked[len(asked)-1] != test.askedAtLast {
				t.Errorf("asked %q, want %q at last", asked, test.askedAtLast)
			}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			var left []string
			for _, e := range entries {
				left = append(left, e.Name())
				b, err := os.ReadFile(filepath.Join(dir, e.Name()))
				if err != nil {
					t.Fatal(err)
				}
				if old := e.Name() == "b.snap" && test.oldUntouched; old {
					if string(b) != "old" {
						t.Errorf("%s was overwritten", e.Name())
					}
					continue
				}
				if string(b) != test.reply {
					t.Errorf("%s is not what the agent sent", e.Name())
				}
				if info, err := e.Info(); err != nil || info.Mode().Perm() != fs.FileMode(0o600) {
					t.Errorf("%s has mode %v", e.Name(), info.Mode())
				}
			}
			if strings.Join(left, " ") != test.left {
				t.Errorf("left %q, want %q", left, test.left)
			}
		})
	}
}

func TestCLIRest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "b.snap")
	if err := os.WriteFile(file, []byte("an archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args, reply string
		code        int
		out, errs   string
		asked       string
	}{
		{"snapshot restore " + file, "", 0, "Restored snapshot\n", "", "PUT /v1/snapshot\nan archive"},
		{"snapshot restore " + file, "500 failed to decompress snapshot: EOF", 1, "",
			"Error restoring snapshot: Unexpected response code: 500 (failed to decompress snapshot: EOF)\n", "PUT /v1/snapshot\nan archive"},
		{"snapshot restore /none", "", 1, "", "Error opening snapshot file: open /none: no such file or directory\n", ""},
		{"snapshot restore", "", 1, "", "Missing FILE argument\n", ""},
		{"snapshot restore a b", "", 1, "", "Too many arguments (expected 1, got 2)\n", ""},
		{"snapshot save", "", 1, "", "Missing FILE argument\n", ""},
		{"snapshot save a -stale", "", 1, "", "Too many arguments (expected 1, got 2)\nFlags must come before the arguments: -stale\n", ""},
	} {
		agent := &clitest.Agent{Replies: map[string]string{"PUT /v1/snapshot": test.reply}}
		got := clitest.Run(t, Verbs(), agent, "", strings.Fields(test.args)...)
		if want := (clitest.Result{Out: test.out, Err: test.errs, Code: test.code}); got != want {
			t.Errorf("%s: got %+v\nwant %+v", test.args, got, want)
		}
		if asked := strings.Join(agent.Requests(), " | "); asked != test.asked {
			t.Errorf("%s: asked %q, want %q", test.args, asked, test.asked)
		}
	}
	for _, v := range Verbs() {
		got := clitest.Run(t, Verbs(), nil, "", append(strings.Fields(v.Path), "-h")...)
		if got.Code != 0 || !strings.HasPrefix(got.Out, "Usage: consul "+v.Path+" ") || strings.Contains(got.Out, "{name}") {
			t.Errorf("%s -h: %+v", v.Path, got)
		}
	}
	for _, args := range []string{"snapshot save " + file + "2", "snapshot restore " + file} {
		if got := clitest.Run(t, Verbs(), nil, "", strings.Fields(args)...); got.Code != 1 || !strings.Contains(got.Err, "connection refused") {
			t.Errorf("%s without agent: %+v", args, got)
		}
	}
}
