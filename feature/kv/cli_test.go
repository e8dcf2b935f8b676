package kv

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rostra/kit/cli/clitest"
)

const (
	cliEntry  = `{"LockIndex":0,"Key":"a/b","Flags":42,"Value":"aGVsbG8=","CreateIndex":61,"ModifyIndex":61}`
	cliLocked = `{"LockIndex":2,"Key":"a/longer","Flags":0,"Value":null,"Session":"9f0f","CreateIndex":5,"ModifyIndex":70}`
)

const cliBlock = `CreateIndex      61
Flags            42
Key              a/b
LockIndex        0
ModifyIndex      61
Session          -
Value            hello
`

const cliLockedBlock = `CreateIndex      5
Flags            0
Key              a/longer
LockIndex        2
ModifyIndex      70
Session          9f0f
Value            
`

var (
	cliList   = map[string]string{"GET /v1/kv/a/": "[" + cliEntry + "," + cliLocked + "]"}
	cliOne    = map[string]string{"GET /v1/kv/a/b": "[" + cliEntry + "]"}
	cliKeys   = map[string]string{"GET /v1/kv/a": `["a/b","a/c/"]`}
	cliPut    = map[string]string{"PUT /v1/kv/k": "true"}
	cliRefuse = map[string]string{"PUT /v1/kv/k": "false"}
	cliDel    = map[string]string{"DELETE /v1/kv/k": "true", "DELETE /v1/kv/": "true"}
)

// cliCases are command lines, in which $FILE is a file holding "x\n", what the agent replies, and what follows.
var cliCases = []struct {
	args      string
	replies   map[string]string
	code      int
	out, errs string
	asked     string // the requests, joined by " | "
}{
	{"kv get a/b", cliOne, 0, "hello\n", "", "GET /v1/kv/a/b"},
	{"kv get /a/b", cliOne, 0, "hello\n", "", "GET /v1/kv/a/b"},
	{"kv get -base64 a/b", cliOne, 0, "aGVsbG8=\n", "", "GET /v1/kv/a/b"},
	{"kv get -detailed -stale -datacenter=dc2 a/b", cliOne, 0, cliBlock, "", "GET /v1/kv/a/b?dc=dc2&stale="},
	{"kv get no", nil, 1, "", "Error! No key exists at: no\n", "GET /v1/kv/no"},
	{"kv get a/b", map[string]string{"GET /v1/kv/a/b": "403 Permission denied"}, 1, "",
		"Error querying Consul agent: Unexpected response code: 403 (Permission denied)\n", "GET /v1/kv/a/b"},
	{"kv get", nil, 1, "", "Error! Missing KEY argument\n", ""},
	{"kv get a b", nil, 1, "", "Too many arguments (expected 1, got 2)\n", ""},
	{"kv get a -detailed", nil, 1, "",
		"Too many arguments (expected 1, got 2)\nFlags must come before the arguments: -detailed\n", ""},
	{"kv get -recurse a/", cliList, 0, "a/b:hello\na/longer:\n", "", "GET /v1/kv/a/?recurse="},
	{"kv get -recurse -base64 a/", cliList, 0, "a/b:aGVsbG8=\na/longer:\n", "", "GET /v1/kv/a/?recurse="},
	{"kv get -recurse -detailed a/", cliList, 0, cliBlock + "\n" + cliLockedBlock, "", "GET /v1/kv/a/?recurse="},
	{"kv get –recurse", nil, 0, "", "", "GET /v1/kv/?recurse="},
	{"kv get -keys a", cliKeys, 0, "a/b\na/c/\n", "", "GET /v1/kv/a?keys=&separator=%2F"},
	{"kv get -keys -separator=. a", cliKeys, 0, "a/b\na/c/\n", "", "GET /v1/kv/a?keys=&separator=."},
	{"kv get -keys -recurse a", cliKeys, 0, "a/b\na/c/\n", "", "GET /v1/kv/a?keys="},
	{"kv get -keys", nil, 0, "", "", "GET /v1/kv/?keys=&separator=%2F"},

	{"kv put k v", cliPut, 0, "Success! Data written to: k\n", "", "PUT /v1/kv/k\nv"},
	{"kv put /k v", cliPut, 0, "Success! Data written to: k\n", "", "PUT /v1/kv/k\nv"},
	{"kv put k", cliPut, 0, "Success! Data written to: k\n", "", "PUT /v1/kv/k"},
	{"kv put k -", cliPut, 0, "Success! Data written to: k\n", "", "PUT /v1/kv/k\nfrom stdin"},
	{"kv put k @$FILE", cliPut, 0, "Success! Data written to: k\n", "", "PUT /v1/kv/k\nx"},
	{"kv put k -abc", cliPut, 0, "Success! Data written to: k\n", "", "PUT /v1/kv/k\n-abc"},
	{"kv put k –x", cliPut, 0, "Success! Data written to: k\n", "", "PUT /v1/kv/k\n–x"},
	{"kv put –flags=42 k v", cliPut, 0, "Success! Data written to: k\n", "", "PUT /v1/kv/k?flags=42\nv"},
	{"kv put -base64 k aGk=", cliPut, 0, "Success! Data written to: k\n", "", "PUT /v1/kv/k\nhi"},
	{"kv put -base64 k !", cliPut, 1, "", "Error! Cannot base64 decode data: illegal base64 data at input byte 0\n", ""},
	{"kv put", nil, 1, "", "Error! Missing KEY argument\n", ""},
	{"kv put / v", nil, 1, "", "Error! Missing KEY argument\n", ""},
	{"kv put a b c", nil, 1, "", "Too many arguments (expected 2, got 3)\n", ""},
	{"kv put k @/none", nil, 1, "", "Error! cannot read data: open /none: no such file or directory\n", ""},
	{"kv put -cas k v", cliPut, 0, "Success! Data written to: k\n", "", "PUT /v1/kv/k?cas=0\nv"},
	{"kv put -cas k v", cliRefuse, 1, "",
		"Error! Did not write to k: CAS performed with index=0 and key already exists.\n", "PUT /v1/kv/k?cas=0\nv"},
	{"kv put -cas -modify-index=7 k v", cliRefuse, 1, "", "Error! Did not write to k: CAS failed\n", "PUT /v1/kv/k?cas=7\nv"},
	{"kv put -acquire -session=s k v", cliPut, 0, "Success! Lock acquired on: k\n", "", "PUT /v1/kv/k?acquire=s\nv"},
	{"kv put -acquire -session=s k v", cliRefuse, 1, "", "Error! Did not acquire lock\n", "PUT /v1/kv/k?acquire=s\nv"},
	{"kv put -release -session=s k v", cliPut, 0, "Success! Lock released on: k\n", "", "PUT /v1/kv/k?release=s\nv"},
	{"kv put -release -session=s k v", cliRefuse, 1, "", "Error! Did not release lock\n", "PUT /v1/kv/k?release=s\nv"},
	{"kv put -acquire k v", nil, 1, "", "Error! Missing -session (required for -acquire)\n", ""},
	{"kv put -release k v", nil, 1, "", "Error! Missing -session (required for -release)\n", ""},
	{"kv put -cas -release -session=s k v", nil, 1, "", "Error! Cannot use -cas, -acquire and -release together\n", ""},
	{"kv put k v", map[string]string{"PUT /v1/kv/k": "500 No cluster leader"}, 1, "",
		"Error! Failed writing data: Unexpected response code: 500 (No cluster leader)\n", "PUT /v1/kv/k\nv"},

	{"kv delete k", cliDel, 0, "Success! Deleted key: k\n", "", "DELETE /v1/kv/k"},
	{"kv delete -recurse k", cliDel, 0, "Success! Deleted keys with prefix: k\n", "", "DELETE /v1/kv/k?recurse="},
	{"kv delete -recurse", cliDel, 0, "Success! Deleted keys with prefix: \n", "", "DELETE /v1/kv/?recurse="},
	{"kv delete -cas -modify-index=9 k", cliDel, 0, "Success! Deleted key: k\n", "", "DELETE /v1/kv/k?cas=9"},
	{"kv delete -cas -modify-index=9 k", map[string]string{"DELETE /v1/kv/k": "false"}, 1, "",
		"Error! Did not delete key k: CAS failed\n", "DELETE /v1/kv/k?cas=9"},
	{"kv delete -cas k", nil, 1, "", "Error! -cas needs a -modify-index above 0\n", ""},
	{"kv delete -modify-index=9 k", nil, 1, "", "Error! -modify-index is of use with -cas only\n", ""},
	{"kv delete -cas -modify-index=1 -recurse k", nil, 1, "", "Error! Cannot use -cas and -recurse together\n", ""},
	{"kv delete", nil, 1, "", "Error! Missing KEY argument\n", ""},
	{"kv delete a b", nil, 1, "", "Too many arguments (expected 1, got 2)\n", ""},

	{"kv export a/", cliList, 0, "[\n\t{\n\t\t\"key\": \"a/b\",\n\t\t\"flags\": 42,\n\t\t\"value\": \"aGVsbG8=\"\n\t},\n" +
		"\t{\n\t\t\"key\": \"a/longer\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"\"\n\t}\n]\n", "", "GET /v1/kv/a/?recurse="},
	{"kv export", nil, 0, "[]\n", "", "GET /v1/kv/?recurse="},
	{"kv export a b", nil, 1, "", "Too many arguments (expected 1, got 2)\n", ""},

	{`kv import [{"key":"k","flags":3,"value":"aGk="}]`, cliPut, 0, "Imported: k\n", "", "PUT /v1/kv/k?flags=3\nhi"},
	{`kv import -prefix=p/ [{"key":"/d/","value":""},{"key":"e","value":""}]`,
		map[string]string{"PUT /v1/kv/p/d/": "true"}, 1, "Imported: p/d/\n",
		"Error! Failed writing data for key p/e: Unexpected response code: 404 ()\n", "PUT /v1/kv/p/d/ | PUT /v1/kv/p/e"},
	{`kv import [{"key":"k","value":"!"}]`, cliPut, 1, "",
		"Error base64 decoding value for key k: illegal base64 data at input byte 0\n", ""},
	{"kv import -", nil, 1, "", "Cannot unmarshal data: invalid character 'r' in literal false (expecting 'a')\n", ""},
	{"kv import", nil, 1, "", "Error! Missing DATA argument\n", ""},
	{"kv import a b", nil, 1, "", "Too many arguments (expected 1, got 2)\n", ""},
}

func TestCLI(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range cliCases {
		t.Run(test.args, func(t *testing.T) {
			agent := &clitest.Agent{Replies: test.replies}
			got := clitest.Run(t, Verbs(), agent, "from stdin\n", strings.Fields(strings.ReplaceAll(test.args, "$FILE", file))...)
			if want := (clitest.Result{Out: test.out, Err: test.errs, Code: test.code}); got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			if asked := strings.Join(agent.Requests(), " | "); asked != test.asked {
				t.Errorf("asked %q, want %q", asked, test.asked)
			}
		})
	}
}

func TestCLIWithoutAgent(t *testing.T) {
	for _, args := range []string{"kv get k", "kv get -recurse k", "kv get -keys k", "kv put k v", "kv delete k", "kv export", `kv import [{"key":"k"}]`} {
		got := clitest.Run(t, Verbs(), nil, "", strings.Fields(args)...)
		if got.Code != 1 || got.Out != "" || !strings.Contains(got.Err, "connection refused") {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

func TestCLIHelp(t *testing.T) {
	for _, v := range Verbs() {
		got := clitest.Run(t, Verbs(), nil, "", append(strings.Fields(v.Path), "-h")...)
		if got.Code != 0 || !strings.HasPrefix(got.Out, "Usage: consul "+v.Path+" ") || strings.Contains(got.Out, "{name}") {
			t.Errorf("%s -h: %+v", v.Path, got)
		}
	}
	if got := clitest.Run(t, Verbs(), nil, "", "kv", "get", "-no"); got.Code != 1 ||
		!strings.HasPrefix(got.Err, "flag provided but not defined: -no\n") || !strings.Contains(got.Err, "Usage: consul kv get") {
		t.Errorf("unknown flag: %+v", got)
	}
}

func TestImportKey(t *testing.T) {
	for in, want := range map[[2]string]string{
		{"", "a"}: "a", {"", "a/"}: "a/", {"p", "a"}: "p/a", {"p/", "a/b/"}: "p/a/b/", {"/p", "a"}: "p/a", {"", "a//b"}: "a/b",
	} {
		if got := importKey(in[0], in[1]); got != want {
			t.Errorf("importKey(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzCLIImport checks that no input of kv import makes it panic or write a key that a slash begins.
func FuzzCLIImport(f *testing.F) {
	f.Add(`[{"key":"k","flags":3,"value":"aGk="}]`)
	f.Add(`[{"key":"/../x/","value":null}]`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.HasPrefix(text, "-") || strings.HasPrefix(text, "@") {
			return
		}
		agent := &clitest.Agent{}
		clitest.Run(t, Verbs(), agent, "", "kv", "import", text)
		if slices.ContainsFunc(agent.Requests(), func(r string) bool { return strings.HasPrefix(r, "PUT /v1/kv//") }) {
			t.Errorf("asked %q", agent.Requests())
		}
	})
}
