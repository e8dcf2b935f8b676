// Package syslog sends lines to the machine's syslog over its local socket (RFC 3164, as syslogd, rsyslog and
// journald take it). The standard library's client is not used: it waits without limit for a daemon that does not read.
package syslog

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Severity is how grave a message is; lower is graver.
type Severity int

// The severities that agents use.
const (
	Err Severity = iota + 3
	Warning
	Notice
	Info
	Debug
)

// sockets are where the daemon listens, by system.
var sockets = []string{"/dev/log", "/var/run/syslog", "/var/run/log"}

const (
	patience = time.Second     // for the daemon to take a message
	restTime = 5 * time.Second // after it did not, before it is asked again
	maxText  = 8 << 10         // bytes of a message; daemons take no longer ones
)

// facilities by name, in the order of their numbers.
var facilities = strings.Fields("KERN USER MAIL DAEMON AUTH SYSLOG LPR NEWS UUCP CRON AUTHPRIV FTP - - - - " +
	"LOCAL0 LOCAL1 LOCAL2 LOCAL3 LOCAL4 LOCAL5 LOCAL6 LOCAL7")

// Facility is what kind of program speaks.
type Facility int

// ParseFacility reads a facility's name, in any case.
func ParseFacility(name string) (Facility, error) {
	for i, known := range facilities {
		if known != "-" && strings.EqualFold(name, known) {
			return Facility(i), nil
		}
	}
	return 0, fmt.Errorf("%q is no facility of syslog; use one of %s", name, strings.ReplaceAll(strings.Join(facilities, " "), "- ", ""))
}

// Writer sends messages of one program. It is safe for concurrent use.
type Writer struct {
	facility Facility
	head     string // tag and process
	sockets  []string

	mu     sync.Mutex // guards the rest; held while a message is sent, at most for patience
	conn   net.Conn
	stream bool
	rest   time.Time // until then nothing is tried, because of err
	err    error
}

// New returns a Writer, which connects when it has something to send. at are the sockets to try; none means the
// system's.
func New(f Facility, tag string, at ...string) *Writer {
	if len(at) == 0 {
		at = sockets
	}
	return &Writer{facility: f, head: fmt.Sprintf("%s[%d]: ", tag, os.Getpid()), sockets: at}
}

// Send sends one message without a newline. It waits at most a second; after a failure, messages of the next five seconds
// get the same error without a wait.
func (w *Writer) Send(s Severity, text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Before(w.rest) {
		return w.err
	}
	if n := len(text) - maxText; n > 0 {
		text = fmt.Sprintf("%s… (%d bytes more)", strings.ToValidUTF8(text[:maxText], ""), n)
	}
	message := fmt.Sprintf("<%d>%s %s%s", int(w.facility)<<3|int(s), now.Format(time.Stamp), w.head, text)
	fresh := w.conn == nil
	err := w.send(message, now)
	if err != nil && !fresh && !isTimeout(err) {
		err = w.send(message, now) // the daemon was started anew meanwhile
	}
	if err != nil {
		w.rest, w.err = now.Add(restTime), err
	}
	return err
}

func (w *Writer) send(message string, now time.Time) error {
	if w.conn == nil {
		if err := w.connect(); err != nil {
			return err
		}
	}
	if w.stream {
		message += "\n"
	}
	err := w.conn.SetWriteDeadline(now.Add(patience))
	if err == nil {
		_, err = w.conn.Write([]byte(message))
	}
	if err != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
	return err
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func (w *Writer) connect() error {
	var all []error
	for _, path := range w.sockets {
		c, err := net.DialTimeout("unixgram", filepath.FromSlash(path), patience)
		stream := errors.Is(err, syscall.EPROTOTYPE)
		if stream {
			c, err = net.DialTimeout("unix", filepath.FromSlash(path), patience)
		}
		if err == nil {
			w.conn, w.stream = c, stream
			return nil
		}
		all = append(all, err)
	}
	return fmt.Errorf("no syslog answers: %w", errors.Join(all...))
}

// Close lets the connection go.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn == nil {
		return nil
	}
	err := w.conn.Close()
	w.conn = nil
	return err
}
