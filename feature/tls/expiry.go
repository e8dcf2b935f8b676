package tls

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"rostra/engine/room"
	"rostra/kit/cert"
)

// The check of this agent's certificate. It warns and is never critical, not even when the certificate has ended: a
// critical check of a node takes all its services out of DNS, and those go on working without the agent's certificate.
const (
	checkID   = "rostra:tls"
	checkName = "TLS Certificate Expiry"
	day       = 24 * time.Hour
	early     = 30 * day // how long before the end it warns
	urgent    = day      // and when the log calls it an error
)

func open(h *room.Host, _ any) (*room.Part, error) {
	if h.Certs == nil {
		return &room.Part{}, nil
	}
	w := watcher{h}
	w.report(time.Now()) // so that the check is there when the catalog is first compared
	return &room.Part{Run: w.run}, nil
}

// watcher reports when what the agent's connections depend on ends.
type watcher struct{ host *room.Host }

// run looks again at every reload, at least daily, and when the report has to change, until ctx ends.
func (w watcher) run(ctx context.Context) error {
	for {
		changed := w.host.Certs.Changed()
		var https <-chan struct{}
		if w.host.HTTPSCerts != nil {
			https = w.host.HTTPSCerts.Changed()
		}
		now := time.Now()
		timer := time.NewTimer(w.look(now))
		select {
		case <-changed:
			timer.Stop()
		case <-https:
			timer.Stop()
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// pause returns when to look again: a day later, or when the next bound is crossed.
func pause(e cert.Expiry, now time.Time) time.Duration {
	next := day
	for _, before := range []time.Duration{early, urgent, 0} {
		if left := e.Until.Add(-before).Sub(now); left >= 0 {
			next = min(next, left+time.Second) // past the bound, and certificates count in seconds
		}
	}
	return next
}

// look reports what is so now, says it in the log, too, if somebody has to do something, and returns when to look again.
func (w watcher) look(now time.Time) time.Duration {
	e, text, level := w.report(now)
	if level > slog.LevelInfo {
		w.host.Log.Log(context.Background(), level, text)
	}
	return pause(e, now)
}

func (w watcher) report(now time.Time) (e cert.Expiry, text string, level slog.Level) {
	e, ok := w.first()
	if !ok {
		w.host.Reports.Drop(checkID)
		return e, "", slog.LevelInfo
	}
	r, level := judge(e, now)
	w.host.Reports.Set(r)
	return e, r.Output, level
}

// first returns what ends first, of what agents and of what HTTPS depends on.
func (w watcher) first() (cert.Expiry, bool) {
	e, ok := w.host.Certs.Now().Expiry()
	if w.host.HTTPSCerts == nil {
		return e, ok
	}
	other, there := w.host.HTTPSCerts.Now().Expiry()
	if there && (!ok || other.Until.Before(e.Until)) {
		return other, true
	}
	return e, ok
}

// judge says of a certificate's end what the check shows, and how loud the log has to be.
func judge(e cert.Expiry, now time.Time) (room.Report, slog.Level) {
	r := room.Report{ID: checkID, Name: checkName, Status: "passing"}
	until := e.Until.UTC().Format("2006-01-02 15:04 MST")
	left := e.Until.Sub(now)
	if left > early {
		r.Output = fmt.Sprintf("The certificate in %s is valid until %s.", e.File, until)
		return r, slog.LevelInfo
	}
	r.Status = "warning"
	if left <= 0 {
		r.Output = fmt.Sprintf("The certificate in %s ended on %s: others refuse it. Replace the file and reload the agent.", e.File, until)
		return r, slog.LevelError
	}
	r.Output = fmt.Sprintf("The certificate in %s ends on %s. Replace the file and reload the agent.", e.File, until)
	if left <= urgent {
		return r, slog.LevelError
	}
	return r, slog.LevelWarn
}
