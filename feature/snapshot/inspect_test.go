package snapshot

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rostra/feature/catalog"
	"rostra/feature/kv"
	"rostra/kit/cli/clitest"
	"rostra/kit/store"
)

// cliImage is a state of one node and some keys.
func cliImage(t testing.TB) string {
	t.Helper()
	s := store.New([]store.AnyTable{catalog.Nodes, kv.Entries}, nil, store.Limits{})
	b := s.Begin(1)
	err := b.Run(func(tx *store.Tx) error {
		catalog.Nodes.Put(tx, &catalog.Node{Node: "n1", Address: "10.0.0.1"})
		for _, key := range []string{"a/b/c", "a/b/d", "a/c", "top"} {
			kv.Entries.Put(tx, &kv.Entry{Key: key, Value: []byte("hello")})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Commit()
	var image bytes.Buffer
	view := s.View()
	defer view.Release()
	if _, err := view.WriteTo(&image); err != nil {
		t.Fatal(err)
	}
	return image.String()
}

// TestCLIInspect holds inspect and decode to spec cli.md, snapshot.
func TestCLIInspect(t *testing.T) {
	dir := t.TempDir()
	image := cliImage(t)
	meta := `{"Version":1,"ID":"2-60-1795401818632","Index":60,"Term":2,"Size":` + strconv.Itoa(len(image)) + `}`
	archive := cliArchive(t, true, cliFile{"meta.json", meta}, cliFile{"state.bin", image})
	damaged := cliArchive(t, true, cliMeta, cliFile{"state.bin", image[:len(image)-9]})
	for name, b := range map[string]string{"b.snap": string(archive), "bad.snap": string(damaged), "cut.snap": string(archive[:len(archive)-4]),
		"state.bin": image, "meta.json": `{"Index":60,"Term":2,"Configuration":{},"Size":7}` + "\n9f56aed1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args string) clitest.Result {
		return clitest.Run(t, Verbs(), nil, "", strings.Fields("snapshot "+strings.ReplaceAll(args, "$DIR", dir))...)
	}
	head := " ID           2-60-1795401818632\n Size         " + strconv.Itoa(len(image)) + "\n Index        60\n Term         2\n Version      1\n\n"
	types := " Type          Count      Size\n ----          ----       ----\n KVS           4          304B\n Register      1          91B\n" +
		" ----          ----       ----\n Total                    395B\n"
	for args, want := range map[string]string{
		"inspect $DIR/b.snap": head + types,
		"inspect -kvdetails -kvfilter=a $DIR/b.snap": head + types + "\n Key Name      Count      Size\n ----          ----       ----\n" +
			" a/b           2          154B\n a/c           1          75B\n ----          ----       ----\n Total                    229B\n",
		"inspect -kvdetails -kvdepth=1 -kvfilter=none $DIR/b.snap": head + types +
			"\n Key Name      Count      Size\n ----          ----       ----\n ----          ----       ----\n Total                    0B\n",
		"inspect $DIR/state.bin": strings.Replace(strings.Replace(head, "2-60-1795401818632", filepath.Base(dir), 1), strconv.Itoa(len(image)), "7", 1) + types,
		"inspect -kvdetails -format=json $DIR/b.snap": `{
   "Meta": {
      "ID": "2-60-1795401818632",
      "Size": ` + strconv.Itoa(len(image)) + `,
      "Index": 60,
      "Term": 2,
      "Version": 1
   },
   "Stats": [
      {
         "Name": "KVS",
         "Sum": 304,
         "Count": 4
      },
      {
         "Name": "Register",
         "Sum": 91,
         "Count": 1
      }
   ],
   "StatsKV": [
      {
         "Name": "a/b",
         "Sum": 154,
         "Count": 2
      },
      {
         "Name": "a/c",
         "Sum": 75,
         "Count": 1
      },
      {
         "Name": "top",
         "Sum": 75,
         "Count": 1
      }
   ],
   "TotalSize": 395,
   "TotalSizeKV": 304
}
`,
		"decode $DIR/b.snap": `{"Type":"SnapshotHeader","Data":{"LastIndex":1,"Lineage":"","Restored":0,"Time":1}}
{"Type":"Register","Data":{"ID":"","Node":"n1","Address":"10.0.0.1","Datacenter":"","TaggedAddresses":null,"Meta":null,"CreateIndex":0,"ModifyIndex":0}}
{"Type":"KVS","Data":{"Key":"a/b/c","Value":"aGVsbG8=","Flags":0,"Session":"","LockIndex":0,"CreateIndex":0,"ModifyIndex":0}}
{"Type":"KVS","Data":{"Key":"a/b/d","Value":"aGVsbG8=","Flags":0,"Session":"","LockIndex":0,"CreateIndex":0,"ModifyIndex":0}}
{"Type":"KVS","Data":{"Key":"a/c","Value":"aGVsbG8=","Flags":0,"Session":"","LockIndex":0,"CreateIndex":0,"ModifyIndex":0}}
{"Type":"KVS","Data":{"Key":"top","Value":"aGVsbG8=","Flags":0,"Session":"","LockIndex":0,"CreateIndex":0,"ModifyIndex":0}}
`,
	} {
		if got := run(args); got.Code != 0 || got.Err != "" || got.Out != want {
			t.Errorf("%s: %+v\nwant %s", args, got, want)
		}
	}
	for args, want := range map[string]string{
		"inspect":                          "Missing FILE argument\n",
		"inspect a b":                      "Too many arguments (expected 1, got 2)\n",
		"inspect -format=xml a":            "Invalid format: xml; use pretty or json\n",
		"inspect -kvdepth=0 a":             "-kvdepth must be above 0, not 0\n",
		"inspect /none":                    "Error reading snapshot: open /none: no such file or directory\n",
		"inspect $DIR/bad.snap":            "Error reading snapshot: cannot read state.bin: cannot read the snapshot: it ends early: ",
		"inspect $DIR/cut.snap":            "Error reading snapshot: cannot decompress it: unexpected EOF\n",
		"inspect $DIR/meta.json":           "Error reading snapshot: cannot decompress it: gzip: invalid header\n",
		"decode":                           "Missing FILE argument\n",
		"decode a b":                       "Too many arguments (expected 1, got 2)\n",
		"decode /none":                     "Error reading snapshot: open /none: no such file or directory\n",
		"decode $DIR/cut.snap":             "Error reading snapshot: cannot decompress it: unexpected EOF\n",
		"inspect -format=json $DIR/b.snop": "Error reading snapshot: open ",
	} {
		if got := run(args); got.Code != 1 || !strings.HasPrefix(got.Err, want) || strings.HasPrefix(args, "inspect") && got.Out != "" {
			t.Errorf("%s: %+v\nwant %s", args, got, want)
		}
	}
}
