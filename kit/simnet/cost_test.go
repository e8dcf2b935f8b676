package simnet

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestThousand has 1,000 machines send a packet every 100 ms for 5 s, 10,000 a second in all.
func TestThousand(t *testing.T) {
	const seconds = 5
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		n.Default(Link{Delay: ms, Jitter: ms, Loss: 0.01})
		var wg sync.WaitGroup
		var hosts []*Host
		var all []net.PacketConn
		for i := range 1000 {
			hosts = append(hosts, n.Host(fmt.Sprintf("10.0.%d.%d", i/250, 1+i%250)))
			all = append(all, must[net.PacketConn](t)(hosts[i].ListenPacket(":1")))
		}
		for i, s := range all {
			wg.Go(func() {
				for buf := make([]byte, 1500); ; {
					if _, _, err := s.ReadFrom(buf); err != nil {
						return
					}
				}
			})
			wg.Go(func() {
				for k := range 10 * seconds {
					time.Sleep(100 * ms)
					if _, err := s.WriteTo(make([]byte, 200), all[(i*7+k*13)%1000].LocalAddr()); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(time.Second)
				_ = s.Close()
			})
		}
		wg.Wait()
		var sent, lost uint64
		for _, h := range hosts {
			c := h.Counters()
			sent, lost = sent+c.PacketsOut, lost+c.PacketsLost
		}
		if want := uint64(10_000 * seconds); sent != want || lost < want/200 || lost > want/50 {
			t.Errorf("%d packets were sent, %d lost", sent, lost)
		}
	})
	t.Logf("%d s of 1,000 machines with 10,000 packets a second took %v", seconds, time.Since(began).Round(ms))
}

// TestHTTP has net/http serve over the network, in virtual time.
func TestHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(3)
		n.Default(Link{Delay: 10 * ms, Loss: 0.05})
		l := must[net.Listener](t)(n.Host("10.0.0.1").Listen(":80"))
		s := &http.Server{ReadTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, _ = w.Write(body)
		})}
		served := make(chan error)
		go func() { served <- s.Serve(l) }()
		client, host := &http.Transport{}, n.Host("10.0.0.2")
		client.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) { return host.Dial(ctx, address) }
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				body := io.LimitReader(zeros{}, 600_000)
				r, err := (&http.Client{Transport: client}).Post("http://10.0.0.1/", "text/plain", body)
				if err != nil {
					t.Error(err)
					return
				}
				defer r.Body.Close()
				if k, err := io.Copy(io.Discard, r.Body); k != 600_000 || err != nil {
					t.Errorf("%d bytes came back: %v", k, err)
				}
			})
		}
		wg.Wait()
		client.CloseIdleConnections()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
