package httpd

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
)

// gzipFrom is the smallest body worth compressing, in bytes: below, it fits one packet anyhow.
const gzipFrom = 1400

// Bodies for one reader are compressed quickly, those that are kept for all readers well: it is done once, and what is
// small enough leaves with its headers in one write.
var (
	quickWriters = newWriters(gzip.BestSpeed)
	goodWriters  = newWriters(gzip.DefaultCompression)
)

func newWriters(level int) *sync.Pool {
	return &sync.Pool{New: func() any {
		w, _ := gzip.NewWriterLevel(nil, level) // the levels exist
		return w
	}}
}

// Compress returns body gzipped, for Shared values that keep it; nil if it is too short to be worth it.
func Compress(body []byte) []byte {
	if len(body) < gzipFrom {
		return nil
	}
	var b buffer
	b.compress(goodWriters, body)
	return bytes.Clone(b.b)
}

func (b *buffer) compress(writers *sync.Pool, body []byte) {
	w := writers.Get().(*gzip.Writer)
	w.Reset(b)
	_, _ = w.Write(body) // a buffer takes everything
	_ = w.Close()
	w.Reset(nil)
	writers.Put(w)
}

// indent appends compact JSON with four blanks per level.
func (b *buffer) indent(compact []byte) error {
	out := bytes.NewBuffer(b.b)
	err := json.Indent(out, compact, "", "    ")
	b.b = out.Bytes()
	return err
}

// serveExtra runs a handler from outside the table, with gzip for the profiler's pages.
func (s *Server) serveExtra(w http.ResponseWriter, r *http.Request, e *endpoint) int {
	if text := s.forbidden(r); text != "" {
		return writeText(w, http.StatusForbidden, text)
	}
	out := &extraWriter{ResponseWriter: w, status: http.StatusOK}
	if !strings.HasPrefix(e.path, "/debug/pprof/") {
		e.extra.ServeHTTP(out, r)
		return out.status
	}
	w.Header()["Vary"] = varyValue
	out.hold = acceptsGzip(r)
	defer out.finish()
	e.extra.ServeHTTP(out, r)
	return out.status
}

// extraWriter remembers the status, and, while it holds, the first bytes of a body until it is clear whether they are
// enough to compress.
type extraWriter struct {
	http.ResponseWriter
	status int
	sent   bool // the header went out
	hold   bool
	held   []byte
	zip    *gzip.Writer
}

// Unwrap lets http.ResponseController reach the real writer; it is not used while compressing.
func (w *extraWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader sends the header, or remembers it while the body is held.
func (w *extraWriter) WriteHeader(status int) {
	w.status = status
	if !w.hold {
		w.sent = true
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write passes p on, compressed if it was decided so.
func (w *extraWriter) Write(p []byte) (int, error) {
	if w.zip != nil {
		return w.zip.Write(p)
	}
	if !w.hold {
		return w.ResponseWriter.Write(p)
	}
	w.held = append(w.held, p...)
	if len(w.held) >= gzipFrom {
		w.begin()
	}
	return len(p), nil
}

// Flush sends what was written so far.
func (w *extraWriter) Flush() {
	if w.hold && w.zip == nil {
		w.begin()
	}
	if w.zip != nil {
		_ = w.zip.Flush()
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// begin starts the compressed body with what was held.
func (w *extraWriter) begin() {
	h := w.Header()
	if _, set := h["Content-Type"]; !set {
		h["Content-Type"] = []string{http.DetectContentType(w.held)}
	}
	h["Content-Encoding"] = gzipCoding
	delete(h, "Content-Length")
	w.hold, w.sent = false, true
	w.ResponseWriter.WriteHeader(w.status)
	w.zip = gzip.NewWriter(w.ResponseWriter)
	_, _ = w.zip.Write(w.held)
	w.held = nil
}

// finish ends the compressed body, or sends the short one that was held.
func (w *extraWriter) finish() {
	switch {
	case w.zip != nil:
		_ = w.zip.Close()
	case w.hold:
		w.ResponseWriter.WriteHeader(w.status)
		_, _ = w.ResponseWriter.Write(w.held)
	}
}
