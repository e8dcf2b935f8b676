package spell

import "testing"

func TestNearest(t *testing.T) {
	words := []string{"name", "tags", "port", "node_ttl"}
	for _, test := range []struct {
		word  string
		limit int
		want  string
	}{
		{"name", 0, "name"}, {"nmae", 1, "name"}, {"prot", 1, "port"}, {"tag", 1, "tags"}, {"node-ttl", 1, "node_ttl"},
		{"nodettl", 1, "node_ttl"}, {"xame", 1, "name"}, {"xamx", 1, ""}, {"", 3, ""}, {"", 4, "name"},
	} {
		if got := Nearest(test.word, words, test.limit); got != test.want {
			t.Errorf("%q within %d: %q, want %q", test.word, test.limit, got, test.want)
		}
	}
}
