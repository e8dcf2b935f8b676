package agent

import (
	"errors"
	"fmt"
	"time"

	"rostra/engine/server"
)

// Settings are what the agent itself obeys: who it is, where it listens, how it logs. Features and surfaces have their own.
type Settings struct {
	Datacenter  string            `key:"datacenter" flag:"datacenter,dc" default:"dc1" help:"name of the datacenter, lower-case"`
	Primary     string            `key:"primary_datacenter" help:"the datacenter whose access rules count for all; until there are access rules it is only shown. This one if empty"`
	NodeName    string            `key:"node_name" flag:"node" help:"name of this node; the host's name if empty"`
	NodeID      string            `key:"node_id" flag:"node-id" help:"UUID of this node; kept in the data directory if empty"`
	NodeMeta    map[string]string `key:"node_meta" flag:"node-meta" reload:"yes" help:"metadata of this node, k:v"`
	Tagged      map[string]string `key:"tagged_addresses" help:"further addresses of this node by name"`
	Region      string            `key:"locality.region" help:"where this node is, shown with it: the region"`
	Zone        string            `key:"locality.zone" help:"the same: the zone within the region"`
	DisableHost *bool             `key:"disable_host_node_id" flag:"disable-host-node-id" help:"false: a new node ID comes from the machine's, so that it is the same with a new data directory; true if unset"`
	DataDir     string            `key:"data_dir" flag:"data-dir" help:"directory for all that is kept; required without -dev"`
	Server      bool              `key:"server" flag:"server" dev:"true" help:"hold the replicated state"`
	Bootstrap   bool              `key:"bootstrap" flag:"bootstrap" help:"be a cluster of one server"`
	Expect      int               `key:"bootstrap_expect" flag:"bootstrap-expect" help:"number of servers that form the cluster together"`
	RejoinAge   time.Duration     `key:"server_rejoin_age_max" default:"168h" help:"a server that was away for longer does not start, at least 6h"`
	ReadReplica bool              `key:"read_replica" flag:"read-replica,non-voting-server" help:"keep the state without a vote"`

	BindAddr         string `key:"bind_addr" flag:"bind" default:"127.0.0.1" sockaddr:"one" help:"IP address for traffic between agents"`
	ClientAddr       string `key:"client_addr" flag:"client" default:"127.0.0.1" sockaddr:"many" help:"IP addresses of HTTP and DNS, separated by blanks; of HTTP also unix:///path"`
	AdvertiseAddr    string `key:"advertise_addr" flag:"advertise" sockaddr:"one" help:"IP address that others reach this agent at"`
	AdvertiseAddrWAN string `key:"advertise_addr_wan" flag:"advertise-wan" sockaddr:"one" help:"the same for other datacenters"`
	AdvertiseIPv4    string `key:"advertise_addr_ipv4" sockaddr:"one" help:"address lan_ipv4 of this node; advertise_addr if that is one"`
	AdvertiseIPv6    string `key:"advertise_addr_ipv6" sockaddr:"one" help:"address lan_ipv6 of this node; advertise_addr if that is one"`
	AdvertiseWANv4   string `key:"advertise_addr_wan_ipv4" sockaddr:"one" help:"address wan_ipv4 of this node; advertise_addr_wan if that is one"`
	AdvertiseWANv6   string `key:"advertise_addr_wan_ipv6" sockaddr:"one" help:"address wan_ipv6 of this node; advertise_addr_wan if that is one"`
	DNSAddr          string `key:"addresses.dns" sockaddr:"many" help:"IP addresses of DNS; client_addr if empty"`
	HTTPAddr         string `key:"addresses.http" sockaddr:"many" help:"IP addresses and unix:///path of HTTP; client_addr if empty"`
	HTTPSAddr        string `key:"addresses.https" sockaddr:"many" help:"IP addresses and unix:///path of HTTPS; client_addr if empty"`
	DNSPort          int    `key:"ports.dns" flag:"dns-port" default:"8600" help:"DNS port, UDP and TCP; below 1 for none"`
	HTTPPort         int    `key:"ports.http" flag:"http-port" default:"8500" help:"HTTP port; below 1 for none, also on unix sockets"`
	HTTPSPort        int    `key:"ports.https" flag:"https-port" default:"-1" help:"HTTPS port, HTTP/1.1 and HTTP/2; below 1 for none. Needs a certificate: tls.https"`
	ServerPort       int    `key:"ports.server" flag:"server-port" default:"8300" help:"port on which servers are reached by servers and clients"`
	SerfLANPort      int    `key:"ports.serf_lan" flag:"serf-lan-port" default:"8301" help:"gossip port, UDP and TCP"`
	SerfWANPort      int    `key:"ports.serf_wan" flag:"serf-wan-port" default:"8302" help:"gossip port between datacenters; below 1 for none"`

	Unix   unixSettings
	Gossip gossipSettings

	LogLevel    string `key:"log_level" flag:"log-level" default:"INFO" dev:"DEBUG" reload:"yes" help:"TRACE, DEBUG, INFO, WARN or ERR"`
	LogJSON     bool   `key:"log_json" flag:"log-json" help:"log lines as JSON objects"`
	Outlets     outletSettings
	PidFile     string `key:"pid_file" flag:"pid-file" help:"file that holds the process's number while it runs"`
	AutoReload  bool   `key:"auto_reload_config" flag:"auto-reload-config" help:"reload when configuration files, certificates or their keys change"`
	EnableDebug bool   `key:"enable_debug" dev:"true" reload:"yes" help:"serve /debug/pprof/"`

	LeaveOnTerminate *bool `key:"leave_on_terminate" help:"leave gracefully on SIGTERM; clients do, servers do not"`
	SkipLeaveOnInt   *bool `key:"skip_leave_on_interrupt" help:"do not leave on SIGINT; servers do not, clients do"`

	NoPreVote      bool          `key:"raft_prevote_disabled" help:"a server that lost the leader stands for election without asking first whether it could win"`
	RaftMultiplier int           `key:"performance.raft_multiplier" default:"1" help:"scales the election timeouts, 1 to 10"`
	HoldTimeout    time.Duration `key:"performance.rpc_hold_timeout" default:"7s" help:"how long a request waits for a leader"`
	DrainTime      time.Duration `key:"performance.leave_drain_time" default:"5s" help:"how long a leaving server goes on answering"`

	QueryTime    time.Duration `key:"default_query_time" flag:"default-query-time" default:"300s" help:"how long a blocking query waits unless told"`
	MaxQueryTime time.Duration `key:"max_query_time" flag:"max-query-time" default:"600s" help:"how long one may wait at most"`
	MaxStale     time.Duration `key:"discovery_max_stale" help:"allow catalog and health reads to be that stale"`
	Translate    bool          `key:"translate_wan_addrs" help:"answer about other datacenters with the addresses that their nodes and services have for that: tagged wan"`

	MaxConns         int               `key:"limits.http_max_conns_per_client" default:"200" reload:"yes" help:"HTTP connections of one client address"`
	MaxRPCConns      int               `key:"limits.rpc_max_conns_per_client" default:"100" reload:"yes" help:"connections to the server port of one client address"`
	HandshakeTimeout time.Duration     `key:"limits.rpc_handshake_timeout" default:"5s" help:"how long a connection to the server port may take to say what it is"`
	HTTPSHandshake   time.Duration     `key:"limits.https_handshake_timeout" default:"5s" help:"how long the TLS handshake of an HTTPS connection may take"`
	ResponseHeaders  map[string]string `key:"http_config.response_headers" help:"headers of every HTTP response"`
	WriteFrom        []string          `key:"http_config.allow_write_http_from" flag:"allow-write-http-from" help:"networks that may write over HTTP"`
	Block            []string          `key:"http_config.block_endpoints" help:"path prefixes that are answered with 403"`
	MaxHeaderBytes   int               `key:"http_config.max_header_bytes" help:"bytes of a request's headers; 0 is 1 MiB"`
	UseCache         bool              `key:"http_config.use_cache" default:"true" help:"honour ?cached"`
	NoPathFilter     bool              `key:"disable_http_unprintable_char_filter" help:"allow unprintable characters in paths"`
	LegacyGets       bool              `key:"rostra.legacy_get_writes" help:"take by GET, too, the writes that Consul 0.6 took by any method; who can make a browser follow a link can then write"`

	TLS    TLSSettings
	Limits limitSettings
}

// limitSettings bound what servers do for others, and what this agent asks of them.
type limitSettings struct {
	Mode      string        `key:"limits.request_limits.mode" default:"disabled" reload:"yes" help:"what a server does with requests over the rates: disabled counts none, permissive logs and counts them, enforcing refuses them"`
	ReadRate  float64       `key:"limits.request_limits.read_rate" default:"-1" reload:"yes" help:"reads a second that a server does for others, and ten seconds' worth at once; -1 for no bound"`
	WriteRate float64       `key:"limits.request_limits.write_rate" default:"-1" reload:"yes" help:"the same for writes"`
	Rate      float64       `key:"limits.rpc_rate" default:"-1" reload:"yes" help:"calls to servers a second that a client agent makes; -1 for no bound"`
	Burst     int           `key:"limits.rpc_max_burst" default:"1000" reload:"yes" help:"calls to servers that a client agent makes at once"`
	Timeout   time.Duration `key:"limits.rpc_client_timeout" default:"60s" reload:"yes" help:"how long an answer of another server may take, beside the wait of a blocking query; never longer than performance.rpc_hold_timeout and 5 s"`
}

// check refuses limits that nobody could mean. The errors begin with the key.
func (l *limitSettings) check() error {
	var all []error
	switch l.Mode {
	case server.LimitsDisabled, server.LimitsPermissive, server.LimitsEnforcing:
	default:
		all = append(all, fmt.Errorf("limits.request_limits.mode: %q is none; use disabled, permissive or enforcing", l.Mode))
	}
	for _, r := range []struct {
		key  string
		rate float64
	}{{"limits.request_limits.read_rate", l.ReadRate}, {"limits.request_limits.write_rate", l.WriteRate}, {"limits.rpc_rate", l.Rate}} {
		if r.rate == 0 {
			all = append(all, fmt.Errorf("%s: 0 would let nothing through; use -1 for no bound", r.key))
		}
	}
	if l.Burst < 1 {
		all = append(all, fmt.Errorf("limits.rpc_max_burst: %d would let nothing through; use 1 or more", l.Burst))
	}
	if l.Timeout == 0 {
		all = append(all, errors.New("limits.rpc_client_timeout: it must be more than 0; leave it out for the default"))
	}
	return errors.Join(all...)
}

// requests are the limits of a server.
func (l *limitSettings) requests() server.Limits {
	return server.Limits{Mode: l.Mode, Read: l.ReadRate, Write: l.WriteRate}
}
