package tls

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"rostra/kit/cert"
	"rostra/kit/cli"
	"rostra/kit/disk"
)

// Verbs returns the commands that make certificates. They work on files of the current directory and ask no agent.
func Verbs() []cli.Verb {
	return []cli.Verb{
		{Path: "tls", Summary: "Makes CAs and certificates", Help: `
Makes what agents need to encrypt and verify their connections: a certificate
authority, and certificates that it signs for servers, clients and command lines.

    $ {name} tls ca create
    $ {name} tls cert create -server -dc=dc1`},
		{Path: "tls ca", Summary: "Makes a certificate authority", Help: `
    $ {name} tls ca create`},
		{Path: "tls ca create", Summary: "Makes a certificate authority", Usage: "[options]", Flags: verbCA, Help: `
Makes a certificate authority and writes its certificate and key to the current
directory. Every agent needs the certificate. The key makes certificates: keep
it off the agents' machines, since who has it can become a server.

    $ {name} tls ca create -domain=consul`},
		{Path: "tls cert", Summary: "Makes certificates", Help: `
    $ {name} tls cert create -server`},
		{Path: "tls cert create", Summary: "Makes a certificate", Usage: "-server | -client | -cli [options]", Flags: verbCert, Help: `
Makes a certificate and its key, signed by the authority whose files are in the
current directory or named, and writes them there under the first free number.

    $ {name} tls cert create -server -dc=dc1
    $ {name} tls cert create -client -dc=dc1 -additional-dnsname=web.example.com`},
	}
}

// backdate is how far clocks of two machines may differ and a new certificate still be good at once.
const backdate = time.Minute

// maxDays keeps the end inside the years that a certificate can say.
const maxDays = 36500

// lifetime returns when a certificate made now begins and ends.
func lifetime(days int) (from, until time.Time, err error) {
	if days < 1 || days > maxDays {
		return from, until, fmt.Errorf("-days must be between 1 and %d, not %d", maxDays, days)
	}
	now := time.Now()
	return now.Add(-backdate), now.AddDate(0, 0, days), nil
}

// subject is what both kinds of certificates begin with.
func subject(days int) (s cert.Subject, err error) {
	if s.From, s.Until, err = lifetime(days); err != nil {
		return s, err
	}
	s.Serial, err = cert.NewSerial()
	return s, err
}

// domainName checks a name that becomes part of a file's name and of a certificate, and returns it without a last dot.
func domainName(flag, name string) (string, error) {
	name = strings.TrimSuffix(name, ".")
	if !validName(name) {
		return "", fmt.Errorf("%s: %q is no DNS name: use letters, digits, dashes and dots", flag, name)
	}
	return name, nil
}

func validName(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		bad := func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, bad) || label[0] == '-' {
			return false
		}
	}
	return true
}

func verbCA(set *flag.FlagSet) func(*cli.Call) int {
	days := set.Int("days", 1825, "How many `days` the CA is valid. Default: 1825.")
	domain := set.String("domain", "consul", "The cluster's `domain`. Default: consul.")
	name := set.String("common-name", "", "Common `name` of the CA; \"Consul Agent CA\" and its serial number if empty.")
	cluster := set.String("cluster-id", "", "The cluster's `id`, for the URI in the CA's certificate.")
	constrain := set.Bool("name-constraint", false, "Let the CA sign names of the domain, localhost and -additional-name-constraint only. Cannot be changed later.")
	var further cli.List
	set.Var(&further, "additional-name-constraint", "Further `domain` that a CA with -name-constraint may sign; may be repeated.")
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		zone, err := domainName("-domain", *domain)
		if err != nil {
			return c.Fail("%v", err)
		}
		s, err := subject(*days)
		if err != nil {
			return c.Fail("%v", err)
		}
		if s.Name = *name; s.Name == "" {
			s.Name = fmt.Sprintf("Consul Agent CA %d", s.Serial)
		}
		if *cluster != "" {
			if !validName(*cluster) {
				return c.Fail("-cluster-id: %q cannot stand in a URI: use letters, digits and dashes", *cluster)
			}
			s.URIs = []*url.URL{{Scheme: "spiffe", Host: *cluster + "." + zone}}
		}
		switch {
		case *constrain:
			for _, d := range further {
				allowed, err := domainName("-additional-name-constraint", strings.TrimPrefix(d, "."))
				if err != nil {
					return c.Fail("%v", err)
				}
				s.Permitted = append(s.Permitted, allowed)
			}
			s.Permitted = append(s.Permitted, "localhost", zone)
		case len(further) > 0:
			return c.Fail("-additional-name-constraint has no effect without -name-constraint: give both")
		}
		pair, err := cert.NewAuthority(s)
		if err != nil {
			return c.Fail("%v", err)
		}
		if err := save(c, zone+"-agent-ca", pair); err != nil {
			return c.Fail("%v", err)
		}
		return 0
	}
}

// warning is for who makes a server's certificate.
const warning = `==> WARNING: whoever holds the key of a server certificate can become a
    server and read all that the cluster keeps, ACL tokens too. Bring it to
    the machines of servers only, and guard it as well as the key of the CA.`

// order is what tls cert create was asked for.
type order struct {
	server, client, cli bool
	days                int
	dc, domain, node    string
	ca, key             string
	names, addresses    cli.List
}

func verbCert(set *flag.FlagSet) func(*cli.Call) int {
	var o order
	set.BoolVar(&o.server, "server", false, "Make a server's certificate.")
	set.BoolVar(&o.client, "client", false, "Make a client agent's certificate.")
	set.BoolVar(&o.cli, "cli", false, "Make a certificate for the command line.")
	set.IntVar(&o.days, "days", 365, "How many `days` the certificate is valid. Default: 365.")
	set.StringVar(&o.dc, "dc", "dc1", "The agent's `datacenter`. Default: dc1.")
	set.StringVar(&o.domain, "domain", "consul", "The cluster's `domain`. Default: consul.")
	set.StringVar(&o.node, "node", "", "The server's `node` name, for a certificate that bears it too.")
	set.StringVar(&o.ca, "ca", "#DOMAIN#-agent-ca.pem", "The `file` of the CA's certificate; #DOMAIN# stands for the domain. Default: #DOMAIN#-agent-ca.pem.")
	set.StringVar(&o.key, "key", "#DOMAIN#-agent-ca-key.pem", "The `file` of the CA's key; #DOMAIN# stands for the domain. Default: #DOMAIN#-agent-ca-key.pem.")
	set.Var(&o.names, "additional-dnsname", "Further DNS `name`; localhost is always there; may be repeated.")
	set.Var(&o.addresses, "additional-ipaddress", "Further IP `address`; 127.0.0.1 is there without, but for -cli; may be repeated.")
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		if err := o.run(c); err != nil {
			return c.Fail("%v", err)
		}
		return 0
	}
}

func (o *order) run(c *cli.Call) error {
	kind, err := o.kind()
	if err != nil {
		return err
	}
	s, err := o.subject(kind)
	if err != nil {
		return err
	}
	place := strings.NewReplacer("#DOMAIN#", o.domain)
	caFile, keyFile := place.Replace(o.ca), place.Replace(o.key)
	authority, err := readAuthority(caFile, keyFile)
	if err != nil {
		return err
	}
	pair, err := authority.Issue(s)
	if err != nil {
		return fmt.Errorf("%s: %w", caFile, err)
	}
	if o.server {
		c.Say("%s", warning)
	}
	c.Say("==> Using %s and %s", caFile, keyFile)
	if s.Until.After(authority.Until()) {
		c.Say("==> WARNING: %s ends on %s, and nobody accepts this certificate after that", caFile, authority.Until().UTC().Format(time.DateOnly))
	}
	return save(c, firstFree(fmt.Sprintf("%s-%s-%s", o.dc, kind, o.domain)), pair)
}

func (o *order) kind() (string, error) {
	var kinds []string
	for name, on := range map[string]bool{"server": o.server, "client": o.client, "cli": o.cli} {
		if on {
			kinds = append(kinds, name)
		}
	}
	switch {
	case len(kinds) != 1:
		return "", errors.New("give one of -server, -client and -cli")
	case o.node != "" && !o.server:
		return "", errors.New("-node needs -server: only a server's certificate bears its node's name")
	}
	return kinds[0], nil
}

// subject checks the order and returns what the certificate will say.
func (o *order) subject(kind string) (s cert.Subject, err error) {
	if o.domain, err = domainName("-domain", o.domain); err != nil {
		return s, err
	}
	if !validName(o.dc) || strings.Contains(o.dc, ".") {
		return s, fmt.Errorf("-dc: %q is no name of a datacenter: use letters, digits and dashes", o.dc)
	}
	if s, err = subject(o.days); err != nil {
		return s, err
	}
	for _, name := range o.names {
		host, err := domainName("-additional-dnsname", strings.TrimPrefix(name, "*."))
		if err != nil {
			return s, err
		}
		if strings.HasPrefix(name, "*.") {
			host = "*." + host
		}
		s.DNS = append(s.DNS, host)
	}
	for _, text := range o.addresses {
		ip := net.ParseIP(text)
		if ip == nil {
			return s, fmt.Errorf("-additional-ipaddress: %q is no IP address", text)
		}
		s.IPs = append(s.IPs, ip)
	}
	s.Name = fmt.Sprintf("%s.%s.%s", kind, o.dc, o.domain)
	if o.node != "" {
		node, err := domainName("-node", o.node)
		if err != nil {
			return s, err
		}
		s.DNS = append(s.DNS, node+"."+s.Name)
	}
	s.DNS = unique(append(s.DNS, s.Name, "localhost"))
	if s.Peer = !o.cli; s.Peer {
		s.IPs = append(s.IPs, net.IPv4(127, 0, 0, 1))
	}
	return s, nil
}

func unique(names []string) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func readAuthority(caFile, keyFile string) (*cert.Authority, error) {
	var read [2][]byte
	for i, name := range []string{caFile, keyFile} {
		data, err := disk.ReadFile(disk.OS(), name)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("cannot read %s: it does not exist: make a CA with tls ca create, or name it with -ca and -key", name)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", name, err)
		}
		read[i] = data
	}
	a, err := cert.ReadAuthority(cert.Pair{Cert: read[0], Key: read[1]})
	if err != nil {
		return nil, fmt.Errorf("cannot sign with %s and %s: %w", caFile, keyFile, err)
	}
	return a, nil
}

func pairFiles(base string) (certFile, keyFile string) { return base + ".pem", base + "-key.pem" }

// firstFree returns the name with the first number whose files are both not there.
func firstFree(name string) string {
	for n := 0; ; n++ {
		base := fmt.Sprintf("%s-%d", name, n)
		if certFile, keyFile := pairFiles(base); !exists(certFile) && !exists(keyFile) {
			return base
		}
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// save writes a certificate and its key to new files.
func save(c *cli.Call, base string, pair cert.Pair) error {
	certFile, keyFile := pairFiles(base)
	for _, name := range []string{certFile, keyFile} {
		if exists(name) {
			return fmt.Errorf("%s already exists: move it away first, nothing is overwritten", name)
		}
	}
	fs := disk.OS()
	if err := create(fs, keyFile, pair.Key, 0o600); err != nil {
		return err
	}
	if err := create(fs, certFile, pair.Cert, 0o644); err != nil {
		return errors.Join(err, fs.Remove(keyFile)) // without its certificate it is of no use and in the way
	}
	if err := fs.SyncDir("."); err != nil {
		return fmt.Errorf("cannot write %s: %w", certFile, err)
	}
	c.Say("==> Saved %s", certFile)
	c.Say("==> Saved %s", keyFile)
	return nil
}

// create writes a file that must not be there yet, and removes it again if that fails.
func create(fs disk.FS, name string, data []byte, perm os.FileMode) error {
	f, err := fs.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("cannot write %s: %w", name, err), fs.Remove(name))
	}
	return nil
}
