package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/httpd"
	"rostra/kit/store"
)

// nextFeatures are those of a newer program: it has one more, which keeps a word that PUT /v1/test/word/WORD sets.
var nextFeatures = append(slices.Clone(features), room.Room{
	Name: "test", Tables: []store.AnyTable{words},
	Commands: []room.CommandType{{New: func() room.Command { return new(setWord) }, Rules: 1, Since: []int{room.Level(features) + 1}}},
	Open: func(h *room.Host, _ any) (*room.Part, error) {
		set := func(r *httpd.Request) (httpd.Reply, error) {
			_, _, err := h.Door.Apply(r.Context(), &setWord{word{r.Arg}}, room.Options{})
			return httpd.Reply{Value: err == nil}, err
		}
		return &room.Part{Routes: []httpd.Route{{Method: "PUT", Path: "/v1/test/word/", Serve: set}}}, nil
	},
})

type word struct{ text string }

func (w *word) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendString(b, w.text), nil }
func (w *word) UnmarshalMsg(b []byte) (rest []byte, err error) {
	w.text, rest, err = msgp.ReadStringBytes(b)
	return rest, err
}
func (w *word) Msgsize() int { return 8 + len(w.text) }

var words = store.NewTable[word]("test.words", store.Schema[word]{Key: func(*word) string { return "" }})

type setWord struct{ word }

func (s *setWord) Name() string                              { return "test.word" }
func (s *setWord) Allowed(store.Reader, authz.Decider) error { return nil }
func (s *setWord) Run(tx *store.Tx) (room.Result, error) {
	words.Put(tx, &s.word)
	return nil, nil
}

// put asks a machine for what only the newer program can do.
func (m *machine) put(path string) (int, string, error) {
	r, err := http.NewRequest("PUT", "http://"+m.HTTP+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// TestUpgrade replaces the program of one server after the other while everybody writes, with real processes. What is new is
// refused until all have it; then the old program is refused on the directory of the new one, and does no harm there.
func TestUpgrade(t *testing.T) {
	level := room.Level(features)
	c := startCluster(t, 3, 1)
	writers := make([]*writer, 8)
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for i := range writers {
		writers[i] = &writer{key: fmt.Sprintf("upgrade/%d", i)}
		wait.Go(func() { writers[i].writeThrough(c.members[3].client(t), stop) })
	}
	for i, m := range c.members[:3] {
		if i > 0 {
			await(t, "a refusal that names a server", func() error { // one that has just started does not see all
				status, said, err := c.members[0].put("/v1/test/word/early")
				if err == nil && status == 200 {
					t.Errorf("with %d new servers the new command is taken", i)
				} else if err == nil && !strings.Contains(said, fmt.Sprintf(`"test.word" needs rules of level %d, and those in use are of level %d; server s`, level+1, level)) {
					err = fmt.Errorf("%d %s", status, said)
				}
				return err
			})
		}
		if code := m.stop(t, syscall.SIGTERM); code != 1 {
			t.Errorf("%s ends with %d", m.node, code)
		}
		m.program = "rostra-next"
		c.start(m)
		c.awaitLeader(c.members...)
	}
	await(t, "the newer rules", func() error {
		status, said, err := c.members[0].put("/v1/test/word/late")
		if err == nil && status != 200 {
			err = fmt.Errorf("%d %s", status, said)
		}
		return err
	})
	old := c.members[2]
	if code := old.stop(t, syscall.SIGTERM); code != 1 {
		t.Errorf("%s ends with %d", old.node, code)
	}
	old.program = "rostra"
	c.start(old)
	if err := old.cmd.Wait(); err == nil || old.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(old.log.String(), "upgrade this server") {
		t.Errorf("an older program on the directory of a newer one: %v\n%s", err, old.log)
	}
	old.program = "rostra-next"
	c.start(old)
	c.awaitLeader(c.members...)
	<-time.After(time.Second)
	close(stop)
	wait.Wait()
	var longest time.Duration
	total := 0
	for _, w := range writers {
		longest, total = max(longest, w.pause), total+w.answered
	}
	t.Logf("%d writes, the longest pause of a writer: %v", total, longest)
	for _, m := range c.members {
		verify(t, m.client(t), writers)
	}
}
