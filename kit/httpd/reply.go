package httpd

import (
	"io"
	"net/http"
	"time"
)

// Meta is what a read says about its answer; it becomes the X-Consul-… headers.
type Meta struct {
	Index       uint64        // 0 is sent as 1
	KnownLeader bool          // the answering server knows a leader
	LastContact time.Duration // since that server heard from the leader; 0 on the leader
	Consistency Consistency   // the mode the answer was served with; sent on Routes with Effective
	Filtered    bool          // rights removed something; sent only to callers with a token
	CacheHit    *bool         // nil: not served through a cache, no X-Cache
	Age         time.Duration // of a cached answer, sent with a hit
}

// Reply is an answer. The zero Reply is a 200 with an empty body.
type Reply struct {
	Value       any         // encoded as JSON: Shared, Appender, List, or whatever encoding/json takes; nil is an empty body
	Meta        *Meta       // nil: no meta headers
	Status      int         // 0 is 200
	Raw         []byte      // sent as it is instead of Value when ContentType is set
	ContentType string      // of Raw or Stream; "" with Stream sends none
	Header      http.Header // further headers with canonical keys, usually nil

	// Stream writes a body of unknown length; flush sends what was written so far. An error ends the connection. The
	// Route must have Stream set.
	Stream func(w io.Writer, flush func()) error
	// Gzip compresses the Stream for clients that accept it.
	Gzip bool
}

// NotFound is the 404 without text: no body, no Content-Type, but the meta headers.
func NotFound(meta *Meta) Reply { return Reply{Status: http.StatusNotFound, Meta: meta} }

// Shared is a Value whose bytes are made once for all readers. Neither slice is changed afterwards by anyone. A Shared
// that can be filtered also has Unwrap() any, which returns its List.
type Shared interface {
	JSON() []byte // compact JSON
	Gzip() []byte // the same compressed; nil if it was not worth it
}

// Appender is a Value that appends itself as compact JSON, byte for byte as encoding/json would write it.
type Appender interface {
	AppendJSON(b []byte) []byte
}

// List is a Value that is a JSON array whose elements can be chosen one by one, for ?filter= on whole fragments.
type List interface {
	Len() int
	Item(i int) any                    // what a filter looks at: the type of Route.Filter
	AppendItem(b []byte, i int) []byte // the element as compact JSON
}

// shownAs is a list of which a filter sees the elements of one and the client those of another.
type shownAs struct {
	List
	told List
}

func (l shownAs) AppendItem(b []byte, i int) []byte { return l.told.AppendItem(b, i) }

// AppendJSON appends the array.
func (l shownAs) AppendJSON(b []byte) []byte {
	b = append(b, '[')
	for i := range l.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = l.AppendItem(b, i)
	}
	return append(b, ']')
}

// ShownAs returns a list that is filtered like list and shows the elements of told, which are as many.
func ShownAs(list, told List) List { return shownAs{list, told} }
