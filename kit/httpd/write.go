package httpd

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"rostra/kit/filter"
)

// Header values that never change are shared by all responses. Nobody may write into them.
var (
	trueValue    = []string{"true"}
	falseValue   = []string{"false"}
	zeroValue    = []string{"0"}
	varyValue    = []string{"Accept-Encoding"}
	backendValue = []string{"blocking-query"}
	jsonType     = []string{"application/json"}
	textType     = []string{"text/plain; charset=utf-8"}
	gzipCoding   = []string{"gzip"}
	effective    = map[Consistency][]string{Default: {"leader"}, Consistent: {"consistent"}, Stale: {"stale"}}
)

// shortBody is up to where net/http finds the Content-Length by itself.
const shortBody = 2000

func writeText(w http.ResponseWriter, status int, text string) int {
	w.Header()["Content-Type"] = textType
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
	return status
}

// writeMeta sets the X-Consul-… headers of an answer.
func writeMeta(h http.Header, m *Meta, r *Request) {
	h["X-Consul-Index"] = []string{strconv.FormatUint(max(m.Index, 1), 10)}
	h["X-Consul-Knownleader"] = falseValue
	if m.KnownLeader {
		h["X-Consul-Knownleader"] = trueValue
	}
	h["X-Consul-Lastcontact"] = zeroValue
	if m.LastContact >= time.Millisecond {
		h["X-Consul-Lastcontact"] = []string{strconv.FormatInt(m.LastContact.Milliseconds(), 10)}
	}
	h["X-Consul-Query-Backend"] = backendValue
	if r.route.Effective {
		h["X-Consul-Effective-Consistency"] = effective[m.Consistency]
	}
	if m.Filtered && r.Params.Token != "" {
		h["X-Consul-Results-Filtered-By-Acls"] = trueValue
	}
	switch {
	case m.CacheHit == nil:
	case *m.CacheHit:
		h["X-Cache"] = []string{"HIT"}
		h["Age"] = []string{strconv.FormatInt(int64(m.Age/time.Second), 10)}
	default:
		h["X-Cache"] = []string{"MISS"}
	}
}

// write sends a reply. An error comes back only if nothing has been sent.
func (s *Server) write(w http.ResponseWriter, r *Request, reply *Reply) (int, error) {
	status := reply.Status
	if status == 0 {
		status = http.StatusOK
	}
	h := w.Header()
	switch {
	case reply.Stream != nil:
		return status, s.stream(w, r, reply, status)
	case reply.ContentType != "":
		h["Content-Type"] = []string{reply.ContentType}
		return status, send(w, r.HTTP, status, reply.Raw, nil)
	case reply.Value != nil:
		return status, s.writeValue(w, r, status, reply.Value)
	case status == http.StatusOK:
		h["Content-Type"] = jsonType
	}
	w.WriteHeader(status)
	return status, nil
}

// writeValue encodes a value in the cheapest way it offers.
func (s *Server) writeValue(w http.ResponseWriter, r *Request, status int, v any) error {
	pretty := r.Params.Pretty || s.opts.AlwaysPretty
	if shared, ok := v.(Shared); ok && r.Filter == nil && !pretty {
		w.Header()["Content-Type"] = jsonType
		return send(w, r.HTTP, status, shared.JSON(), shared)
	}
	buf := takeBuffer()
	defer buf.release()
	if err := buf.encode(v, r.Filter); err != nil {
		return err
	}
	if pretty {
		compact := buf
		buf = takeBuffer()
		defer buf.release()
		if err := buf.indent(compact.b); err != nil {
			return err
		}
		if r.Params.Pretty {
			buf.b = append(buf.b, '\n')
		}
	}
	w.Header()["Content-Type"] = jsonType
	return send(w, r.HTTP, status, buf.b, nil)
}

// encode appends v as compact JSON, only the elements that a filter lets through if there is one.
func (b *buffer) encode(v any, f *filter.Filter) error {
	if f != nil {
		if list := listOf(v); list != nil {
			return b.encodeList(list, f)
		}
	}
	switch v := v.(type) {
	case Shared:
		b.b = append(b.b, v.JSON()...)
	case Appender:
		b.b = v.AppendJSON(b.b)
	case List:
		return b.encodeList(v, nil)
	default:
		if err := json.NewEncoder(b).Encode(v); err != nil {
			return err
		}
		b.b = b.b[:len(b.b)-1] // the encoder's newline
	}
	return nil
}

func listOf(v any) List {
	if wrapped, ok := v.(interface{ Unwrap() any }); ok {
		v = wrapped.Unwrap()
	}
	list, _ := v.(List)
	return list
}

func (b *buffer) encodeList(list List, f *filter.Filter) error {
	b.b = append(b.b, '[')
	empty := len(b.b)
	for i := range list.Len() {
		if f != nil {
			if keep, err := f.Match(list.Item(i)); err != nil {
				return err
			} else if !keep {
				continue
			}
		}
		if len(b.b) > empty {
			b.b = append(b.b, ',')
		}
		b.b = list.AppendItem(b.b, i)
	}
	b.b = append(b.b, ']')
	return nil
}

// send writes a whole body, compressed if the client takes it and it is worth it. The slices go to the connection
// without a copy. Errors of the connection are the client's business.
func send(w http.ResponseWriter, r *http.Request, status int, body []byte, shared Shared) error {
	h := w.Header()
	if len(body) >= gzipFrom && acceptsGzip(r) {
		h["Content-Encoding"] = gzipCoding
		var packed []byte
		if shared != nil {
			packed = shared.Gzip()
		}
		if packed == nil {
			buf := takeBuffer()
			defer buf.release()
			buf.compress(quickWriters, body)
			packed = buf.b
		}
		body = packed
	}
	if len(body) > shortBody {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	if status != http.StatusOK {
		w.WriteHeader(status)
	}
	_, _ = w.Write(body)
	return nil
}

var errNoStream = errors.New("cannot stream: the route does not say so")

// stream lets the feature write. When it fails after the first byte, the connection is cut, which is the only way left
// to tell the client that the body is not whole.
func (s *Server) stream(w http.ResponseWriter, r *Request, reply *Reply, status int) error {
	if !r.route.Stream {
		return errNoStream
	}
	h := w.Header()
	h["Content-Type"] = nil // nil keeps net/http from guessing one
	if reply.ContentType != "" {
		h["Content-Type"] = []string{reply.ContentType}
	}
	out := &streamed{w: w, status: status, control: http.NewResponseController(w)}
	var sink io.Writer = out
	if reply.Gzip && acceptsGzip(r.HTTP) {
		h["Content-Encoding"] = gzipCoding
		out.zip = gzip.NewWriter(writerFunc(out.send))
		sink = out.zip
	}
	err := reply.Stream(sink, out.flush)
	if err == nil && out.zip != nil {
		err = out.zip.Close()
	}
	if err == nil && !out.started {
		w.WriteHeader(status)
	}
	if err != nil && out.started {
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		delete(h, "Content-Encoding")
	}
	return err
}

// streamed passes a stream on and remembers whether it has begun.
type streamed struct {
	w       http.ResponseWriter
	control *http.ResponseController
	zip     *gzip.Writer
	status  int
	started bool
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (s *streamed) Write(p []byte) (int, error) { return s.send(p) }

func (s *streamed) send(p []byte) (int, error) {
	s.start()
	return s.w.Write(p)
}

func (s *streamed) start() {
	if !s.started {
		s.started = true
		s.w.WriteHeader(s.status)
	}
}

func (s *streamed) flush() {
	s.start()
	if s.zip != nil {
		_ = s.zip.Flush()
	}
	_ = s.control.Flush()
}

// buffer is a pooled slice of bytes.
type buffer struct{ b []byte }

// keepBuffer is the largest buffer that goes back to the pool, in bytes.
const keepBuffer = 1 << 20

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func takeBuffer() *buffer { return buffers.Get().(*buffer) }

func (b *buffer) release() {
	if cap(b.b) <= keepBuffer {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

// Write appends p.
func (b *buffer) Write(p []byte) (int, error) {
	b.b = append(b.b, p...)
	return len(p), nil
}
