package agent

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"rostra/kit/cert"
	"rostra/kit/httpd"
	"rostra/surface/dns"
)

// unixSettings say whom the unix sockets of HTTP belong to.
type unixSettings struct {
	User  string `key:"unix_sockets.user" help:"owner of the unix sockets, name or number; the agent's user if empty"`
	Group string `key:"unix_sockets.group" help:"their group, number or name; the agent's if empty"`
	Mode  string `key:"unix_sockets.mode" help:"their permissions, octal; by the agent's umask if empty. Who may write may connect"`
}

// owner is what the settings come to; -1 and no mode leave what the system chose.
type owner struct {
	uid, gid int
	mode     fs.FileMode
}

// owner reads the settings. The error begins with the key.
func (u *unixSettings) owner() (o owner, err error) {
	byName := func(name string) (string, error) { found, err := user.Lookup(name); return id(found, err) }
	var wrong []error
	if o.uid, err = number(u.User, byName); err != nil {
		wrong = append(wrong, fmt.Errorf("unix_sockets.user: %w", err))
	}
	byName = func(name string) (string, error) {
		found, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return found.Gid, nil
	}
	if o.gid, err = number(u.Group, byName); err != nil {
		wrong = append(wrong, fmt.Errorf("unix_sockets.group: %w", err))
	}
	if u.Mode != "" {
		mode, err := strconv.ParseUint(u.Mode, 8, 32)
		if err != nil || mode == 0 || mode > 0o777 {
			wrong = append(wrong, fmt.Errorf("unix_sockets.mode: %q are no permissions; use octal digits like 0660", u.Mode))
		}
		o.mode = fs.FileMode(mode)
	}
	return o, errors.Join(wrong...)
}

func id(found *user.User, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return found.Uid, nil
}

// number returns the id that a text is or names, -1 for none.
func number(text string, byName func(string) (string, error)) (int, error) {
	if text == "" {
		return -1, nil
	}
	if n, err := strconv.ParseInt(text, 10, 32); err == nil && n >= 0 {
		return int(n), nil
	}
	found, err := byName(text)
	if err != nil {
		return 0, fmt.Errorf("cannot find %q: %w; use a name or a number of this machine", text, err)
	}
	return strconv.Atoi(found)
}

// listeners are the sockets of the surfaces.
type listeners struct {
	http []httpd.Port
	udp  []net.PacketConn
	tcp  []net.Listener

	httpAddrs, httpsAddrs, dnsAddrs []string
}

func (l *listeners) close() error {
	var all []error
	for _, c := range l.http {
		all = append(all, c.Close())
	}
	for _, c := range l.tcp {
		all = append(all, c.Close())
	}
	for _, c := range l.udp {
		all = append(all, c.Close())
	}
	for i, err := range all {
		if errors.Is(err, net.ErrClosed) {
			all[i] = nil // Serve closed it
		}
	}
	return errors.Join(all...)
}

func addresses(list string) []string { return strings.Fields(list) }

func orElse(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// listen opens the sockets of HTTP, HTTPS and DNS. certs is for HTTPS, which without it is not served. An address that is
// taken is named with its setting.
func listen(s *Settings, certs *cert.Keeper) (_ *listeners, err error) {
	if err := enoughFiles(s.MaxConns); err != nil {
		return nil, err
	}
	l := &listeners{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.httpAddrs, err = l.serve(s, "http", orElse(s.HTTPAddr, s.ClientAddr), s.HTTPPort, nil); err != nil {
		return nil, err
	}
	if certs != nil {
		now := func() *tls.Config { return certs.Now().Incoming() }
		if l.httpsAddrs, err = l.serve(s, "https", orElse(s.HTTPSAddr, s.ClientAddr), s.HTTPSPort, now); err != nil {
			return nil, err
		}
	}
	return l, l.answer(s)
}

// serve opens the sockets of HTTP or HTTPS and returns where they are.
func (l *listeners) serve(s *Settings, name, list string, port int, secured func() *tls.Config) (opened []string, err error) {
	if port <= 0 {
		return nil, nil
	}
	for _, addr := range addresses(list) {
		var c net.Listener
		if path, is := strings.CutPrefix(addr, "unix://"); is {
			c, err = listenUnix(path, &s.Unix)
		} else if c, err = net.Listen("tcp", net.JoinHostPort(addr, strconv.Itoa(port))); err != nil {
			err = fmt.Errorf("cannot open the %s port: %w; free the address, or set ports.%s or client_addr", strings.ToUpper(name), err, name)
		} else {
			addr = "tcp://" + c.Addr().String()
		}
		if err != nil {
			return nil, err
		}
		l.http = append(l.http, httpd.Port{Listener: c, TLS: secured})
		opened = append(opened, addr)
	}
	return opened, nil
}

// answer opens the sockets of DNS.
func (l *listeners) answer(s *Settings) error {
	if s.DNSPort <= 0 {
		return nil
	}
	for _, ip := range addresses(orElse(s.DNSAddr, s.ClientAddr)) {
		if strings.HasPrefix(ip, "unix:") {
			return noUnixDNS(ip)
		}
		udp, tcp, err := dns.Listen(net.JoinHostPort(ip, strconv.Itoa(s.DNSPort)))
		if err != nil {
			return fmt.Errorf("cannot open the DNS port: %w; free the address, or set ports.dns or client_addr", err)
		}
		l.udp, l.tcp = append(l.udp, udp...), append(l.tcp, tcp)
		l.dnsAddrs = append(l.dnsAddrs, tcp.Addr().String())
	}
	return nil
}

// listenUnix opens a unix socket in the place of one that an agent left behind. Nobody can connect to it before it has
// its owner and mode.
func listenUnix(path string, settings *unixSettings) (net.Listener, error) {
	o, err := settings.owner()
	if err != nil {
		return nil, err
	}
	if err := vacate(path); err != nil {
		return nil, err
	}
	masked := umask(0o777) // of the whole process; nothing else of it makes files yet
	l, err := net.Listen("unix", path)
	umask(masked)
	if err != nil {
		return nil, fmt.Errorf("cannot open the unix socket: %w; check the path, its length (107 bytes at most) and that its directory is there", err)
	}
	if o.mode == 0 {
		o.mode = 0o777 &^ fs.FileMode(masked)
	}
	if o.uid >= 0 || o.gid >= 0 {
		if err := os.Chown(path, o.uid, o.gid); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot give the unix socket away: %w; only root may set unix_sockets.user, or a group that the agent is not in", err), l.Close())
		}
	}
	if err := os.Chmod(path, o.mode); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot set the mode of the unix socket: %w", err), l.Close())
	}
	return l, nil
}

// vacate removes a socket that nobody listens to any more.
func vacate(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("cannot open the unix socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("cannot open the unix socket: %s is there and no socket: move it away, or set another path", path)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return fmt.Errorf("cannot open the unix socket: another process answers at %s: stop it, or set another path", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("cannot replace the unix socket: %w", err)
	}
	return nil
}

// enoughFiles refuses a limit of connections that the process could not hold: what it would refuse them with is its own
// failure to open files.
func enoughFiles(conns int) error {
	limit, ok := fileLimit()
	if !ok || limit >= uint64(conns)+ownFiles {
		return nil
	}
	return fmt.Errorf("limits.http_max_conns_per_client is %d, but this process may only open %d files; raise that (ulimit -n) or lower the setting", conns, limit)
}

// ownFiles is what an agent opens besides its clients' connections.
const ownFiles = 20
