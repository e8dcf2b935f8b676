package agent

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"rostra/kit/disk"
	"rostra/kit/logfile"
	"rostra/kit/syslog"
)

// outletSettings say where log lines go besides standard output.
type outletSettings struct {
	File           string        `key:"log_file" flag:"log-file" help:"file for log lines, or a directory for consul.log; besides standard output"`
	RotateBytes    int64         `key:"log_rotate_bytes" flag:"log-rotate-bytes" help:"the file is put aside before it is longer; 0: only by age"`
	RotateDuration time.Duration `key:"log_rotate_duration" flag:"log-rotate-duration" default:"24h" help:"the file is put aside when it is so old"`
	RotateMaxFiles int           `key:"log_rotate_max_files" flag:"log-rotate-max-files" signed:"yes" help:"files put aside that are kept; 0 keeps all, less than 0 none"`
	Syslog         bool          `key:"enable_syslog" flag:"syslog" help:"send log lines to the machine's syslog, too"`
	Facility       string        `key:"syslog_facility" default:"LOCAL0" help:"what kind of program syslog takes this for: DAEMON, LOCAL0 to LOCAL7 …"`
}

// check refuses what no outlet could obey. The error begins with the key.
func (s *outletSettings) check() error {
	if _, err := syslog.ParseFacility(s.Facility); err != nil {
		return fmt.Errorf("syslog_facility: %w", err)
	}
	return nil
}

// outlet is one place where finished lines go besides standard output.
type outlet struct {
	name  string // "the log file /var/log/consul.log"
	write func(level slog.Level, line []byte) error
	lost  uint64 // lines since it last worked
}

// outlets are all of them, nil for none. take is called with the mutex of the lines held.
type outlets struct {
	list  []*outlet
	file  *logfile.File // nil for none
	close []func() error
}

// openOutlets opens the log file and finds the syslog. A log file that cannot be opened is an error; a syslog that does
// not answer yet is tried again at every line.
func openOutlets(s *outletSettings, asJSON bool) (*outlets, error) {
	o := &outlets{}
	if s.File != "" {
		age := s.RotateDuration
		if age == 0 {
			age = 24 * time.Hour
		}
		f, err := logfile.Open(logfile.Options{FS: disk.OS(), Path: s.File, Name: "consul.log", MaxBytes: s.RotateBytes,
			MaxAge: age, Keep: s.RotateMaxFiles})
		if err != nil {
			return nil, fmt.Errorf("log_file: %w; name a file that this user may write", err)
		}
		o.file = f
		o.close = append(o.close, f.Close)
		o.list = append(o.list, &outlet{name: "the log file " + f.Path(), write: func(_ slog.Level, line []byte) error {
			_, err := f.Write(line)
			return err
		}})
	}
	if s.Syslog {
		facility, err := syslog.ParseFacility(s.Facility)
		if err != nil {
			return nil, fmt.Errorf("syslog_facility: %w", err)
		}
		w := syslog.New(facility, "consul")
		o.close = append(o.close, w.Close)
		o.list = append(o.list, syslogOutlet(w, asJSON))
	}
	return o, nil
}

// syslogOutlet sends lines without what syslog knows itself: time and level.
func syslogOutlet(w *syslog.Writer, asJSON bool) *outlet {
	return &outlet{name: "syslog", write: func(level slog.Level, line []byte) error {
		line = bytes.TrimSuffix(line, []byte{'\n'})
		if _, rest, found := bytes.Cut(line, []byte("] ")); found && !asJSON {
			line = bytes.TrimLeft(rest, " ")
		}
		return w.Send(severity(level), string(line))
	}}
}

// severity is how grave syslog takes a level for (spec agent.md §16).
func severity(l slog.Level) syslog.Severity {
	switch {
	case l < slog.LevelDebug:
		return syslog.Debug
	case l < slog.LevelInfo:
		return syslog.Info
	case l < slog.LevelWarn:
		return syslog.Notice
	case l < slog.LevelError:
		return syslog.Warning
	}
	return syslog.Err
}

// take gives a line to all outlets and returns what is to be said about those that began to fail, and how many lines those
// lost that work again.
func (o *outlets) take(level slog.Level, line []byte) (said []slog.Record) {
	if o == nil {
		return nil
	}
	for _, out := range o.list {
		err := out.write(level, line)
		switch {
		case err != nil && out.lost == 0:
			r := slog.NewRecord(time.Now(), slog.LevelError, "cannot write to "+out.name+"; its lines are lost until it works again", 0)
			r.AddAttrs(slog.String("error", oneLine(err)))
			said = append(said, r)
			out.lost++
		case err != nil:
			out.lost++
		case out.lost > 0:
			r := slog.NewRecord(time.Now(), slog.LevelWarn, out.name+" works again", 0)
			r.AddAttrs(slog.Uint64("lost_lines", out.lost))
			said = append(said, r)
			out.lost = 0
		}
	}
	return said
}

// any says whether lines go anywhere besides standard output.
func (o *outlets) any() bool { return o != nil && len(o.list) > 0 }

// reopen opens the log file by its name again, for programs that put log files aside.
func (o *outlets) reopen() error {
	if o == nil || o.file == nil {
		return nil
	}
	if err := o.file.Reopen(); err != nil {
		return fmt.Errorf("log_file: the file so far goes on: %w", err)
	}
	return nil
}

func (o *outlets) shut() error {
	if o == nil {
		return nil
	}
	var all []error
	for _, c := range o.close {
		all = append(all, c())
	}
	return errors.Join(all...)
}
