package check

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// dockerHost is where the engine listens if DOCKER_HOST does not say.
const dockerHost = "unix:///var/run/docker.sock"

// messageMax bounds what is read of the engine's answers that are JSON.
const messageMax = 1 << 20

// newDocker returns the probe of a docker check: a program run inside a container by the engine's HTTP API (exec create,
// start, inspect). Paths carry no version, which means the engine's own. The API cannot kill what it has started: at a
// timeout, which a Spec has to ask for, the check only stops listening.
func newDocker(spec Spec, env Env) func(context.Context) Result {
	d := &docker{spec: spec}
	d.client, d.base, d.broken = dockerClient(env)
	return d.run
}

type docker struct {
	spec   Spec
	client *http.Client
	base   string // of every address
	broken error  // why there is no client
}

// dockerClient returns a client of the engine that DOCKER_HOST names.
func dockerClient(env Env) (*http.Client, string, error) {
	host := os.Getenv("DOCKER_HOST")
	if host == "" {
		host = dockerHost
	}
	network, address, base := "", "", ""
	if path, ok := strings.CutPrefix(host, "unix://"); ok {
		network, address, base = "unix", path, "http://docker"
	} else if u, err := url.Parse(host); err == nil && u.Host != "" && (u.Scheme == "tcp" || u.Scheme == "http") {
		network, address, base = "tcp", u.Host, "http://"+u.Host+strings.TrimSuffix(u.Path, "/")
	} else {
		return nil, "", fmt.Errorf("cannot ask Docker: DOCKER_HOST is %q; unix:///path, tcp://host:port or http://host:port is wanted", host)
	}
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // one connection would stay open for every check
		DialContext: dialInRun(func(ctx context.Context, _, _ string) (net.Conn, error) {
			return env.Dial(ctx, network, address)
		}),
	}}, base, nil
}

func (d *docker) run(ctx context.Context) Result {
	if d.broken != nil {
		return Result{Critical, d.broken.Error()}
	}
	limited, cancel := d.spec.limited(ctx)
	defer cancel() // closes the run's connections
	limited = context.WithValue(limited, runKey{}, limited)
	kept := &tail{max: d.spec.outputMax()}
	code, err := d.exec(limited, kept)
	switch {
	case limited.Err() != nil && ctx.Err() == nil:
		return timedOut(d.spec.timeout(), kept)
	case err != nil:
		return Result{Critical, err.Error()}
	}
	return Result{exitCode(code), kept.captured()}
}

// exec runs the program in the container and returns its exit code.
func (d *docker) exec(ctx context.Context, output *tail) (int, error) {
	var made struct{ ID string }
	err := d.call(ctx, "POST", "/containers/"+url.PathEscape(d.spec.Target)+"/exec",
		map[string]any{"AttachStdout": true, "AttachStderr": true, "Cmd": d.spec.program(defaultShell)}, readJSON(&made))
	if err != nil {
		return 0, fmt.Errorf("cannot run a program in container %s: %w", d.spec.Target, err)
	}
	id := url.PathEscape(made.ID)
	// Tty: the output comes as it is, not in frames.
	err = d.call(ctx, "POST", "/exec/"+id+"/start", map[string]any{"Detach": false, "Tty": true}, func(r *http.Response) error {
		var src io.Reader = r.Body
		if r.Header.Get("Content-Type") == "application/vnd.docker.multiplexed-stream" { // what Podman makes of it
			src = &frames{src: r.Body}
		}
		_, err := io.Copy(output, src)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cannot start a program in container %s: %w", d.spec.Target, err)
	}
	var seen struct {
		ExitCode *int
		Running  bool
	}
	if err := d.call(ctx, "GET", "/exec/"+id+"/json", nil, readJSON(&seen)); err != nil {
		return 0, fmt.Errorf("cannot see how a program in container %s ended: %w", d.spec.Target, err)
	}
	if seen.Running || seen.ExitCode == nil {
		return 0, fmt.Errorf("the program in container %s closed its output and goes on", d.spec.Target)
	}
	return *seen.ExitCode, nil
}

func readJSON(v any) func(*http.Response) error {
	return func(r *http.Response) error { return json.NewDecoder(io.LimitReader(r.Body, messageMax)).Decode(v) }
}

// call makes one request; an answer that is no success is an error with the engine's text.
func (d *docker) call(ctx context.Context, method, path string, body any, take func(*http.Response) error) error {
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, d.base+path, sent)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.client.Do(req)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // the address in the text is made up
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		var refusal struct{ Message string }
		if readJSON(&refusal)(resp) != nil || refusal.Message == "" {
			refusal.Message = resp.Status
		}
		return errors.New(refusal.Message)
	}
	return take(resp)
}

// frames reads the stream in which an engine mixes the two outputs of a program without a terminal: frames of a header
// of 8 bytes, the last four of which are the length of what follows, big-endian.
type frames struct {
	src  io.Reader
	left uint32 // of the present frame
}

// Read reads what is in the frames.
func (f *frames) Read(p []byte) (int, error) {
	for f.left == 0 {
		var head [8]byte
		if _, err := io.ReadFull(f.src, head[:]); err != nil {
			return 0, err
		}
		f.left = binary.BigEndian.Uint32(head[4:])
	}
	n, err := f.src.Read(p[:min(len(p), int(f.left))])
	f.left -= uint32(n)
	return n, err
}
