package check

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// bodyMax is how much of a body is read: a bound on the work an endless body can make, far above any health page.
const bodyMax = 16 << 20

// userAgent is what servers' access logs and rules know.
const userAgent = "Consul Health Check"

// newHTTP returns the probe of an http check.
func newHTTP(spec Spec, env Env) func(context.Context) Result {
	h := &httpProbe{spec: spec, env: env, header: header(spec.Header)}
	if h.spec.Method == "" {
		h.spec.Method = http.MethodGet
	}
	return h.run
}

// clientFor returns a client that offers the agent's certificate of this moment. Runs of one check do not overlap.
func (h *httpProbe) clientFor(own *tls.Config) *http.Client {
	if h.client != nil && h.own == own {
		return h.client
	}
	h.own, h.client = own, &http.Client{
		Timeout: h.spec.timeout(),
		Transport: &http.Transport{
			Proxy:             http.ProxyFromEnvironment,
			DialContext:       dialInRun(h.env.Dial),
			TLSClientConfig:   tlsFor(own, h.spec),
			DisableKeepAlives: true, // a new connection is part of what is checked
			ForceAttemptHTTP2: true, // else a TLS configuration of our own switches it off
		},
	}
	if h.spec.DisableRedirects {
		h.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return h.client
}

// runKey finds the context of a run in those derived from it.
type runKey struct{}

// dialInRun binds connections to the run that asked for them. net/http detaches a dial, and the TLS handshake after it,
// from the request, in the hope that a later one can use the connection: against a silent peer each run would leave one
// more behind.
func dialInRun(dial func(context.Context, string, string) (net.Conn, error),
) func(context.Context, string, string) (net.Conn, error) {
	return func(detached context.Context, network, address string) (net.Conn, error) {
		run, ok := detached.Value(runKey{}).(context.Context)
		if !ok {
			run = detached
		}
		conn, err := dial(run, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(run, func() { conn.Close() })
		return conn, nil
	}
}

// header returns a copy of given under canonical names, with the defaults that it does not set.
func header(given map[string][]string) http.Header {
	h := http.Header{}
	for name, values := range given {
		for _, v := range values {
			h.Add(name, v)
		}
	}
	if h.Get("User-Agent") == "" {
		h.Set("User-Agent", userAgent)
	}
	if h.Get("Accept") == "" {
		h.Set("Accept", "text/plain, text/*, */*")
	}
	return h
}

type httpProbe struct {
	spec   Spec
	env    Env
	header http.Header
	own    *tls.Config // what client was made with
	client *http.Client
}

// run asks once. An address that cannot be parsed is a critical result, not a refused check: Consul shows it there.
func (h *httpProbe) run(ctx context.Context) Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // closes the run's connections
	ctx = context.WithValue(ctx, runKey{}, ctx)
	req, err := http.NewRequestWithContext(ctx, h.spec.Method, h.spec.Target, strings.NewReader(h.spec.Body))
	if err != nil {
		return Result{Critical, err.Error()}
	}
	req.Header = h.header.Clone()
	if host := h.header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := h.clientFor(h.env.TLS()).Do(req)
	if err != nil {
		return Result{Critical, err.Error()}
	}
	defer resp.Body.Close()

	// The status is known: a body that breaks off or does not end in time only shortens the output.
	body := &tail{max: h.spec.outputMax()}
	if n, err := io.Copy(body, io.LimitReader(resp.Body, bodyMax)); err != nil || n == bodyMax {
		h.env.Logger.Warn("check did not read the whole body", "read", n, "limit", bodyMax, "error", err)
	}
	return Result{codeStatus(resp.StatusCode),
		fmt.Sprintf("HTTP %s %s: %s Output: %s", h.spec.Method, h.spec.Target, resp.Status, body)}
}

// codeStatus translates an HTTP status code.
func codeStatus(code int) Status {
	switch {
	case code >= 200 && code <= 299:
		return Passing
	case code == http.StatusTooManyRequests:
		return Warning
	}
	return Critical
}
