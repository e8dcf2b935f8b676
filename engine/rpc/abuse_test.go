package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"rostra/kit/fault"
)

// Frames of HTTP/2 (RFC 9113 §6).
const (
	frameData     = 0
	frameHeaders  = 1
	frameSettings = 4
	endHeaders    = 4
)

func rawFrame(kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	head := binary.BigEndian.AppendUint32([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, stream)
	return append(head, payload...)
}

// hello is how a client of gRPC begins.
func hello(frames ...[]byte) []byte {
	return slices.Concat([]byte(preface), rawFrame(frameSettings, 0, 0, nil), slices.Concat(frames...))
}

// TestGarbage: whatever comes that is none of ours ends the connection and is counted; the others do not suffer.
func TestGarbage(t *testing.T) {
	log := &lines{}
	l := listen(t)
	server, _ := begin(t, Options{Listener: l, Handler: handler{}, Log: log.logger()})
	client, _ := begin(t, Options{})
	to := Target{Address: l.Addr().String()}
	s, err := client.Stream(within5(t), to, "echo")
	if err != nil {
		t.Fatal(err)
	}
	bomb := rawFrame(frameData, 0, 1, make([]byte, 1<<20)) // frames have at most 16 KiB
	for _, c := range []struct {
		name    string
		in      []byte
		counter string
	}{
		{"HTTP/1", []byte("GET /v1/kv/x HTTP/1.1\r\nHost: x\r\n\r\n"), "rpc.refused.garbage"},
		{"zeros", make([]byte, 4096), "rpc.refused.garbage"},
		{"Consul's Raft", []byte{1, 2, 3}, "rpc.refused.garbage"},
		{"half a greeting", []byte("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"), "rpc.refused.garbage"},
		{"another log", []byte("\xb5rostra-raft/9\n"), "rpc.refused.garbage"},
		{"no TLS", append([]byte{0x16}, bytes.Repeat([]byte{7}, 100)...), "rpc.refused.tls"},
		{"a greeting and garbage", []byte(preface + "this is not how frames look, by far"), "rpc.refused.garbage"},
		{"an oversized frame", hello(bomb), "rpc.refused.garbage"},
	} {
		before := server.Counters()[c.counter]
		conn, err := net.Dial("tcp", to.Address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(c.in) // the server may hang up in the middle
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
		eventually(t, c.name+" is counted", func() bool { return server.Counters()[c.counter] == before+1 })
	}
	if n := log.count("refused a connection"); n != 1 {
		t.Errorf("logged %d times within a minute", n)
	}
	if err := s.Send([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Recv(); err != nil || string(b) != "x" {
		t.Errorf("a stream of another: %q, %v", b, err)
	}
	eventually(t, "all is closed", func() bool { return server.Counters()["rpc.open"] == 1 })
}

// TestLeavers: who connects and leaves without a word is no news.
func TestLeavers(t *testing.T) {
	server, _, to := pair(t, handler{})
	conn, err := net.Dial("tcp", to.Address)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	eventually(t, "it came and went", func() bool { n := server.Counters(); return n["rpc.accepted"] == 1 && n["rpc.open"] == 0 })
	for name, n := range server.Counters() {
		if n != 0 && name != "rpc.accepted" {
			t.Errorf("%s = %d", name, n)
		}
	}
}

// TestOversized: a message over the limit is refused by its announced length, before it is read.
func TestOversized(t *testing.T) {
	server, client, to := pair(t, handler{})
	_, err := client.Call(within5(t), to, "m", make([]byte, MaxMessage+1))
	wantFault(t, err, fault.TooLarge, "at most 67108864")
	s, err := client.Stream(within5(t), to, "echo")
	if err != nil {
		t.Fatal(err)
	}
	wantFault(t, s.Send(make([]byte, MaxMessage+1)), fault.TooLarge, "at most 67108864")
	if err := s.Send([]byte("still there")); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Recv(); err != nil || string(b) != "still there" {
		t.Errorf("%q, %v", b, err)
	}

	conn, err := net.Dial("tcp", to.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(rawCall(streamPath, 1<<30)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is counted", func() bool { return server.Counters()["rpc.refused.size"] == 1 })
}

// TestLimit: one client has no more connections than it may, others have theirs; a place that is given back is free.
func TestLimit(t *testing.T) {
	log := &lines{}
	l := listen(t)
	server, _ := begin(t, Options{Listener: l, Handler: handler{}, Log: log.logger(), MaxConnsPerClient: 3})
	dial := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	first := dial("127.0.0.9")
	dial("127.0.0.9")
	dial("127.0.0.9")
	eventually(t, "three are in", func() bool { return server.Counters()["rpc.open"] == 3 })
	for range 2 {
		if _, err := dial("127.0.0.9").Read(make([]byte, 1)); err == nil {
			t.Error("a fourth is let in")
		}
	}
	dial("127.0.0.10")
	eventually(t, "another client is let in", func() bool { return server.Counters()["rpc.open"] == 4 })
	_ = first.Close()
	eventually(t, "its place is free", func() bool { return server.Counters()["rpc.open"] == 3 })
	dial("127.0.0.9")
	eventually(t, "and taken", func() bool { return server.Counters()["rpc.open"] == 4 })
	server.LimitConns(4)
	dial("127.0.0.9")
	eventually(t, "the limit is raised", func() bool { return server.Counters()["rpc.open"] == 5 })
	if n := server.Counters()["rpc.refused.limit"]; n != 2 || log.count("rpc_max_conns_per_client") != 1 {
		t.Errorf("%d counted, %d logged", n, log.count("rpc_max_conns_per_client"))
	}
}

// TestBubbleSlow: who says nothing, or not enough, is gone when the handshake's time is over; its log comes once a minute.
func TestBubbleSlow(t *testing.T) {
	for _, c := range []struct {
		say     string
		counter string
	}{{"", "rpc.refused.slow"}, {"PRI", "rpc.refused.slow"}, {magic[:4], "rpc.refused.slow"}} {
		synctest.Test(t, func(t *testing.T) {
			m, log := newMemory(), &lines{}
			server, stop := begin(t, Options{Listener: m, Handler: handler{}, Log: log.logger()})
			for range 3 {
				conn, err := m.dial(context.Background(), "")
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				if _, err := io.WriteString(conn, c.say); err != nil {
					t.Fatal(err)
				}
				_, err = conn.Read(make([]byte, 1))
				if took := time.Since(began); err == nil || took != defaultHandshake {
					t.Errorf("%q: %v after %s", c.say, err, took)
				}
				pass(25 * time.Second)
			}
			if n := server.Counters()[c.counter]; n != 3 || log.count("refused a connection") != 2 {
				t.Errorf("%q: %d counted, %d logged in a minute and a half", c.say, n, log.count("refused a connection"))
			}
			stop()
		})
	}
}

// TestBubbleGreeting: the connections that have not said what they are have a limit of their own.
func TestBubbleGreeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		server, stop := begin(t, Options{Listener: m, Handler: handler{}, MaxConnsPerClient: 10 * maxGreeting})
		for range maxGreeting + 5 {
			if _, err := m.dial(context.Background(), ""); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := server.Counters(); n["rpc.refused.limit"] != 5 || n["rpc.open"] != maxGreeting {
			t.Errorf("%d refused, %d open", n["rpc.refused.limit"], n["rpc.open"])
		}
		stop()
	})
}

// rawCall is a request of gRPC that announces a message of n bytes.
func rawCall(path string, n uint32) []byte {
	var fields []byte
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "x"},
		{"content-type", "application/grpc"}, {"te", "trailers"}} {
		fields = append(append(fields, 0, byte(len(f[0]))), f[0]...) // a literal field (RFC 7541 §6.2.2)
		fields = append(append(fields, byte(len(f[1]))), f[1]...)
	}
	return hello(rawFrame(frameHeaders, endHeaders, 1, fields),
		rawFrame(frameData, 0, 1, binary.BigEndian.AppendUint32([]byte{0}, n)))
}

// TestBubbleNotTaken: a log stream that nobody accepts gives its place back.
func TestBubbleNotTaken(t *testing.T) {
	bubble(t, handler{}, func(t *testing.T, _ *memory, server, client *Port, _ func()) {
		conn, err := client.Streams().Dial("s", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("it is answered")
		}
		if n := server.Counters(); n["rpc.refused.limit"] != 1 || n["rpc.open"] != 0 {
			t.Errorf("%d refused, %d open", n["rpc.refused.limit"], n["rpc.open"])
		}
	})
}
