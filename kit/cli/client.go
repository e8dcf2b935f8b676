package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
)

// Client is the connection flags of one verb: where the agent is and who is asking. Fill it with ClientFlags or
// ServerFlags, read it after parsing.
type Client struct {
	addr, token, tokenFile       string
	caFile, caPath               string
	certFile, keyFile, tlsServer string
	namespace, partition         string
	datacenter                   string
	stale                        bool
}

// ClientFlags declares the flags every verb has that talks to an agent.
func ClientFlags(set *flag.FlagSet) *Client {
	c := new(Client)
	for _, f := range []struct {
		to          *string
		name, usage string
	}{
		{&c.addr, "http-addr", "The `address` and port of the agent's HTTP API: host:port, http://host:port, https://host:port, either with a path prefix, or unix:///path. Default 127.0.0.1:8500; environment CONSUL_HTTP_ADDR."},
		{&c.token, "token", "ACL token to send. Environment CONSUL_HTTP_TOKEN."},
		{&c.tokenFile, "token-file", "File that holds the ACL token; wins over -token. Environment CONSUL_HTTP_TOKEN_FILE."},
		{&c.caFile, "ca-file", "File of CA certificates to trust. Environment CONSUL_CACERT."},
		{&c.caPath, "ca-path", "Directory of CA certificates to trust. Environment CONSUL_CAPATH."},
		{&c.certFile, "client-cert", "Certificate file to show to the agent, with -client-key. Environment CONSUL_CLIENT_CERT."},
		{&c.keyFile, "client-key", "Key file of -client-cert. Environment CONSUL_CLIENT_KEY."},
		{&c.tlsServer, "tls-server-name", "Server name to ask for and to verify over TLS. Environment CONSUL_TLS_SERVER_NAME."},
		{&c.namespace, "namespace", "Namespace; only default exists. Environment CONSUL_NAMESPACE."},
		{&c.partition, "partition", "Admin partition; only default exists. Environment CONSUL_PARTITION."},
	} {
		set.Var((*connectionString)(f.to), f.name, f.usage)
	}
	return c
}

// ServerFlags declares the flags of ClientFlags and those of verbs that are answered by servers.
func ServerFlags(set *flag.FlagSet) *Client {
	c := ClientFlags(set)
	set.Var((*connectionString)(&c.datacenter), "datacenter", "Datacenter to ask. Default: the agent's own.")
	set.Var((*connectionBool)(&c.stale), "stale", "Let any server answer, even one that may be behind the leader.")
	return c
}

// IgnoreRPC declares -rpc-addr for verbs that once spoke the agent's old RPC protocol: scripts of that time still pass
// it. Neither the flag nor CONSUL_RPC_ADDR has an effect.
func IgnoreRPC(set *flag.FlagSet) {
	set.Var((*connectionString)(new(string)), "rpc-addr", "Ignored: the RPC port is gone, see -http-addr.")
}

// Query returns the read options that the flags ask for.
func (c *Client) Query() *api.QueryOptions {
	return &api.QueryOptions{AllowStale: c.stale}
}

// Open returns a client as the flags say and, where they are silent, the call's environment. It does not connect.
func (c *Client) Open(call *Call) (*api.Client, error) {
	env := func(flagged, name string) string {
		if flagged != "" {
			return flagged
		}
		return call.Env(name)
	}
	addr := env(c.addr, api.HTTPAddrEnvName)
	if addr == "" {
		addr = "127.0.0.1:8500"
	}
	token, err := c.secret(call.Env)
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if on, err := envBool(call.Env, api.HTTPSSLEnvName, false); err != nil {
		return nil, err
	} else if on {
		scheme = "https"
	}
	transport, err := c.transport(env, call.Env)
	if err != nil {
		return nil, err
	}
	if path, ok := strings.CutPrefix(addr, "unix://"); ok {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		addr = "localhost"
	}
	// The api package fills whatever is blank from the process's own environment: nothing is left blank, and what it
	// has no other place for is put right in rewrite.
	return api.NewClient(&api.Config{
		Address:    strings.TrimRight(addr, "/"),
		Scheme:     scheme,
		Transport:  transport,
		HttpClient: &http.Client{Transport: &rewrite{base: transport, token: token}},
		Datacenter: c.datacenter,
		HttpAuth:   basicAuth(call.Env(api.HTTPAuthEnvName)),
		Token:      ownToken,
		Namespace:  tenant(env(c.namespace, api.HTTPNamespaceEnvName), api.HTTPNamespaceEnvName),
		Partition:  tenant(env(c.partition, api.HTTPPartitionEnvName), api.HTTPPartitionEnvName),
	})
}

// secret resolves the token: -token-file, -token, the environment's file, the environment's token.
func (c *Client) secret(env func(string) string) (string, error) {
	file := c.tokenFile
	if file == "" {
		if c.token != "" {
			return c.token, nil
		}
		file = env(api.HTTPTokenFileEnvName)
	}
	if file == "" {
		return env(api.HTTPTokenEnvName), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("cannot read token file: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// transport returns the HTTP transport with the trust and the certificates asked for.
func (c *Client) transport(value func(flagged, name string) string, env func(string) string) (*http.Transport, error) {
	verify, err := envBool(env, api.HTTPSSLVerifyEnvName, true)
	if err != nil {
		return nil, err
	}
	conf, err := api.SetupTLSConfig(&api.TLSConfig{
		Address:            value(c.tlsServer, api.HTTPTLSServerName),
		CAFile:             value(c.caFile, api.HTTPCAFile),
		CAPath:             value(c.caPath, api.HTTPCAPath),
		CertFile:           value(c.certFile, api.HTTPClientCert),
		KeyFile:            value(c.keyFile, api.HTTPClientKey),
		InsecureSkipVerify: !verify,
	})
	if err != nil {
		return nil, err
	}
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("cannot set up HTTP: the default transport was replaced")
	}
	t = t.Clone()
	t.TLSClientConfig = conf
	return t, nil
}

// ownToken marks, in requests of the api package, the place of the token that the flags gave.
const ownToken = "-"

// defaultTenant is the only namespace and partition there is; requests do not name it.
const defaultTenant = "default"

// rewrite corrects each request on its way out: the token as resolved, and no mention of the default tenant.
type rewrite struct {
	base  http.RoundTripper
	token string
}

func (r *rewrite) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if req.Header.Get("X-Consul-Token") == ownToken {
		req.Header.Del("X-Consul-Token")
		if r.token != "" {
			req.Header.Set("X-Consul-Token", r.token)
		}
	}
	query := req.URL.Query()
	for _, name := range []string{"ns", "partition"} {
		if query.Get(name) == defaultTenant {
			query.Del(name)
		}
	}
	req.URL.RawQuery = query.Encode()
	return r.base.RoundTrip(req)
}

// tenant is what to tell the api package of a namespace or partition. Blank stays blank, so that the addresses in errors
// are those of the requests, unless the api package would then take one from the process's own environment.
func tenant(asked, variable string) string {
	if asked == "" && os.Getenv(variable) != "" {
		return defaultTenant
	}
	return asked
}

// basicAuth reads "user" or "user:password"; nil for "".
func basicAuth(text string) *api.HttpBasicAuth {
	if text == "" {
		return nil
	}
	user, password, _ := strings.Cut(text, ":")
	return &api.HttpBasicAuth{Username: user, Password: password}
}

// envBool reads a switch of the environment. A word that is neither true nor false is an error: guessing could turn
// verification off.
func envBool(env func(string) string, name string, unset bool) (bool, error) {
	text := env(name)
	if text == "" {
		return unset, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("cannot read %s: %q is neither true nor false", name, text)
	}
	return on, nil
}

// connectionFlag marks the flags that help lists apart from a verb's own.
type connectionFlag interface{ connection() }

type connectionString string

func (s *connectionString) String() string     { return string(*s) }
func (s *connectionString) Set(v string) error { *s = connectionString(v); return nil }
func (s *connectionString) connection()        {}

type connectionBool bool

func (b *connectionBool) String() string   { return strconv.FormatBool(bool(*b)) }
func (b *connectionBool) IsBoolFlag() bool { return true }
func (b *connectionBool) connection()      {}
func (b *connectionBool) Set(v string) error {
	on, err := strconv.ParseBool(v)
	if err != nil {
		// What the flag package says of its own bool flags.
		return errors.New("parse error")
	}
	*b = connectionBool(on)
	return nil
}
