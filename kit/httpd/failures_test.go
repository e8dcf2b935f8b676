package httpd

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFailuresAreToldSeldom: a failure that every request meets is one line a minute; another one is told beside it, and
// a flood of kinds is bounded.
func TestFailuresAreToldSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		text := "No path to datacenter"
		s, err := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, []Route{{Method: "GET", Path: "/v1/x",
			Serve: func(*Request) (Reply, error) { return Reply{}, errors.New(text) }}})
		if err != nil {
			t.Fatal(err)
		}
		ask := func() { s.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/v1/x", nil)) }
		lines := func(want int) {
			t.Helper()
			if n := strings.Count(log.String(), "request failed"); n != want {
				t.Errorf("%d lines, want %d:\n%s", n, want, &log)
			}
			log.Reset()
		}
		for range 1000 {
			ask()
		}
		lines(1)
		text = "No cluster leader"
		ask()
		lines(1)
		time.Sleep(time.Minute)
		ask()
		ask()
		lines(1)
		time.Sleep(time.Minute)
		for n := range 1000 {
			text = fmt.Sprint("kind ", n)
			ask()
		}
		lines(mostFailures + 1)
	})
}
