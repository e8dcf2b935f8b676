package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// askVerb asks the agent for the key k and shows its value.
func askVerb(set *flag.FlagSet) func(*Call) int {
	client := ServerFlags(set)
	IgnoreRPC(set)
	return func(c *Call) int {
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		pair, _, err := agent.KV().Get("k", client.Query())
		if err != nil {
			return c.Fail("Error querying Consul agent: %s", err)
		}
		c.Say("%s", pair.Value)
		return 0
	}
}

// echo answers every request with the request itself as the value of a key.
func echo(w http.ResponseWriter, r *http.Request) {
	text := r.URL.RequestURI()
	if token := r.Header.Get("X-Consul-Token"); token != "" {
		text += " token=" + token
	}
	if user, password, ok := r.BasicAuth(); ok {
		text += fmt.Sprintf(" auth=%s/%s", user, password)
	}
	w.Header().Set("X-Consul-Index", "1")
	fmt.Fprintf(w, `[{"Key":"k","Value":%q}]`, base64.StdEncoding.EncodeToString([]byte(text)))
}

// ask runs the verb with an environment and flags, in which $ADDR, $TLS, $SOCK and $DIR stand for what the test made.
func ask(t *testing.T, expand *strings.Replacer, env, args string) (string, int) {
	t.Helper()
	vars := map[string]string{}
	for _, pair := range strings.Fields(expand.Replace(env)) {
		key, value, _ := strings.Cut(pair, "=")
		vars[key] = value
	}
	var out, errs bytes.Buffer
	code := Main("consul", []Verb{{Path: "ask", Flags: askVerb}},
		append([]string{"ask"}, strings.Fields(expand.Replace(args))...), nil, &out, &errs,
		func(name string) string { return vars[name] })
	return strings.TrimSpace(out.String() + errs.String()), code
}

// connections are an environment, flags, and the request that the agent then sees.
var connections = []struct{ env, args, want string }{
	{"CONSUL_HTTP_ADDR=$ADDR", "", "/v1/kv/k"},
	{"CONSUL_HTTP_ADDR=http://$ADDR", "", "/v1/kv/k"},
	{"CONSUL_HTTP_ADDR=nowhere:1", "-http-addr=$ADDR", "/v1/kv/k"},
	{"", "-http-addr http://$ADDR/proxy/a/", "/proxy/a/v1/kv/k"},
	{"", "-http-addr http://$ADDR/", "/v1/kv/k"},
	{"", "-http-addr unix://$SOCK", "/v1/kv/k"},
	{"", "-http-addr https://$TLS -ca-file $DIR/ca.pem", "/v1/kv/k"},
	{"CONSUL_HTTP_SSL=true CONSUL_CACERT=$DIR/ca.pem", "-http-addr $TLS", "/v1/kv/k"},
	{"CONSUL_HTTP_SSL=true CONSUL_CACERT=$DIR/ca.pem", "-http-addr http://$TLS", "/v1/kv/k"}, // http:// does not undo it
	{"CONSUL_HTTP_SSL=1 CONSUL_HTTP_SSL_VERIFY=false", "-http-addr $TLS", "/v1/kv/k"},
	{"CONSUL_HTTP_SSL=1 CONSUL_CACERT=$DIR/ca.pem", "-http-addr $TLS -tls-server-name example.com", "/v1/kv/k"},

	{"CONSUL_HTTP_ADDR=$ADDR", "-stale -datacenter dc2", "/v1/kv/k?dc=dc2&stale="},
	{"CONSUL_HTTP_ADDR=$ADDR", "-namespace default -partition default", "/v1/kv/k"},
	{"CONSUL_HTTP_ADDR=$ADDR CONSUL_PARTITION=default", "", "/v1/kv/k"},
	{"CONSUL_HTTP_ADDR=$ADDR CONSUL_NAMESPACE=a", "-partition b", "/v1/kv/k?ns=a&partition=b"},
	{"CONSUL_HTTP_ADDR=$ADDR CONSUL_HTTP_AUTH=u:p:q", "", "/v1/kv/k auth=u/p:q"},
	{"CONSUL_HTTP_ADDR=$ADDR CONSUL_HTTP_AUTH=u", "", "/v1/kv/k auth=u/"},
	{"CONSUL_HTTP_ADDR=$ADDR CONSUL_RPC_ADDR=x", "-rpc-addr 127.0.0.1:8400", "/v1/kv/k"},

	{"CONSUL_HTTP_ADDR=$ADDR CONSUL_HTTP_TOKEN=e", "", "/v1/kv/k token=e"},
	{"CONSUL_HTTP_ADDR=$ADDR CONSUL_HTTP_TOKEN=e CONSUL_HTTP_TOKEN_FILE=$DIR/env-token", "", "/v1/kv/k token=from-env-file"},
	{"CONSUL_HTTP_ADDR=$ADDR CONSUL_HTTP_TOKEN_FILE=$DIR/env-token", "-token f", "/v1/kv/k token=f"},
	{"CONSUL_HTTP_ADDR=$ADDR", "-token f -token-file $DIR/flag-token", "/v1/kv/k token=from-flag-file"},
	{"CONSUL_HTTP_ADDR=$ADDR", "-token wrong", "/v1/kv/k token=wrong"},
}

// badConnections are those for which there is no request but a complaint.
var badConnections = []struct{ env, args, want string }{
	{"", "-http-addr ftp://$ADDR", "Error connecting to Consul agent: Unknown protocol scheme: ftp"},
	{"CONSUL_HTTP_SSL=yes", "", `Error connecting to Consul agent: cannot read CONSUL_HTTP_SSL: "yes" is neither true nor false`},
	{"CONSUL_HTTP_SSL_VERIFY=no", "", `Error connecting to Consul agent: cannot read CONSUL_HTTP_SSL_VERIFY: "no" is neither true nor false`},
	{"", "-token-file $DIR/none", "Error connecting to Consul agent: cannot read token file: open $DIR/none: no such file or directory"},
	{"", "-client-cert $DIR/ca.pem", "Error connecting to Consul agent: both client cert and client key must be provided"},
}

func TestConnectionFlags(t *testing.T) {
	// The process's own environment must not shine through.
	for _, name := range []string{"CONSUL_HTTP_ADDR", "CONSUL_HTTP_TOKEN", "CONSUL_NAMESPACE", "CONSUL_HTTP_TOKEN_FILE"} {
		t.Setenv(name, "wrong")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"flag-token": "from-flag-file\n", "env-token": " from-env-file "} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plain := httptest.NewServer(http.HandlerFunc(echo))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(echo))
	defer secure.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	sock := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	unix := &http.Server{Handler: http.HandlerFunc(echo)}
	served := make(chan error, 1)
	go func() { served <- unix.Serve(listener) }()
	defer func() { unix.Close(); <-served }()

	expand := strings.NewReplacer("$ADDR", plain.Listener.Addr().String(), "$TLS", secure.Listener.Addr().String(),
		"$SOCK", sock, "$DIR", dir)
	for _, test := range connections {
		t.Run(test.env+" "+test.args, func(t *testing.T) {
			if got, code := ask(t, expand, test.env, test.args); code != 0 || got != test.want {
				t.Errorf("exit %d: %s\nwant %s", code, got, test.want)
			}
		})
	}

	for _, test := range badConnections {
		if got, code := ask(t, expand, test.env, test.args); code != 1 || got != expand.Replace(test.want) {
			t.Errorf("%s %s: exit %d: %s\nwant %s", test.env, test.args, code, got, test.want)
		}
	}
	// Without trust in the certificate nothing is asked.
	got, code := ask(t, expand, "", "-http-addr https://$TLS")
	if code != 1 || !strings.Contains(got, "certificate") {
		t.Errorf("untrusted server: exit %d: %s", code, got)
	}
}

func TestConnectionFlagsInHelp(t *testing.T) {
	out, code := ask(t, strings.NewReplacer(), "", "-h")
	for _, want := range []string{
		"Usage: consul ask\n", "\nHTTP API Options\n\n  -ca-file=<value>\n     File of CA", "\n  -stale\n     Let any",
		"\n  -http-addr=<address>\n     The address and port",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("help lacks %q", want)
		}
	}
	for line := range strings.Lines(out) {
		if len(line) > helpWidth+1 {
			t.Errorf("line too long: %q", line)
		}
	}
	if code != 0 || strings.Contains(out, "Command Options") {
		t.Errorf("exit %d, help:\n%s", code, out)
	}
}
