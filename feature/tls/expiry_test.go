package tls

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rostra/engine/room"
	"rostra/kit/cert"
)

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestExpiryCheck runs through a certificate's life in virtual time, and replaces it at the end.
func TestExpiryCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Chdir(t.TempDir())
		run(t, "tls", "ca", "create", "-days", "1000")
		run(t, "tls", "cert", "create", "-server", "-days", "100")
		conf := cert.Conf{CAFile: "consul-agent-ca.pem", CertFile: "dc1-server-consul-0.pem", KeyFile: "dc1-server-consul-0-key.pem"}
		certs, err := cert.Open(conf)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Hour) // so that no bound falls on one of the daily looks
		log := new(lines)
		reports := new(room.Reports)
		part, err := Room.Open(&room.Host{Certs: certs, Reports: reports, Log: slog.New(slog.NewTextHandler(log, nil))}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- part.Run(ctx) }()
		want := func(status, output string) {
			t.Helper()
			synctest.Wait()
			list, _ := reports.All()
			if status == "" && len(list) == 0 {
				return
			}
			if len(list) != 1 || list[0].ID != "rostra:tls" || list[0].Status != status || !strings.Contains(list[0].Output, output) {
				t.Fatalf("%+v, want %s %s", list, status, output)
			}
		}
		e, _ := certs.Now().Expiry()
		want("passing", "dc1-server-consul-0.pem is valid until "+e.Until.UTC().Format("2006-01-02"))
		time.Sleep(time.Until(e.Until) - early - time.Minute)
		want("passing", "valid until")
		if log.String() != "" {
			t.Errorf("the log has %s", log)
		}
		time.Sleep(2 * time.Minute)
		want("warning", "dc1-server-consul-0.pem ends on "+e.Until.UTC().Format("2006-01-02"))
		if !strings.Contains(log.String(), "level=WARN") || strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("the log has %s", log)
		}
		time.Sleep(time.Until(e.Until) - urgent + 2*time.Second)
		want("warning", "ends on")
		if !strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("the log has %s", log)
		}
		time.Sleep(urgent)
		want("warning", "ended on")

		run(t, "tls", "cert", "create", "-server")
		for from, to := range map[string]string{"dc1-server-consul-1.pem": conf.CertFile, "dc1-server-consul-1-key.pem": conf.KeyFile} {
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
		if err := certs.Reload(conf); err != nil {
			t.Fatal(err)
		}
		want("passing", "valid until")
		if err := certs.Reload(cert.Conf{}); err != nil {
			t.Fatal(err)
		}
		want("", "")
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestFirstEnd: of the certificates between agents and that of HTTPS the one that ends first counts.
func TestFirstEnd(t *testing.T) {
	t.Chdir(t.TempDir())
	run(t, "tls", "ca", "create", "-days", "1000")
	keeper := func(n, days string) *cert.Keeper {
		run(t, "tls", "cert", "create", "-server", "-days", days)
		k, err := cert.Open(cert.Conf{CAFile: "consul-agent-ca.pem", CertFile: "dc1-server-consul-" + n + ".pem", KeyFile: "dc1-server-consul-" + n + "-key.pem"})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	long, short, none := keeper("0", "100"), keeper("1", "50"), cert.NewKeeper(new(cert.Set))
	for name, test := range map[string]struct {
		agents, https *cert.Keeper
		want          string
	}{
		"no HTTPS":       {long, nil, "dc1-server-consul-0.pem"},
		"HTTPS first":    {long, short, "dc1-server-consul-1.pem"},
		"agents first":   {short, long, "dc1-server-consul-1.pem"},
		"HTTPS alone":    {none, long, "dc1-server-consul-0.pem"},
		"nothing at all": {none, nil, ""},
	} {
		if e, ok := (watcher{&room.Host{Certs: test.agents, HTTPSCerts: test.https}}).first(); e.File != test.want || ok != (test.want != "") {
			t.Errorf("%s: %+v, %v", name, e, ok)
		}
	}
}
