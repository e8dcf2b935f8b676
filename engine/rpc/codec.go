package rpc

import (
	"fmt"

	"google.golang.org/grpc/mem"

	"rostra/kit/fault"
)

// What travels in gRPC's messages:
//
//	a call      length of the method's name (one byte), the name, the body
//	a reply     0, the body; or 1, a fault.Kind, the error's text
//	a stream    from the client: the method's name, then bodies; from the server: like replies, an error being the last
//
// An error of a handler is thereby no error of gRPC: whatever gRPC itself reports is trouble on the way.
const (
	maxMethod = 255
	envelope  = 1 + maxMethod // the most that is around a body

	replied = 0
	failed  = 1
)

// frame is one message of gRPC: head and body after each other when it is sent, all in body when it was received.
type frame struct {
	head mem.Buffer
	body []byte
	sent bool // gRPC asked for the bytes: from now on they may have left
}

// codec hands bytes to gRPC and back.
type codec struct{}

// Name is part of each request's content type.
func (codec) Name() string { return "rostra" }

// Marshal does not copy: gRPC reads from the slices after it returned.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("cannot encode a %T", v)
	}
	f.sent = true
	switch {
	case f.head == nil:
		return mem.BufferSlice{mem.SliceBuffer(f.body)}, nil
	case len(f.body) == 0:
		return mem.BufferSlice{f.head}, nil
	}
	return mem.BufferSlice{f.head, mem.SliceBuffer(f.body)}, nil
}

// Unmarshal copies, once: gRPC takes its buffers back.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("cannot decode into a %T", v)
	}
	f.body = data.Materialize()
	return nil
}

func callFrame(method string, body []byte) *frame {
	head := make(mem.SliceBuffer, 1+len(method))
	head[0] = byte(len(method))
	copy(head[1:], method)
	return &frame{head: head, body: body}
}

// readCall takes a call apart. method and body share b.
func readCall(b []byte) (method string, body []byte, err error) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", nil, fmt.Errorf("cannot read a call of %d bytes: its method is cut off", len(b))
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], nil
}

var okHead mem.Buffer = mem.SliceBuffer{replied}

func replyFrame(body []byte) *frame { return &frame{head: okHead, body: body} }

func errorFrame(err error) *frame {
	text := err.Error()
	if len(text) > MaxMessage {
		text = text[:MaxMessage]
	}
	return &frame{head: mem.SliceBuffer{failed, byte(fault.KindOf(err))}, body: []byte(text)}
}

// readReply returns the body or the handler's error.
func readReply(b []byte) ([]byte, error) {
	switch {
	case len(b) >= 1 && b[0] == replied:
		return b[1:], nil
	case len(b) >= 2 && b[0] == failed:
		return nil, handlerError(fault.Kind(b[1]), string(b[2:]))
	}
	return nil, fault.New(fault.Unknown, "cannot read a reply of %d bytes: it is neither a result nor an error", len(b))
}

// handlerError gives the errors that callers compare with errors.Is their identity back.
func handlerError(kind fault.Kind, text string) error {
	for _, known := range []error{fault.ErrNoLeader, fault.ErrNoPath} {
		if fault.KindOf(known) == kind && known.Error() == text {
			return known
		}
	}
	return &fault.Error{Kind: kind, Text: text}
}

// checkSize refuses what would be refused on the way, before anything is sent.
func checkSize(to Target, method string, body []byte) error {
	if len(method) == 0 || len(method) > maxMethod {
		return fault.New(fault.NotApplied, "cannot call %q at %s: a method's name has 1 to %d bytes", method, to.Address, maxMethod)
	}
	if len(body) > MaxMessage {
		return tooLarge(method, body)
	}
	return nil
}

func tooLarge(method string, body []byte) error {
	return fault.New(fault.TooLarge, "cannot send %d bytes for %s: a message between agents holds at most %d", len(body), method, MaxMessage)
}
