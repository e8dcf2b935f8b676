package dns

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// FuzzOracle asks what the fuzzer makes up: services, tags and types that exist or not, letters in any case, EDNS with sizes, flags and
// options, over UDP and TCP. Each is asked twice, so that the second answer is the one that was
// kept, and both are compared with what the other library works out.
func FuzzOracle(f *testing.F) {
	m, commands := randomModel(rand.New(rand.NewPCG(7, 1)))
	var workers []*worker
	var sets []*Settings
	for i, plain := range []bool{false, true} {
		set := settings()
		set.DisableCompress, set.EnableTruncate = plain, true
		s, _ := newServer(f, set, commands...)
		workers, sets = append(workers, s.worker(uint64(i))), append(sets, set)
	}
	for i, kind := range []uint16{mdns.TypeA, mdns.TypeAAAA, mdns.TypeSRV, mdns.TypeANY, mdns.TypeTXT, mdns.TypeMX, 0, 65535} {
		f.Add(byte(i), byte(i), uint64(i)*0x5555, kind, uint16(i*300), byte(i), []byte(nil))
		f.Add(byte(i+1), byte(2), uint64(0), kind, uint16(4096), byte(7), []byte("x"))
	}
	f.Add(byte(0), byte(0), uint64(0), mdns.TypeSRV, uint16(1), byte(15), []byte{0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, service, tag byte, letters uint64, kind, size uint16, how byte, option []byte) {
		switch kind {
		case mdns.TypeSOA, mdns.TypeNS, mdns.TypeAXFR, mdns.TypeIXFR, mdns.TypeCNAME, mdns.TypeOPT:
			return // TestOracleNames has them, and transfers are refused
		}
		name := fmt.Sprintf("s%d.service.consul.", service%7)
		tags := []string{"", "a", "b.c", "d", "zzz"}
		if tag := tags[int(tag)%len(tags)]; tag != "" {
			name = tag + "." + name
		}
		q := differently(t, spelled(name, letters), kind, size, how, option)
		at, tcp := int(how>>3)&1, how>>4&1 == 1
		var before []string
		for range 2 {
			out, _ := workers[at].answer(t.Context(), q, tcp, time.Now().Add(patience))
			got := judge(t, q, out)
			if got.Rcode == mdns.RcodeFormatError { // an option that makes no sense
				return
			}
			if now := recordsOf(got); before == nil {
				before = now
			} else if !got.Truncated && !slices.Equal(now, before) {
				t.Fatalf("%x: made anew the answer is\n%s\nand kept it is\n%s", q, strings.Join(before, "\n"), strings.Join(now, "\n"))
			}
		}
		checkAnswer(t, workers[at], m, sets[at], spelled(name, letters), fmt.Sprintf("s%d", service%7), tags[int(tag)%len(tags)], kind, int(how&1)*int(size), tcp)
	})
}

// spelled sets letters in capitals, by the bits.
func spelled(name string, bits uint64) string {
	b := []byte(name)
	for i := range b {
		if bits>>(i%64)&1 == 1 {
			b[i] = bytes.ToUpper(b[i : i+1])[0]
		}
	}
	return string(b)
}

// differently packs a question: how says whether with EDNS (1), the flag DO (2), recursion desired (4); option is one of EDNS, as its
// bytes are.
func differently(t *testing.T, name string, kind, size uint16, how byte, option []byte) []byte {
	m := new(mdns.Msg)
	m.SetQuestion(name, kind)
	m.RecursionDesired = how&4 != 0
	if how&1 != 0 {
		m.SetEdns0(size, how&2 != 0)
		if len(option) >= 2 && len(option) < 200 {
			m.IsEdns0().Option = []mdns.EDNS0{&mdns.EDNS0_LOCAL{Code: binary.BigEndian.Uint16(option), Data: option[2:]}}
		}
	}
	b, err := m.Pack()
	if err != nil {
		t.Skip(err)
	}
	return b
}

// judge holds an answer to what every answer must be, whatever it says.
func judge(t *testing.T, q, out []byte) *mdns.Msg {
	var asked, got mdns.Msg
	if err := asked.Unpack(q); err != nil {
		t.Skip(err)
	}
	if out == nil {
		t.Fatalf("%x: no answer", q)
	}
	if err := got.Unpack(out[lead:]); err != nil {
		t.Fatalf("%x: %x cannot be read: %v", q, out[lead:], err)
	}
	opts := 0
	for _, rr := range got.Extra {
		if rr.Header().Rrtype == mdns.TypeOPT {
			opts++
		}
	}
	switch {
	case !got.Response, got.Id != asked.Id, got.Opcode != mdns.OpcodeQuery, got.RecursionDesired != asked.RecursionDesired:
		t.Fatalf("%x: header %+v", q, got.MsgHdr)
	case got.Rcode == mdns.RcodeFormatError:
	case !got.Authoritative, len(got.Question) != 1, got.Question[0] != asked.Question[0]:
		t.Fatalf("%x: %+v, question %v", q, got.MsgHdr, got.Question)
	case opts != min(1, len(asked.Extra)):
		t.Fatalf("%x: %d OPT records", q, opts)
	}
	return &got
}

// recordsOf returns the lines of an answer in an order of their own: which instance comes first is up to chance.
func recordsOf(m *mdns.Msg) []string {
	list := []string{mdns.RcodeToString[m.Rcode]}
	for _, section := range [][]mdns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			list = append(list, rr.String())
		}
	}
	slices.Sort(list)
	return list
}

// FuzzQuery compares how packets from outside are read with how the other library reads them: what both take for one question is
// the same question, and one that is written as that library would is no junk.
func FuzzQuery(f *testing.F) {
	for _, size := range []int{0, 512, 65535} {
		f.Add(packed1(f, "WEB.service.Consul.", mdns.TypeANY, size))
		f.Add(append(packed1(f, "a.b.c.", mdns.TypeSRV, size), 1, 2, 3))
	}
	m := new(mdns.Msg)
	m.SetQuestion("web.service.consul.", mdns.TypeA)
	m.SetEdns0(1232, true)
	m.IsEdns0().Option = []mdns.EDNS0{&mdns.EDNS0_COOKIE{Code: mdns.EDNS0COOKIE, Cookie: "0102030405060708"},
		&mdns.EDNS0_SUBNET{Code: mdns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: []byte{10, 1, 2, 0}}}
	b, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-1])
	named := []byte("\x24\x95\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x01a\x01b\x00\x63\x00\x00\x21\x01\x01\x00\x00\x29\xff\xff\x00\x00\x00\x00\x00\x00")
	f.Add(named) // an OPT record with a name, which the other library takes
	f.Fuzz(func(t *testing.T, b []byte) {
		var q query
		var m mdns.Msg
		v, err := q.parse(b), m.Unpack(b)
		plain := err == nil && !m.Response && m.Opcode == mdns.OpcodeQuery && len(m.Question) == 1 && len(m.Answer)+len(m.Ns) == 0 && len(m.Extra) <= 1
		plain = plain && (len(m.Extra) == 0 || m.Extra[0].Header().Name == ".") // RFC 6891, 6.1.1: OPT has the root's name
		if plain {
			if again, err := m.Pack(); err == nil && bytes.Equal(again, b) && v != good && (len(m.Extra) == 0 || m.IsEdns0() != nil && len(m.IsEdns0().Option) == 0) {
				t.Fatalf("%x is %d, and the other library reads %v", b, v, &m)
			}
		}
		if v != good || err != nil || len(m.Question) != 1 {
			return
		}
		name, _, err := mdns.UnpackDomainName(append(slices.Clone(q.name), 0), 0)
		opt := m.IsEdns0()
		if err != nil || name != m.Question[0].Name || q.kind != m.Question[0].Qtype || q.edns != (opt != nil) || opt != nil && q.size != int(opt.Hdr.Class) {
			t.Fatalf("%x is read as %q, type %d, EDNS %v with %d; the other library reads %v", b, name, q.kind, q.edns, q.size, &m)
		}
	})
}
