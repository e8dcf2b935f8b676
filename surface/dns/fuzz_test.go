package dns

import (
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// FuzzAnswer feeds packets from outside: nothing may panic, every answer must be a message that another library reads,
// and a question that library understands must be repeated in the answer.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"web.service.consul.", "_web._tcp.consul.", "pq.query.consul.", "_pq._tcp.query.consul.", "srv1.node.consul.", "consul.", "7f000001.addr.consul.", "1.0.0.127.in-addr.arpa.", "."} {
		for _, kind := range []uint16{mdns.TypeA, mdns.TypeSRV, mdns.TypeSOA, mdns.TypeANY} {
			f.Add(packed1(f, name, kind, 0), false)
			f.Add(packed1(f, name, kind, 1232), true)
		}
	}
	m := new(mdns.Msg)
	m.SetQuestion("web.service.consul.", mdns.TypeSRV)
	m.SetEdns0(600, false)
	m.Extra[0].(*mdns.OPT).Option = []mdns.EDNS0{&mdns.EDNS0_SUBNET{Code: mdns.EDNS0SUBNET, Family: 2, SourceNetmask: 33, Address: make([]byte, 16)}}
	subnet, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(subnet, false)
	s, d := newServer(f, settings(), example()...)
	d.do(f, set(pqID, "pq", "web", nil))
	w := s.worker(1)
	w.outside = true
	f.Fuzz(func(t *testing.T, b []byte, tcp bool) {
		out, _ := w.answer(t.Context(), b, tcp, time.Now().Add(patience))
		if out == nil {
			return
		}
		var r, q mdns.Msg
		if err := r.Unpack(out[lead:]); err != nil {
			t.Fatalf("%x\nanswered by %x\nwhich cannot be read: %v", b, out[lead:], err)
		}
		if !r.Response || r.Id != uint16(b[0])<<8|uint16(b[1]) {
			t.Fatalf("header %v", r.MsgHdr)
		}
		if q.Unpack(b) == nil && r.Rcode != mdns.RcodeFormatError && r.Opcode == 0 && (len(r.Question) != 1 || r.Question[0] != q.Question[0]) {
			t.Fatalf("question %v repeated as %v", q.Question, r.Question)
		}
	})
}
