package local

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/hashicorp/consul/api"

	"rostra/feature/local/definition"
	"rostra/kit/cli"
)

// Verbs returns the commands about what the agent asked runs: its services, and whether they are in use.
func Verbs() []cli.Verb {
	return []cli.Verb{
		{Path: "maint", Summary: "Takes the node or a service out of use and back", Usage: "[options]", Flags: verbMaint, Help: `
Puts the agent's node, or one of its services, into maintenance: its instances
are critical and DNS leaves them out, until it is disabled again, also over a
restart. Without -enable and -disable it prints what is in maintenance.

    $ {name} maint -enable -reason="new disk"
    $ {name} maint -disable -service=web`},
		{Path: "services", Summary: "Registers and removes services of the agent", Help: `
Registers services with the agent asked, or removes them:

    $ {name} services register web.json
    $ {name} services deregister -id=web`},
		{Path: "services register", Summary: "Registers services", Usage: "[options] [FILE...]", Flags: verbRegister, Also: []string{"services add", "services create"},
			Help: `
Registers the services of configuration files (HCL or JSON, with "service" or
"services"), or the one that the flags describe. The agent keeps it over a
restart. Checks can only come from files. The file - is standard input.

    $ {name} services register web.json
    $ {name} services register -name=web -port=80 -tag=v2`},
		{Path: "services deregister", Summary: "Removes services", Usage: "[options] [FILE...]", Flags: verbDeregister, Also: []string{"services delete", "services remove", "services rm", "services unregister"},
			Help: `
Removes the service with the given ID, or those of configuration files. Services
that were defined in the agent's own files come back with its next start.

    $ {name} services deregister -id=web`},
	}
}

// stanzaFlags are the flags that describe a service.
type stanzaFlags struct {
	id, name, address, socket, kind string
	port                            int
	tags                            cli.List
	meta, tagged                    cli.Pairs
}

func verbRegister(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ClientFlags(set)
	f := new(stanzaFlags)
	set.StringVar(&f.id, "id", "", "`ID` of the service; its name by default.")
	set.StringVar(&f.name, "name", "", "`Name` of the service.")
	set.StringVar(&f.address, "address", "", "`IP or host` of the service without port; the agent's by default.")
	set.IntVar(&f.port, "port", 0, "`Port` of the service.")
	set.StringVar(&f.socket, "socket", "", "`Path` of the Unix socket of the service, instead of address and port.")
	set.StringVar(&f.kind, "kind", "", "`Kind` of the service.")
	set.Var(&f.meta, "meta", "Metadata `key=value`; may be repeated.")
	set.Var(&f.tags, "tag", "`Tag` of the service; may be repeated.")
	set.Var(&f.tagged, "tagged-address", "Further address `name=address:port`; may be repeated.")
	return func(c *cli.Call) int {
		stanzas, err := f.stanzas(c)
		if err != nil {
			return c.Fail("Error: %s", err)
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		for _, s := range stanzas {
			// The token of a service in a file is the one the agent uses for it: the API takes it from the request.
			options := &api.WriteOptions{Token: s.Token}
			if _, err := agent.Raw().Write("/v1/agent/service/register", s.Raw, nil, options); err != nil {
				return c.Fail("Error registering service %q: %s", s.Name, err)
			}
			c.Say("Registered service: %s", s.Name)
		}
		return 0
	}
}

// stanzas returns the services of the files, or the one of the flags if there are no files.
func (f *stanzaFlags) stanzas(c *cli.Call) ([]*definition.ServiceText, error) {
	s, paths := map[string]any{}, c.Args
	put := func(key string, value any, set bool) {
		if set {
			s[key] = value
		}
	}
	put("ID", f.id, f.id != "")
	put("Name", f.name, f.name != "")
	put("Address", f.address, f.address != "")
	put("Port", f.port, f.port != 0)
	put("SocketPath", f.socket, f.socket != "")
	put("Kind", f.kind, f.kind != "")
	put("Tags", f.tags, len(f.tags) > 0)
	put("Meta", f.meta, len(f.meta) > 0)
	switch {
	case len(paths) > 0 && len(s)+len(f.tagged) > 0:
		return nil, fmt.Errorf("give either files or flags that describe the service, not both")
	case len(paths) > 0:
		return readStanzas(c, paths)
	case f.name == "":
		return nil, fmt.Errorf("give a file, or at least -name")
	}
	if err := bareHost(f.address); err != nil {
		return nil, err
	}
	tagged := map[string]api.ServiceAddress{}
	for name, text := range f.tagged {
		address, err := taggedAddress(text)
		if err != nil {
			return nil, fmt.Errorf("cannot read -tagged-address %s: %w", name, err)
		}
		tagged[name] = address
	}
	put("TaggedAddresses", tagged, len(tagged) > 0)
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	t, err := definition.ReadService(raw)
	return []*definition.ServiceText{t}, err
}

// bareHost refuses an address that carries a port.
func bareHost(address string) error {
	if _, err := netip.ParseAddr(address); err == nil || !strings.Contains(address, ":") {
		return nil
	}
	return fmt.Errorf("-address must be an IP address or a host name without port, not %q", address)
}

// taggedAddress reads "address:port", or an address alone.
func taggedAddress(text string) (api.ServiceAddress, error) {
	if _, err := netip.ParseAddr(text); err == nil || !strings.Contains(text, ":") {
		return api.ServiceAddress{Address: text}, nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return api.ServiceAddress{}, err
	}
	number, err := net.LookupPort("tcp", port)
	return api.ServiceAddress{Address: host, Port: number}, err
}

func verbDeregister(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ClientFlags(set)
	id := set.String("id", "", "`ID` of the service.")
	return func(c *cli.Call) int {
		ids := []string{*id}
		switch {
		case *id != "" && len(c.Args) > 0:
			return c.Fail("Error: give either files or -id, not both")
		case *id == "" && len(c.Args) == 0:
			return c.Fail("Error: give a file or -id")
		case *id == "":
			stanzas, err := readStanzas(c, c.Args)
			if err != nil {
				return c.Fail("Error: %s", err)
			}
			ids = ids[:0]
			for _, s := range stanzas {
				ids = append(ids, s.ID)
			}
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		for _, id := range ids {
			if err := agent.Agent().ServiceDeregister(id); err != nil {
				return c.Fail("Error deregistering service %q: %s", id, err)
			}
			c.Say("Deregistered service: %s", id)
		}
		return 0
	}
}

// readStanzas returns the services of configuration files, "-" being standard input. Other settings in them are none of its
// business.
func readStanzas(c *cli.Call, paths []string) ([]*definition.ServiceText, error) {
	var all []*definition.ServiceText
	var wrong []error
	for _, path := range paths {
		name, format := path, ""
		read := os.ReadFile
		if path == "-" {
			name, format = "standard input", "hcl"
			read = func(string) ([]byte, error) { return io.ReadAll(c.In) }
		}
		b, err := read(path)
		if err != nil {
			return nil, fmt.Errorf("cannot read service file: %w", err)
		}
		found, err := definition.ReadServices(b, name, format)
		if err != nil {
			wrong = append(wrong, err)
		}
		all = append(all, found...)
	}
	switch {
	case len(wrong) > 0:
		return nil, errors.Join(wrong...)
	case len(all) == 0:
		return nil, fmt.Errorf("no service in %s", strings.Join(paths, ", "))
	}
	return all, nil
}
