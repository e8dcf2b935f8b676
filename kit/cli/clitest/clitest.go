// Package clitest runs verbs in tests against an agent that answers with canned replies. The tests of every feature's
// cli.go use it.
package clitest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"rostra/kit/cli"
)

// Agent answers requests with fixed bodies and keeps what it was asked. Its methods may be used by several goroutines.
type Agent struct {
	// Replies are the bodies by "METHOD /path"; a request without one gets 404. A body that starts with "500 ", "403 "
	// or the like is sent with that status.
	Replies map[string]string

	mu       sync.Mutex // guards requests
	requests []string
}

// ServeHTTP answers one request. Every answer carries X-Consul-Index 60.
func (a *Agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	line := r.Method + " " + r.URL.RequestURI()
	if token := r.Header.Get("X-Consul-Token"); token != "" {
		line += " token=" + token
	}
	if len(body) > 0 {
		line += "\n" + strings.TrimSuffix(string(body), "\n")
	}
	a.mu.Lock()
	a.requests = append(a.requests, line)
	a.mu.Unlock()

	reply, ok := a.Replies[r.Method+" "+r.URL.Path]
	w.Header().Set("X-Consul-Index", "60")
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case len(reply) > 4 && reply[3] == ' ' && reply[0] >= '4' && reply[0] <= '5':
		w.WriteHeader(int(reply[0]-'0')*100 + int(reply[1]-'0')*10 + int(reply[2]-'0'))
		reply = reply[4:]
	}
	// A client that hung up has no use for the error.
	_, _ = io.WriteString(w, reply)
}

// Requests returns what was asked so far, in order: "METHOD /path?query", " token=T" if one was sent, and the body on
// a line of its own.
func (a *Agent) Requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.requests...)
}

// Result is what a run left behind.
type Result struct {
	Out, Err string
	Code     int
}

// Run calls the program as "consul" with these arguments, with the agent behind CONSUL_HTTP_ADDR. A nil agent means
// that nothing listens there.
func Run(t testing.TB, verbs []cli.Verb, agent *Agent, stdin string, args ...string) Result {
	t.Helper()
	server := httptest.NewServer(agent)
	if agent == nil {
		server.Close()
	} else {
		defer server.Close()
	}
	env := func(name string) string {
		if name == "CONSUL_HTTP_ADDR" {
			return server.URL
		}
		return ""
	}
	var out, errs bytes.Buffer
	code := cli.Main("consul", verbs, args, strings.NewReader(stdin), &out, &errs, env)
	return Result{out.String(), errs.String(), code}
}
