package httpd

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// body is a request's body of which more comes within Options.Patience, or the client is given up.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	conns   *conns
	armed   time.Time // the deadline that is set
	slow    func()    // notes a client that is too slow
}

// patient bounds how long the body and, over HTTP/2, the answer may make no progress. Over HTTP/1 the answer is the
// connection's business. The function that it returns comes after the answer.
func (s *Server) patient(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, func()) {
	multiplexed := r.ProtoMajor == 2
	if r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody {
		b := &body{ReadCloser: r.Body, control: http.NewResponseController(w), conns: s.conns}
		if multiplexed {
			b.slow = func() { s.conns.slow(r.RemoteAddr, "did not send what it had begun") }
		}
		r.Body = b
	}
	if !multiplexed {
		return w, attend(r)
	}
	p := &paced{ResponseWriter: w, control: http.NewResponseController(w), conns: s.conns, from: r.RemoteAddr}
	return p, p.limit
}

// shortWrite is the longest body, in bytes, whose client is not watched while it is answered.
const shortWrite = 64 << 10

// attend spares a short write over HTTP/1 what net/http does to learn that its client hangs up: a second goroutine that
// reads one more byte while the handler runs, and that has to be woken before the answer, some 5 % of all the work of a
// write. Nobody needs it, since a write goes on without its client (Request.Context). The function that it returns comes
// after the handler.
func attend(r *http.Request) (answered func()) {
	c, known := r.Context().Value(connKey{}).(*conn)
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !known || reads || c.above != nil || r.ContentLength <= 0 || r.ContentLength > shortWrite {
		return func() {}
	}
	c.deaf.Store(true)
	return func() { c.deaf.Store(false) }
}

// Read reads what has come, or waits for it.
func (b *body) Read(p []byte) (int, error) {
	if now := time.Now(); b.armed.Before(now.Add(b.conns.patience / 2)) {
		b.armed = now.Add(b.conns.patience)
		_ = b.control.SetReadDeadline(b.armed)
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		if b.slow != nil {
			b.slow()
		}
	case err != nil: // the end: whether the client is still there may be watched without a bound
		b.armed = time.Time{}
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// paced is the answer to a request over HTTP/2. Each stream has a window of its own, which a client may never open though its
// connection is alive.
type paced struct {
	http.ResponseWriter
	control *http.ResponseController
	conns   *conns
	from    string
	until   time.Time
}

// Unwrap lets http.ResponseController reach the real writer.
func (p *paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *paced) limit() {
	p.until = time.Now().Add(p.conns.patience)
	_ = p.control.SetWriteDeadline(p.until)
}

func (p *paced) done(err error) {
	if err == nil {
		_ = p.control.SetWriteDeadline(time.Time{}) // who has more to say may take its time
	} else if time.Now().After(p.until) { // net/http only says that the stream is closed
		p.conns.slow(p.from, "did not take its answer")
	}
}

// Write sends b share by share.
func (p *paced) Write(b []byte) (n int, err error) {
	for {
		p.limit()
		var sent int
		sent, err = p.ResponseWriter.Write(b[n:min(n+share, len(b))])
		n += sent
		if err != nil || n == len(b) {
			p.done(err)
			return n, err
		}
	}
}

// FlushError sends what was written so far.
func (p *paced) FlushError() error {
	p.limit()
	err := p.control.Flush()
	p.done(err)
	return err
}
