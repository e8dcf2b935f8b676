package httpd

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// nowhere is a ResponseWriter that costs nothing, so that what is measured is ours.
type nowhere struct {
	h http.Header
	n int
}

func (w *nowhere) Header() http.Header         { return w.h }
func (w *nowhere) WriteHeader(int)             {}
func (w *nowhere) Write(p []byte) (int, error) { w.n += len(p); return len(p), nil }

func benchItems(n int) items {
	list := make(items, n)
	for i := range list {
		list[i] = item{fmt.Sprintf("instance-%04d", i), map[string]string{"version": "1.2.3", "zone": "eu-west-1a"}, 8000 + i}
	}
	return list
}

func benchServer(b *testing.B) *Server {
	value := newShared(benchItems(620))
	b.Logf("shared: %d bytes, %d gzipped", len(value.plain), len(value.gzips))
	small := appender{"a small value"}
	fresh := benchItems(620)
	routes := []Route{
		{Method: "GET", Path: "/v1/kv/", Read: true, SingleTenant: true, Serve: func(r *Request) (Reply, error) {
			return Reply{Value: small, Meta: &Meta{Index: 123456, KnownLeader: true}}, nil
		}},
		{Method: "GET", Path: "/v1/health/service/", Read: true, Effective: true, Filter: item{}, Serve: func(r *Request) (Reply, error) {
			return Reply{Value: value, Meta: &Meta{Index: 123456, KnownLeader: true}}, nil
		}},
		{Method: "GET", Path: "/v1/fresh", Serve: func(r *Request) (Reply, error) {
			return Reply{Value: fresh, Meta: &Meta{Index: 123456, KnownLeader: true}}, nil
		}},
	}
	s, err := New(Options{}, routes)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func benchHandler(b *testing.B, path string, headers http.Header) {
	h := benchServer(b).Handler()
	req, err := http.NewRequest("GET", path, nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header = headers
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(&nowhere{h: http.Header{}}, req)
	}
}

func BenchmarkSmallGet(b *testing.B) { benchHandler(b, "/v1/kv/some/key", http.Header{}) }
func BenchmarkSmallGetQuery(b *testing.B) {
	benchHandler(b, "/v1/kv/some/key?stale&dc=dc1&index=0", http.Header{})
}
func BenchmarkShared(b *testing.B) { benchHandler(b, "/v1/health/service/web", http.Header{}) }
func BenchmarkSharedGzip(b *testing.B) {
	benchHandler(b, "/v1/health/service/web", http.Header{"Accept-Encoding": {"gzip"}})
}
func BenchmarkSharedFilter(b *testing.B) {
	benchHandler(b, "/v1/health/service/web?filter=Meta.zone+==+%22eu-west-1a%22+and+Port+!=+8001", http.Header{})
}
func BenchmarkSharedPretty(b *testing.B) {
	benchHandler(b, "/v1/health/service/web?pretty", http.Header{})
}
func BenchmarkListGzip(b *testing.B) {
	benchHandler(b, "/v1/fresh", http.Header{"Accept-Encoding": {"gzip"}})
}

// BenchmarkSocket compares a small GET through a real connection with bare net/http.
func BenchmarkSocket(b *testing.B) {
	body, _ := json.Marshal("a small value")
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
	for name, h := range map[string]http.Handler{"bare": bare, "httpd": benchServer(b).Handler()} {
		b.Run(name, func(b *testing.B) {
			url := serveBare(b, h)
			c, err := net.Dial("tcp", url)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			r := bufio.NewReader(c)
			for b.Loop() {
				_, _ = io.WriteString(c, "GET /v1/kv/some/key HTTP/1.1\r\nHost: x\r\n\r\n")
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
			}
		})
	}
}

func serveBare(b testing.TB, h http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	b.Cleanup(func() { srv.Close(); <-done })
	return l.Addr().String()
}

// TestParkedMemory holds the memory of a parked request, above what net/http needs by itself.
func TestParkedMemory(t *testing.T) {
	const n = 300
	var parked chan struct{}
	release, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := New(Options{}, []Route{{Method: "GET", Path: "/v1/kv/", Read: true, SingleTenant: true, Serve: func(r *Request) (Reply, error) {
		parked <- struct{}{}
		select {
		case <-release.Done():
		case <-r.Context().Done():
		}
		return Reply{Meta: &Meta{Index: 1}}, nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	bare := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		parked <- struct{}{}
		select {
		case <-release.Done():
		case <-r.Context().Done():
		}
	})
	measure := func(h http.Handler) int64 {
		parked = make(chan struct{}, n)
		addr := serveBare(t, h)
		before := inUse()
		for range n {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			_, _ = io.WriteString(c, "GET /v1/kv/some/key?index=5&wait=10m HTTP/1.1\r\nHost: x\r\nX-Consul-Token: "+strings.Repeat("t", 36)+"\r\n\r\n")
		}
		for range n {
			<-parked
		}
		return (inUse() - before) / n
	}
	measure(bare) // warm up
	plain, ours := measure(bare), measure(s.Handler())
	t.Logf("a parked request: net/http alone %d bytes, with httpd %d", plain, ours)
	if extra := ours - plain; extra > 4<<10 {
		t.Errorf("httpd adds %d bytes to a parked request", extra)
	}
}

func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
