package local

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rostra/feature/local/definition"
)

// BenchmarkRegister registers services with one TTL check each through the HTTP handler, with real fsyncs, while other
// services are there already. Besides the time it reports the process's CPU, which is what must not grow.
func BenchmarkRegister(b *testing.B) {
	for _, present := range []int{0, 1000, 20000} {
		for _, clients := range []int{1, 16} {
			b.Run(fmt.Sprintf("present=%d/clients=%d", present, clients), func(b *testing.B) { benchRegister(b, present, clients) })
		}
	}
}

func benchRegister(b *testing.B, present, clients int) {
	l := newLab(b)
	a := l.must(osDisk, b.TempDir(), defaults())
	a.run()
	waitFor(b, func() bool { ns, _ := l.remote(); return ns != nil }) // the first comparison is over
	for i := range present {
		text, err := definition.ReadService([]byte(webBody(fmt.Sprintf("old-%d", i))))
		if err != nil {
			b.Fatal(err)
		}
		d, err := a.k.rules().Service(text, "")
		if err != nil {
			b.Fatal(err)
		}
		a.k.putService(newRegistration(d, fromHTTP), nil) // without its file: that is not what is measured
	}
	if present > 0 {
		if err := a.k.compare(b.Context()); err != nil {
			b.Fatal(err)
		}
		a.k.pushAll(b.Context(), a.k.takeDirty())
	}
	runtime.GC()
	var next atomic.Int64
	var wait sync.WaitGroup
	before := cpu(b)
	b.ResetTimer()
	for range clients {
		wait.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				if status, text := a.do("PUT", "service/register", webBody(fmt.Sprintf("new-%d", i))); status != 200 {
					b.Errorf("%d %s", status, text)
				}
			}
		})
	}
	wait.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

func webBody(id string) string {
	return fmt.Sprintf(`{"ID":%q,"Name":"web-%c","Tags":["v1","http"],"Address":"10.0.0.1","Port":8080,"Meta":{"team":"x"},"Check":{"TTL":"1h","Status":"passing"}}`,
		id, 'a'+id[len(id)-1]%16)
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
