package config

import (
	"net"

	"rostra/kit/tree"
)

// renamed is what an old key stands for today.
type renamed struct {
	to      string
	convert func(*tree.Node) *tree.Node
}

func same(n *tree.Node) *tree.Node { return n }

// asList makes a list of the one value that the old key took.
func asList(n *tree.Node) *tree.Node {
	if n.Kind != tree.Text {
		return n
	}
	return &tree.Node{Kind: tree.List, Line: n.Line, Items: []*tree.Node{n}}
}

// hostOf drops the port: nothing advertises one any more.
func hostOf(n *tree.Node) *tree.Node {
	s, ok := n.Val.(string)
	if !ok {
		return n
	}
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	return &tree.Node{Kind: tree.Text, Line: n.Line, Val: s}
}

// tlsVersion turns the spelling of the old top-level key into that of the tls block.
func tlsVersion(n *tree.Node) *tree.Node {
	now, ok := map[string]string{"tls10": "TLSv1_0", "tls11": "TLSv1_1", "tls12": "TLSv1_2", "tls13": "TLSv1_3"}[n.Literal()]
	if !ok {
		return n
	}
	return &tree.Node{Kind: tree.Text, Line: n.Line, Val: now}
}

// renamedKeys are the deprecated names of Consul 0.6 to 1.21. The new name wins where a source has both; lists append.
var renamedKeys = map[string]renamed{
	"acl_default_policy":         {"acl.default_policy", same},
	"acl_down_policy":            {"acl.down_policy", same},
	"acl_ttl":                    {"acl.token_ttl", same},
	"acl_master_token":           {"acl.tokens.initial_management", same},
	"acl_token":                  {"acl.tokens.default", same},
	"acl_agent_token":            {"acl.tokens.agent", same},
	"acl_agent_master_token":     {"acl.tokens.agent_recovery", same},
	"acl_replication_token":      {"acl.tokens.replication", same},
	"enable_acl_replication":     {"acl.enable_token_replication", same},
	"acl_enable_key_list_policy": {"acl.enable_key_list_policy", same},
	"acl.tokens.master":          {"acl.tokens.initial_management", same},
	"acl.tokens.agent_master":    {"acl.tokens.agent_recovery", same},

	"ca_file":                {"tls.defaults.ca_file", same},
	"ca_path":                {"tls.defaults.ca_path", same},
	"cert_file":              {"tls.defaults.cert_file", same},
	"key_file":               {"tls.defaults.key_file", same},
	"tls_cipher_suites":      {"tls.defaults.tls_cipher_suites", same},
	"tls_min_version":        {"tls.defaults.tls_min_version", tlsVersion},
	"verify_incoming":        {"tls.defaults.verify_incoming", same},
	"verify_outgoing":        {"tls.defaults.verify_outgoing", same},
	"verify_incoming_https":  {"tls.https.verify_incoming", same},
	"verify_incoming_rpc":    {"tls.internal_rpc.verify_incoming", same},
	"verify_server_hostname": {"tls.internal_rpc.verify_server_hostname", same},

	"non_voting_server":        {"read_replica", same},
	"recursor":                 {"recursors", asList},
	"start_join":               {"retry_join", same},
	"start_join_wan":           {"retry_join_wan", same},
	"advertise_addrs.serf_lan": {"advertise_addr", hostOf},
	"advertise_addrs.serf_wan": {"advertise_addr_wan", hostOf},
	"advertise_addrs.rpc":      {"advertise_addr", hostOf},
	"raft_boltdb":              {"raft_logstore.boltdb", same},

	"ui":                        {"ui_config.enabled", same},
	"ui_dir":                    {"ui_config.dir", same},
	"ui_content_path":           {"ui_config.content_path", same},
	"http_api_response_headers": {"http_config.response_headers", same},
	"statsd_addr":               {"telemetry.statsd_address", same},
	"statsite_addr":             {"telemetry.statsite_address", same},
	"statsite_prefix":           {"telemetry.metrics_prefix", same},
	"telemetry.statsite_prefix": {"telemetry.metrics_prefix", same},
	"dogstatsd_addr":            {"telemetry.dogstatsd_addr", same},
	"dogstatsd_tags":            {"telemetry.dogstatsd_tags", same},
}

// single keys hold one definition that joins the list of its own source.
var single = map[string]string{"service": "services", "check": "checks"}

// watchKeys are those of a watch that lies at the top of a file instead of in watches.
var watchKeys = map[string]bool{"type": true, "key": true, "prefix": true, "handler": true, "handler_type": true,
	"args": true, "http_handler_config": true, "state": true, "tag": true, "passingonly": true, "name": true}

// consulFlag is a flag of Consul's agent by the key that it sets; a settings struct that names the flag comes first.
type consulFlag struct {
	key        string
	bool, list bool
}

var consulFlags = map[string]consulFlag{
	"advertise":                  {key: "advertise_addr"},
	"advertise-wan":              {key: "advertise_addr_wan"},
	"allow-write-http-from":      {key: "http_config.allow_write_http_from", list: true},
	"alt-domain":                 {key: "alt_domain"},
	"auto-reload-config":         {key: "auto_reload_config", bool: true},
	"bind":                       {key: "bind_addr"},
	"bootstrap":                  {key: "bootstrap", bool: true},
	"bootstrap-expect":           {key: "bootstrap_expect"},
	"check_output_max_size":      {key: "check_output_max_size"},
	"client":                     {key: "client_addr"},
	"data-dir":                   {key: "data_dir"},
	"datacenter":                 {key: "datacenter"},
	"dc":                         {key: "datacenter"},
	"default-query-time":         {key: "default_query_time"},
	"disable-host-node-id":       {key: "disable_host_node_id", bool: true},
	"disable-keyring-file":       {key: "disable_keyring_file", bool: true},
	"dns-port":                   {key: "ports.dns"},
	"domain":                     {key: "domain"},
	"enable-local-script-checks": {key: "enable_local_script_checks", bool: true},
	"enable-script-checks":       {key: "enable_script_checks", bool: true},
	"encrypt":                    {key: "encrypt"},
	"grpc-port":                  {key: "ports.grpc"},
	"grpc-tls-port":              {key: "ports.grpc_tls"},
	"http-port":                  {key: "ports.http"},
	"https-port":                 {key: "ports.https"},
	"log-file":                   {key: "log_file"},
	"log-json":                   {key: "log_json", bool: true},
	"log-level":                  {key: "log_level"},
	"log-rotate-bytes":           {key: "log_rotate_bytes"},
	"log-rotate-duration":        {key: "log_rotate_duration"},
	"log-rotate-max-files":       {key: "log_rotate_max_files"},
	"max-query-time":             {key: "max_query_time"},
	"node":                       {key: "node_name"},
	"node-id":                    {key: "node_id"},
	"node-meta":                  {key: "node_meta"},
	"pid-file":                   {key: "pid_file"},
	"primary-gateway":            {key: "primary_gateways", list: true},
	"protocol":                   {key: "protocol"},
	"raft-protocol":              {key: "raft_protocol"},
	"read-replica":               {key: "read_replica", bool: true},
	"recursor":                   {key: "recursors", list: true},
	"rejoin":                     {key: "rejoin_after_leave", bool: true},
	"retry-interval":             {key: "retry_interval"},
	"retry-interval-wan":         {key: "retry_interval_wan"},
	"retry-join":                 {key: "retry_join", list: true},
	"retry-join-wan":             {key: "retry_join_wan", list: true},
	"retry-max":                  {key: "retry_max"},
	"retry-max-wan":              {key: "retry_max_wan"},
	"segment":                    {key: "segment"},
	"serf-lan-allowed-cidrs":     {key: "serf_lan_allowed_cidrs", list: true},
	"serf-lan-bind":              {key: "serf_lan"},
	"serf-lan-port":              {key: "ports.serf_lan"},
	"serf-wan-allowed-cidrs":     {key: "serf_wan_allowed_cidrs", list: true},
	"serf-wan-bind":              {key: "serf_wan"},
	"serf-wan-port":              {key: "ports.serf_wan"},
	"server":                     {key: "server", bool: true},
	"server-port":                {key: "ports.server"},
	"syslog":                     {key: "enable_syslog", bool: true},
	"ui":                         {key: "ui_config.enabled", bool: true},
	"ui-content-path":            {key: "ui_config.content_path"},
	"ui-dir":                     {key: "ui_config.dir"},
}

// renamedFlags are old names that print a deprecation.
var renamedFlags = map[string]string{"join": "retry-join", "join-wan": "retry-join-wan", "non-voting-server": "read-replica"}

// deadFlags are beginnings of names that old scripts still write.
var deadFlags = map[string]string{
	"atlas":             "the Atlas service is gone; the flag has no effect",
	"ui-beta":           "there is one UI; the flag has no effect",
	"retry-join-ec2-":   "the flag was removed from Consul and has no effect; use -retry-join \"provider=aws …\"",
	"retry-join-gce-":   "the flag was removed from Consul and has no effect; use -retry-join \"provider=gce …\"",
	"retry-join-azure-": "the flag was removed from Consul and has no effect; use -retry-join \"provider=azure …\"",
}
