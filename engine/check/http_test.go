package check

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// site answers what the tests ask for.
func site(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/code/{code}", func(w http.ResponseWriter, r *http.Request) {
		var code int
		fmt.Sscan(r.PathValue("code"), &code)
		w.WriteHeader(code)
		io.WriteString(w, "body")
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s host=%s ua=%s accept=%s x=%q close=%v body=%s", r.Method, r.Proto, r.Host, r.UserAgent(),
			r.Header.Get("Accept"), r.Header["X-Word"], r.Close, body)
	})
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Repeat("x", 9000)+"END")
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half")
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/code/200", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/never", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "some")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for block := make([]byte, 32<<10); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/bomb", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for block := make([]byte, 32<<10); ; {
			if _, err := z.Write(block); err != nil {
				return
			}
		}
	})
	return mux
}

// serve runs the site; its address is without a trailing slash.
func serve(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(site(t))
	t.Cleanup(s.Close)
	return s.URL
}

func TestHTTP(t *testing.T) {
	url := serve(t)
	host := strings.TrimPrefix(url, "http://")
	const defaults = "ua=Consul Health Check accept=text/plain, text/*, */*"
	refused := "http://" + closedPort(t) + "/"
	for name, c := range map[string]struct {
		spec   Spec // HTTP is a path under the site unless it has a scheme
		status Status
		want   string // U stands for the address
	}{
		"ok":         {Spec{Target: "/code/200"}, Passing, "HTTP GET U: 200 OK Output: body"},
		"other 2xx":  {Spec{Target: "/code/299"}, Passing, "HTTP GET U: 299 status code 299 Output: body"},
		"no content": {Spec{Target: "/code/204"}, Passing, "HTTP GET U: 204 No Content Output: "},
		"too many":   {Spec{Target: "/code/429"}, Warning, "HTTP GET U: 429 Too Many Requests Output: body"},
		"not found":  {Spec{Target: "/code/404"}, Critical, "HTTP GET U: 404 Not Found Output: body"},
		"failing":    {Spec{Target: "/code/503"}, Critical, "HTTP GET U: 503 Service Unavailable Output: body"},
		"not modified": {Spec{Target: "/code/304"}, Critical,
			"HTTP GET U: 304 Not Modified Output: "},
		"request": {Spec{Target: "/echo"}, Passing, "HTTP GET U: 200 OK Output: GET HTTP/1.1 host=" + host + " " + defaults +
			" x=[] close=true body="},
		"method, body": {Spec{Target: "/echo", Method: "POST", Body: "hello"}, Passing,
			"HTTP POST U: 200 OK Output: POST HTTP/1.1 host=" + host + " " + defaults + " x=[] close=true body=hello"},
		"headers": {Spec{Target: "/echo", Header: map[string][]string{"host": {"web.example"}, "user-agent": {"me"},
			"Accept": {"a/b"}, "x-word": {"1", "2"}}}, Passing,
			`HTTP GET U: 200 OK Output: GET HTTP/1.1 host=web.example ua=me accept=a/b x=["1" "2"] close=true body=`},
		"head":      {Spec{Target: "/code/200", Method: "HEAD"}, Passing, "HTTP HEAD U: 200 OK Output: "},
		"long body": {Spec{Target: "/long"}, Passing, "HTTP GET U: 200 OK Output: " + strings.Repeat("x", 4093) + "END"},
		"limit":     {Spec{Target: "/long", OutputMaxSize: 5}, Passing, "HTTP GET U: 200 OK Output: xxEND"},
		"cut body":  {Spec{Target: "/cut"}, Passing, "HTTP GET U: 200 OK Output: half"},
		"redirect":  {Spec{Target: "/moved"}, Passing, "HTTP GET U: 200 OK Output: body"},
		"redirect off": {Spec{Target: "/moved", DisableRedirects: true}, Critical,
			"HTTP GET U: 302 Found Output: <a href=\"/code/200\">Found</a>.\n\n"},
		"redirect loop": {Spec{Target: "/loop"}, Critical, `Get "/loop": stopped after 10 redirects`},
		"refused":       {Spec{Target: refused}, Critical, `Get "U": dial tcp ` + refused[7:len(refused)-1] + `: connect: connection refused`},
		"no such form":  {Spec{Target: "ftp://a/"}, Critical, `Get "U": unsupported protocol scheme "ftp"`},
		"no address":    {Spec{Target: "http://a b/"}, Critical, `parse "U": invalid character " " in host name`},
		"bad method":    {Spec{Target: "/echo", Method: "G T"}, Critical, `net/http: invalid method "G T"`},
		"bad header":    {Spec{Target: "/echo", Header: map[string][]string{"a:b": {"c"}}}, Critical, `Get "U": net/http: invalid header field name "a:b"`},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Kind = HTTP
			if strings.HasPrefix(c.spec.Target, "/") {
				c.spec.Target = url + c.spec.Target
			}
			got := first(t, c.spec, Env{})
			if want := strings.Replace(c.want, "U", c.spec.Target, 1); got != (Result{c.status, want}) {
				t.Errorf("got %s %.300q\nwant %s %.300q", got.Status, got.Output, c.status, want)
			}
		})
	}
}

// closedPort returns an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l := listen(t)
	l.Close()
	return l.Addr().String()
}

func TestHTTPBounds(t *testing.T) {
	url := serve(t)
	for name, c := range map[string]struct {
		path   string
		within time.Duration
		status Status
		want   string
	}{
		"no answer":    {"/never", 500 * time.Millisecond, Critical, `Get "U": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`},
		"slow body":    {"/slow", 500 * time.Millisecond, Passing, "HTTP GET U: 200 OK Output: some"},
		"endless body": {"/endless", time.Minute, Passing, "HTTP GET U: 200 OK Output: \x00\x00\x00\x00"},
		"gzip bomb":    {"/bomb", time.Minute, Passing, "HTTP GET U: 200 OK Output: \x00\x00\x00\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			got := first(t, Spec{Kind: HTTP, Target: url + c.path, Timeout: c.within, OutputMaxSize: 4}, Env{})
			want := Result{c.status, strings.Replace(c.want, "U", url+c.path, 1)}
			if took := time.Since(begin); got != want || took > 30*time.Second {
				t.Errorf("got %.300q after %v, want %.300q", got, took, want)
			}
		})
	}
}

// net/http would go on with the handshake of a request that has timed out, without end.
func TestHTTPLeavesNoHandshake(t *testing.T) {
	l := listen(t)
	got := first(t, Spec{Kind: HTTP, Target: "https://" + l.Addr().String(), Timeout: 200 * time.Millisecond}, Env{})
	if got.Status != Critical || !strings.Contains(got.Output, "Client.Timeout exceeded") {
		t.Errorf("got %q", got)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the connection is still open: %v", err)
	}
}

func TestHTTPEndCutsRequest(t *testing.T) {
	url := serve(t)
	asked := make(chan struct{})
	r, err := New(Spec{Kind: HTTP, Target: url + "/never", Interval: time.Hour}, Result{},
		func(res Result) { t.Errorf("reported %q", res) }, Env{
			Rand: func() float64 { return 0 },
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				close(asked)
				return new(net.Dialer).DialContext(ctx, network, address)
			}})
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, r)
	<-asked
	begin := time.Now()
	stop()
	if took := time.Since(begin); took > time.Second {
		t.Errorf("stopping took %v", took)
	}
}

// secured starts the site with TLS and returns it with a configuration that trusts it.
func secured(t *testing.T, http2 bool, clientCert bool) (*httptest.Server, *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(site(t))
	s.EnableHTTP2 = http2
	s.Config.ErrorLog = discard
	if clientCert {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate()) // valid for example.com and 127.0.0.1
	return s, &tls.Config{RootCAs: roots}
}

func TestHTTPS(t *testing.T) {
	s, trust := secured(t, false, false)
	two, trustTwo := secured(t, true, false)
	picky, trustPicky := secured(t, true, true)
	withCert := trustPicky.Clone()
	withCert.Certificates = picky.TLS.Certificates
	for name, c := range map[string]struct {
		url    string
		spec   Spec
		tls    *tls.Config
		status Status
		has    string
	}{
		"unknown root":      {s.URL, Spec{}, nil, Critical, "certificate signed by unknown authority"},
		"skip verify":       {s.URL, Spec{TLSSkipVerify: true}, nil, Passing, "200 OK Output: body"},
		"known root":        {s.URL, Spec{}, trust, Passing, "200 OK Output: body"},
		"server name":       {s.URL, Spec{TLSServerName: "example.com"}, trust, Passing, "200 OK Output: body"},
		"wrong server name": {s.URL, Spec{TLSServerName: "else.where"}, trust, Critical, "not else.where"},
		"http/2":            {two.URL, Spec{}, trustTwo, Passing, "200 OK Output: body"},
		"no certificate":    {picky.URL, Spec{}, trustPicky, Critical, ""}, // the text depends on which end is faster,
		"agent certificate": {picky.URL, Spec{}, withCert, Passing, "200 OK Output: body"},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Kind, c.spec.Target = HTTP, c.url+"/code/200"
			got := first(t, c.spec, Env{TLS: always(c.tls)})
			if got.Status != c.status || !strings.Contains(got.Output, c.has) {
				t.Errorf("got %q, want %s with %q", got, c.status, c.has)
			}
		})
	}
	// Over HTTP/2 too, an endless body neither hangs the check nor leaves its connection behind (see goleak).
	got := first(t, Spec{Kind: HTTP, Target: two.URL + "/endless", OutputMaxSize: 1}, Env{TLS: always(trustTwo)})
	if got.Status != Passing {
		t.Errorf("got %q", got)
	}
	got = first(t, Spec{Kind: HTTP, Target: two.URL + "/echo"}, Env{TLS: always(trustTwo)})
	if !strings.Contains(got.Output, "HTTP/2.0") {
		t.Errorf("not over HTTP/2: %q", got)
	}
}
