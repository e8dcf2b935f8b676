package rpc

import (
	"errors"
	"fmt"
	"io"
)

// kind is what a connection turned out to be.
type kind uint8

const (
	kindCalls kind = iota + 1 // HTTP/2, for gRPC
	kindTLS
	kindLog // a log stream
)

// The first bytes of a connection. Inside TLS the protocol that was negotiated (ALPN) decides instead of the first byte:
// "h2" for calls, whose preface is still looked at, or "rostra-raft", whose stream begins at once.
const (
	preface   = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // RFC 9113 §3.4
	handshake = "\x16"                             // the record type of a TLS ClientHello
	magic     = "\xb5rostra-raft/1\n"              // no printable byte first: nothing that speaks text can be taken for it

	alpnCalls = "h2"
	alpnLog   = "rostra-raft"
)

// errGarbage is the cause of a refusal of bytes that are the beginning of nothing we speak.
var errGarbage = errors.New("its first bytes are no protocol of this port")

// sniff reads just as much as it takes to know what a connection is. head is what it read.
func sniff(r io.Reader) (k kind, head []byte, err error) {
	var buf [len(preface)]byte
	if _, err := io.ReadFull(r, buf[:1]); err != nil {
		return 0, nil, err
	}
	want := ""
	switch buf[0] {
	case preface[0]:
		k, want = kindCalls, preface
	case handshake[0]:
		return kindTLS, []byte(handshake), nil
	case magic[0]:
		k, want = kindLog, magic
	default:
		return 0, nil, fmt.Errorf("%w (the first is 0x%02x)", errGarbage, buf[0])
	}
	// Byte by byte would notice a lie sooner; the deadline of the handshake bounds the wait for the rest.
	head = buf[:len(want)]
	n, err := io.ReadFull(r, head[1:])
	if got := string(head[:n+1]); got != want[:n+1] {
		return 0, nil, fmt.Errorf("%w (they are %q)", errGarbage, got)
	}
	if err != nil {
		return 0, nil, err
	}
	return k, head, nil
}
