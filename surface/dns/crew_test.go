package dns

import (
	"context"
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	mdns "github.com/miekg/dns"
)

// outbox is a socket that keeps what is written to it.
type outbox struct {
	net.PacketConn
	mu   sync.Mutex
	sent [][]byte
}

func (o *outbox) WriteTo(b []byte, _ net.Addr) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent = append(o.sent, slices.Clone(b))
	return len(b), nil
}

// TestCrew: when more is asked than can be answered, the newest questions are answered first, the oldest dropped and counted,
// and none is answered after its time but by SERVFAIL.
func TestCrew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newServer(t, settings(), example()...)
		out := new(outbox)
		var order []uint16
		gate := make(chan bool)
		s.inside.most = 1
		s.inside.life = context.Background()
		s.inside.do = func(_ context.Context, _ *worker, j *job) {
			<-gate
			order = append(order, binary.BigEndian.Uint16(j.packet))
		}
		add := func(id int) {
			q := packed1(t, "web.service.consul.", mdns.TypeA, 0)
			binary.BigEndian.PutUint16(q, uint16(id))
			s.inside.add(s, job{packet: q, socket: socket{any: out}, until: time.Now().Add(patience)})
		}
		add(0)
		synctest.Wait() // it is with the only worker
		const more = 10
		for id := 1; id <= queued+more; id++ {
			add(id)
		}
		for range 1 + queued/2 {
			gate <- true
		}
		synctest.Wait()
		for i, id := range order[1:] {
			if int(id) != queued+more-i {
				t.Fatalf("question %d was answered as number %d after the first", id, i)
			}
		}
		if n := s.stats.full.Load(); n != more {
			t.Errorf("%d are counted as dropped, want %d", n, more)
		}
		time.Sleep(patience + time.Second)
		gate <- true // the one that was taken before
		s.inside.group.Wait()
		late := queued - len(order) + 1
		if len(out.sent) != late || s.stats.full.Load() != uint64(more+late) || out.sent[0][3]&15 != servFail {
			t.Errorf("%d were told that they are late, %d counted; want %d and %d", len(out.sent), s.stats.full.Load(), late, more+late)
		}
	})
}
