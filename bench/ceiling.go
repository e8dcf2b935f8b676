package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// The ceilings: the least that a Go server could do for the same requests and the same bytes. Each runs as a process of
// its own (this program, started again), so that its CPU per request can be measured like that of the server under test.

// serveHTTP is the HTTP ceiling: net/http and a handler that reads the body and answers from memory. /bytes answers what
// was last PUT to it, gzipped once beforehand for clients that ask for it; /N answers N bytes; anything else "true".
func serveHTTP(addr string) error {
	sizes := map[string][]byte{}
	for _, n := range []int{250, 50000, 1000000} {
		sizes[fmt.Sprintf("/%d", n)] = []byte(strings.Repeat("x", n))
	}
	type blob struct{ plain, zip []byte }
	var stored atomic.Pointer[blob]
	return http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/bytes" && r.Method == "GET" {
			b := stored.Load()
			body := b.plain
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				body = b.zip
				w.Header().Set("Content-Encoding", "gzip")
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.Write(body)
			return
		}
		if b := sizes[r.URL.Path]; b != nil {
			w.Header().Set("Content-Length", strconv.Itoa(len(b)))
			w.Write(b)
			return
		}
		if r.URL.Path == "/bytes" {
			plain, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			var zip bytes.Buffer
			z, _ := gzip.NewWriterLevel(&zip, gzip.DefaultCompression)
			z.Write(plain)
			z.Close()
			stored.Store(&blob{plain, zip.Bytes()})
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "true")
	}))
}

// serveUDP is the DNS ceiling: each datagram is answered with one of size bytes that begins with the datagram's.
func serveUDP(addr, size string) error {
	n, err := strconv.Atoi(size)
	if err != nil {
		return err
	}
	pc, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	u := pc.(*net.UDPConn)
	u.SetReadBuffer(4 << 20)
	errs := make(chan error)
	for range 2 {
		go func() {
			b := make([]byte, 65536)
			for {
				got, a, err := u.ReadFromUDPAddrPort(b)
				if err != nil {
					errs <- err
					return
				}
				b[2] |= 0x80
				u.WriteToUDPAddrPort(b[:max(got, n)], a)
			}
		}()
	}
	return <-errs
}

// ceiling is a running ceiling process.
type ceiling struct {
	*Proc
	addr string
}

func (c *Ctx) startCeiling(args ...string) (*ceiling, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", pickBase(c.basePort+6000))
	p, err := startProc("ceiling", filepath.Join(c.work, "ceiling.log"), self, append([]string{args[0], addr}, args[1:]...)...)
	if err != nil {
		return nil, err
	}
	time.Sleep(300 * time.Millisecond)
	if p.Exited() {
		return nil, fmt.Errorf("the ceiling process ended: %s", p.LogTail(3))
	}
	return &ceiling{p, addr}, nil
}

// httpCeiling measures the HTTP ceiling under a name: PUT of a 100-byte value, or GET of body.
func (c *Ctx) httpCeiling(name string, conc int, method string, body []byte, zip bool) {
	if !c.want(name) {
		return
	}
	ce, err := c.startCeiling("serve-http")
	if err != nil {
		c.rec.fail(name, err)
		return
	}
	defer ce.Kill()
	want := 4
	note := "net/http reads the body and answers true"
	if method == "GET" {
		if _, err := mustPut(ce.addr, "/bytes", body); err != nil {
			c.rec.fail(name, err)
			return
		}
		want = len(body)
		note = fmt.Sprintf("net/http, %d bytes from memory", want)
		if zip {
			note += ", gzipped beforehand"
		}
	}
	value := kvVal(nil, "x", 1, 1)
	c.measure(name, conc, "", ce.CPU, 1, note, func(int) (func(int64) error, func(), error) {
		h, err := dialH(ce.addr)
		if err != nil {
			return nil, nil, err
		}
		h.Timeout(60 * time.Second)
		h.zip = zip
		return func(int64) error {
			var st int
			var b []byte
			if method == "PUT" {
				st, b, err = h.do("PUT", "/v1/kv/some/key", value)
			} else {
				st, b, err = h.do("GET", "/bytes", nil)
			}
			if err != nil || st != 200 || h.zipped != zip || !zip && len(b) != want {
				return fmt.Errorf("ceiling answered %d, %d bytes, %v", st, len(b), err)
			}
			return nil
		}, h.Close, nil
	})
}

// udpCeiling measures the DNS ceiling: the same query, an answer of size bytes.
func (c *Ctx) udpCeiling(name string, q []byte, size int) {
	if !c.want(name) || size == 0 {
		return
	}
	ce, err := c.startCeiling("serve-udp", strconv.Itoa(size))
	if err != nil {
		c.rec.fail(name, err)
		return
	}
	defer ce.Kill()
	udpLoad(ce.addr, 64, c.warm, q, nil)
	r, cu, share := c.attempt(ce.CPU, func(int) *Result { return udpLoad(ce.addr, 64, c.dur, q, nil) }, nil)
	c.rec.loop(name, r, cu, 1, fmt.Sprintf("Go UDP echo, answers of %d bytes, the same client%s", size, share))
}

// counters reads what the server itself has counted; nil from a server that does not tell.
func counters(addr string) map[string]float64 {
	var m map[string]float64
	if getJSON(addr, "/v1/rostra/counters", &m) != nil {
		return nil
	}
	return m
}

// perFsync records how many writes shared one fsync, by the server's counters before and after.
func (c *Ctx) perFsync(name string, before, after map[string]float64) {
	d := func(k string) float64 { return after[k] - before[k] }
	if before == nil || after == nil || d("syncs") <= 0 || d("entries") <= 0 {
		return
	}
	note := "by the server's own counters: log files only"
	c.rec.fig(name, "writes_per_fsync", d("commands")/d("syncs"), "writes", "higher", int64(d("syncs")), 0, note)
	c.rec.fig(name, "writes_per_entry", d("commands")/d("entries"), "writes", "info", int64(d("entries")), 0, note)
}
