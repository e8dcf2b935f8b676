package rpc

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestSniff(t *testing.T) {
	for _, c := range []struct {
		in   string
		kind kind
		err  error
		rest string
	}{
		{preface + "more", kindCalls, nil, preface + "more"},
		{magic + "more", kindLog, nil, magic + "more"},
		{"\x16\x03\x01more", kindTLS, nil, "\x16\x03\x01more"},
		{"", 0, io.EOF, ""},
		{preface[:23], 0, io.ErrUnexpectedEOF, ""},
		{magic[:3], 0, io.ErrUnexpectedEOF, ""},
		{"POST /v1/kv HTTP/1.1\r\n\r\n", 0, errGarbage, ""},
		{"PRI * HTTP/1.1\r\n\r\n", 0, errGarbage, ""},
		{"GET / HTTP/1.1\r\n", 0, errGarbage, ""},
		{"\x01consul", 0, errGarbage, ""},
		{"\xb5rostra-raft/2\n", 0, errGarbage, ""},
		{"SSH-2.0", 0, errGarbage, ""},
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(c.in), "bytes": iotest.OneByteReader(strings.NewReader(c.in))} {
			k, head, err := sniff(r)
			if k != c.kind || !errors.Is(err, c.err) {
				t.Errorf("%q, %s: kind %d, %v", c.in, name, k, err)
			}
			if rest, _ := io.ReadAll(r); err == nil && string(head)+string(rest) != c.rest {
				t.Errorf("%q, %s: %q and %q", c.in, name, head, rest)
			}
		}
	}
}

// FuzzSniff: whatever comes, a connection is known only by its whole beginning, and nothing of it is lost.
func FuzzSniff(f *testing.F) {
	for _, s := range []string{preface, magic, handshake, "", "P", "GET / HTTP/1.1\r\n", "\x03\x16\x01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		k, head, err := sniff(r)
		if (k == 0) != (err != nil) {
			t.Fatalf("kind %d and %v", k, err)
		}
		if err != nil {
			return
		}
		rest, _ := io.ReadAll(r)
		if !bytes.Equal(append(head, rest...), b) {
			t.Fatalf("%q became %q and %q", b, head, rest)
		}
		if begin := map[kind]string{kindCalls: preface, kindTLS: handshake, kindLog: magic}[k]; !bytes.HasPrefix(b, []byte(begin)) {
			t.Fatalf("%q is taken for kind %d", b, k)
		}
	})
}

// FuzzFrames: no message from outside breaks the readers, and what we write is read as it was.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{}, "m", []byte("body"))
	f.Add([]byte{1, 5}, "", []byte{})
	f.Add([]byte{255}, "kv.put", []byte{0})
	f.Fuzz(func(t *testing.T, wild []byte, method string, body []byte) {
		_, _, _ = readCall(wild)
		_, _ = readReply(wild)
		if len(method) > maxMethod {
			return
		}
		m, b, err := readCall(written(t, callFrame(method, body)))
		if err != nil || m != method || !bytes.Equal(b, body) {
			t.Fatalf("%q %q became %q %q, %v", method, body, m, b, err)
		}
		if b, err := readReply(written(t, replyFrame(body))); err != nil || !bytes.Equal(b, body) {
			t.Fatalf("reply %q became %q, %v", body, b, err)
		}
		if _, err := readReply(written(t, errorFrame(errors.New(method)))); err == nil || err.Error() != method {
			t.Fatalf("error %q became %v", method, err)
		}
	})
}

// written is what a frame is on the wire.
func written(t *testing.T, f *frame) []byte {
	t.Helper()
	data, err := codec{}.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var back frame
	if err := (codec{}).Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	return back.body
}
