package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rostra/engine/consensus"
	"rostra/kit/disk"
)

const (
	idA = "00000000-0000-4000-8000-000000000001"
	idB = "00000000-0000-4000-8000-000000000002"
)

func TestParsePeers(t *testing.T) {
	for _, c := range []struct {
		text, wrong string
		want        []consensus.Peer
	}{
		{text: `[{"id":"` + idA + `","address":"10.0.0.1:8300"}]`, want: []consensus.Peer{{ID: idA, Address: "10.0.0.1:8300", Voter: true}}},
		{text: ` [{"id":"` + strings.ToUpper(idA) + `","address":"[::1]:8300","non_voter":false},
			{"id":"` + idB + `","address":"10.0.0.2:8300","non_voter":true}] `,
			want: []consensus.Peer{{ID: idA, Address: "[::1]:8300", Voter: true}, {ID: idB, Address: "10.0.0.2:8300"}}},
		{text: `["10.0.0.1:8300"]`, wrong: "addresses alone"},
		{text: `[]`, wrong: "no server in it votes"},
		{text: `[{"id":"` + idA + `","address":"10.0.0.1:8300","non_voter":true}]`, wrong: "no server in it votes"},
		{text: `[{"id":"a","address":"10.0.0.1:8300"}]`, wrong: `server 1: id "a" is no node id`},
		{text: `[{"id":"` + idA + `","address":"host:8300"}]`, wrong: `server 1: address "host:8300" is no ip:port`},
		{text: `[{"id":"` + idA + `","address":"0.0.0.0:8300"}]`, wrong: "is no ip:port"},
		{text: `[{"id":"` + idA + `","address":"10.0.0.1:1"},{"id":"` + idA + `","address":"10.0.0.1:2"}]`, wrong: "twice"},
		{text: `[{"id":"` + idA + `","address":"10.0.0.1:1"},{"id":"` + idB + `","address":"10.0.0.1:1"}]`, wrong: "twice"},
		{text: `[{"id":"` + idA + `","adress":"10.0.0.1:8300"}]`, wrong: "adress"},
		{text: `[{"id":"` + idA + `","address":"10.0.0.1:8300"}] x`, wrong: "something follows"},
		{text: `{}`, wrong: "not a list of servers"},
		{text: ``, wrong: "not a list of servers"},
	} {
		got, err := parsePeers([]byte(c.text))
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: %v, want %q", c.text, err, c.wrong)
			}
			continue
		}
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%s: %v, %v", c.text, got, err)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %+v", c.text, got[i])
			}
		}
	}
}

func FuzzParsePeers(f *testing.F) {
	f.Add([]byte(`[{"id":"` + idA + `","address":"10.0.0.1:8300","non_voter":true}]`))
	f.Add([]byte(`["10.0.0.1:8300"]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		peers, err := parsePeers(b)
		if err == nil && len(peers) == 0 {
			t.Error("nobody, without an error")
		}
	})
}

// TestPeersHelp: what peers.info shows can be copied.
func TestPeersHelp(t *testing.T) {
	from, to := strings.Index(peersText, "["), strings.LastIndex(peersText, "]")
	if peers, err := parsePeers([]byte(peersText[from : to+1])); err != nil || len(peers) != 1 {
		t.Errorf("%v, %v", peers, err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, peersHelp)
	if err := explainPeers(disk.OS(), dir); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != peersText {
		t.Errorf("%q, %v", b, err)
	}
	if err := os.WriteFile(file, []byte("edited"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := explainPeers(disk.OS(), dir); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "edited" {
		t.Errorf("an operator's notes became %q, %v", b, err)
	}
}
