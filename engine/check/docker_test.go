package check

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// engine is a small server that speaks the part of Docker's HTTP API that a check needs, on a unix socket. It is a fake:
// no container engine runs where these tests do. What it does follows the API's public description (exec create, start,
// inspect); it runs nothing.
type engine struct {
	framed bool // mixes the outputs in frames, and says so

	mu  sync.Mutex
	cmd []string // of the last exec
	tty bool     // start was asked for
}

// startEngine serves the fake on the socket that DOCKER_HOST names until the test ends.
func startEngine(t *testing.T, e *engine) *engine {
	t.Helper()
	path := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_HOST", "unix://"+path)
	srv := &http.Server{Handler: e.routes()}
	ended := make(chan error)
	go func() { ended <- srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-ended })
	return e
}

func (e *engine) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /containers/{id}/exec", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != "c1" {
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"message":"No such container: `+r.PathValue("id")+`"}`)
			return
		}
		var in struct {
			AttachStdout, AttachStderr bool
			Cmd                        []string
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !in.AttachStdout || !in.AttachStderr || len(in.Cmd) == 0 {
			http.Error(w, `{"message":"bad exec"}`, http.StatusBadRequest)
			return
		}
		e.mu.Lock()
		e.cmd = in.Cmd
		e.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"Id":"e1"}`)
	})
	mux.HandleFunc("POST /exec/e1/start", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Detach, Tty bool }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Detach {
			http.Error(w, `{"message":"bad start"}`, http.StatusBadRequest)
			return
		}
		e.mu.Lock()
		e.tty = in.Tty
		line := strings.Join(e.cmd, " ")
		e.mu.Unlock()
		e.output(w, r, line)
	})
	mux.HandleFunc("GET /exec/e1/json", func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		switch last := e.cmd[len(e.cmd)-1]; last {
		case "daemon":
			io.WriteString(w, `{"ID":"e1","Running":true,"ExitCode":null}`)
		default:
			code := map[string]string{"warn": "1", "fail": "2"}[last]
			if code == "" {
				code = "0"
			}
			io.WriteString(w, `{"ID":"e1","Running":false,"ExitCode":`+code+`}`)
		}
	})
	return mux
}

// output is what the program says: its command line.
func (e *engine) output(w http.ResponseWriter, r *http.Request, line string) {
	if !e.framed {
		w.Header().Set("Content-Type", "application/vnd.docker.raw-stream")
		io.WriteString(w, line+"\n")
	} else {
		w.Header().Set("Content-Type", "application/vnd.docker.multiplexed-stream")
		for i, part := range []string{line[:1], "", line[1:] + "\n"} {
			head := []byte{byte(1 + i%2), 0, 0, 0, 0, 0, 0, 0}
			binary.BigEndian.PutUint32(head[4:], uint32(len(part)))
			w.Write(append(head, part...))
		}
	}
	if strings.HasSuffix(line, "hang") {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

// Spec agent.md §6, docker: exec create, start, inspect; exit codes and output as for scripts; no timeout of its own.
func TestDocker(t *testing.T) {
	e := startEngine(t, &engine{})
	for name, c := range map[string]struct {
		spec Spec
		want Result
	}{
		"args":         {Spec{Target: "c1", Args: []string{"probe", "ok"}}, Result{Passing, "probe ok\n"}},
		"warning":      {Spec{Target: "c1", Args: []string{"probe", "warn"}}, Result{Warning, "probe warn\n"}},
		"critical":     {Spec{Target: "c1", Args: []string{"probe", "fail"}}, Result{Critical, "probe fail\n"}},
		"command line": {Spec{Target: "c1", Command: "a | b"}, Result{Passing, "/bin/sh -c a | b\n"}},
		"shell":        {Spec{Target: "c1", Shell: "/bin/bash", Command: "a | b"}, Result{Passing, "/bin/bash -c a | b\n"}},
		"limit":        {Spec{Target: "c1", Args: []string{"123456789"}, OutputMaxSize: 4}, Result{Passing, "Captured 4 of 10 bytes\n...\n789\n"}},
		"timeout": {Spec{Target: "c1", Args: []string{"hang"}, Timeout: 300 * time.Millisecond},
			Result{Critical, "Timed out (300ms) running check\n\nhang\n"}},
		"no container": {Spec{Target: "c2", Args: []string{"probe"}}, Result{Critical, "cannot run a program in container c2: No such container: c2"}},
		"odd name":     {Spec{Target: "../x", Args: []string{"probe"}}, Result{Critical, "cannot run a program in container ../x: No such container: ../x"}},
		"goes on":      {Spec{Target: "c1", Args: []string{"daemon"}}, Result{Critical, "the program in container c1 closed its output and goes on"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Kind = Docker
			if got := first(t, c.spec, Env{}); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if !e.tty {
		t.Error("start did not ask for the plain stream")
	}
}

// Other engines mix the outputs in frames whatever start asks for, and name that in the content type.
func TestDockerFrames(t *testing.T) {
	startEngine(t, &engine{framed: true})
	if got := first(t, Spec{Kind: Docker, Target: "c1", Args: []string{"probe", "warn"}}, Env{}); got != (Result{Warning, "probe warn\n"}) {
		t.Errorf("got %q", got)
	}
}

func TestDockerHost(t *testing.T) {
	spec := Spec{Kind: Docker, Target: "c1", Args: []string{"probe"}}
	closed := closedPort(t)
	for host, want := range map[string]string{
		"unix:///nowhere/d.sock": "cannot run a program in container c1: dial unix /nowhere/d.sock: connect: no such file or directory",
		"tcp://" + closed:        "cannot run a program in container c1: dial tcp " + closed + ": connect: connection refused",
		"ssh://me@there":         `cannot ask Docker: DOCKER_HOST is "ssh://me@there"; unix:///path, tcp://host:port or http://host:port is wanted`,
	} {
		t.Setenv("DOCKER_HOST", host)
		if got := first(t, spec, Env{}); got != (Result{Critical, want}) {
			t.Errorf("%s: %q", host, got)
		}
	}
}

// The engine's bytes come from outside.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x02ab\x02\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x01\x00\x00\x00\xff\xff\xff\xffab"))
	f.Fuzz(func(t *testing.T, b []byte) {
		kept := &tail{max: 100}
		n, err := io.Copy(kept, &frames{src: strings.NewReader(string(b))})
		if n > int64(len(b)) || err == nil && n > int64(max(0, len(b)-8)) {
			t.Errorf("%d bytes out of %d", n, len(b))
		}
	})
}
