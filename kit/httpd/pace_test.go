package httpd

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestShortWritesAreNotWatched: while a short write over HTTP/1 is answered nobody reads for the next request or the end of the
// connection; while a read is, net/http does. What comes meanwhile, in whatever pieces, is read afterwards.
func TestShortWritesAreNotWatched(t *testing.T) {
	want, seen := make(chan bool, 1), make(chan bool, 1)
	look := func() { // until it is as wanted: a goroutine needs a moment to begin, and to end
		end, wanted := time.Now().Add(10*time.Second), <-want
		for buf := make([]byte, 1<<20); ; runtime.Gosched() {
			is := strings.Contains(string(buf[:runtime.Stack(buf, true)]), "backgroundRead")
			if is == wanted || time.Now().After(end) {
				seen <- is
				return
			}
		}
	}
	url, _ := start(t, Options{}, []Route{
		{Method: "PUT", Path: "/v1/w", Serve: func(r *Request) (Reply, error) {
			b, err := r.Body(1<<20, nil)
			look()
			return Reply{Value: len(b)}, err
		}},
		{Method: "GET", Path: "/v1/r", Serve: func(r *Request) (Reply, error) {
			look()
			return Reply{Value: "read"}, nil
		}},
	})
	put := func(body string) string {
		return fmt.Sprintf("PUT /v1/w HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	const get = "GET /v1/r HTTP/1.1\r\nHost: x\r\n\r\n"
	long := strings.Repeat("x", shortWrite+1)
	for _, test := range []struct {
		name, sent string
		pieces     int // bytes sent at once; 0: all
		want       []string
		watched    []bool
	}{
		{"write", put("a"), 0, []string{"1"}, []bool{false}},
		{"read", get, 0, []string{`"read"`}, []bool{true}},
		{"a write after another, in one packet", put("ab") + put("abc") + get, 0, []string{"2", "3", `"read"`}, []bool{false, false, true}},
		{"byte by byte", put("ab") + put("a") + get, 1, []string{"2", "1", `"read"`}, []bool{false, false, true}},
		{"as long as a buffer of net/http", put(strings.Repeat("x", 4096)) + put("a"), 0, []string{"4096", "1"}, []bool{false, false}},
		{"long write", put(long), 0, []string{fmt.Sprint(len(long))}, []bool{true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _ := dial(t, url, "")
			go func() {
				for sent := test.sent; sent != ""; {
					n := len(sent)
					if test.pieces > 0 {
						n = min(n, test.pieces)
					}
					if _, err := io.WriteString(c, sent[:n]); err != nil {
						t.Error(err)
						return
					}
					sent = sent[n:]
				}
			}()
			answers := bufio.NewReader(c)
			for i, answer := range test.want {
				want <- test.watched[i]
				if got := <-seen; got != test.watched[i] {
					t.Errorf("request %d: watched %v, want %v", i, got, test.watched[i])
				}
				resp, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != 200 || strings.TrimSpace(string(b)) != answer {
					t.Errorf("request %d: %s %q %v, want %s", i, resp.Status, b, err, answer)
				}
			}
		})
	}
}
