package config

import (
	"fmt"
	"slices"
	"strings"

	"rostra/kit/tree"
)

// outcome is what becomes of a key of Consul's that no settings struct obeys.
type outcome uint8

const (
	notYet     outcome = iota // refused by name
	guarded                   // refused with a reason: who set it relies on being protected
	ignored                   // accepted with a warning that says why it has no effect
	enterprise                // accepted with Consul's warning
	mesh                      // accepted with a warning
	unopened                  // a listener that needs what is not there; accepted with a warning
	fixed                     // refused but for the values that it has anyway
	segmented                 // refused with Consul's text
)

// row is one key of the table.
type row struct {
	key     string
	outcome outcome
	asksNot []string // values that ask for nothing, so that they do no harm
	why     string
	whole   bool // covers all keys below that have no row of their own
}

// The tables list keys; key=value adds a value that asks for nothing, a final * stands for any ending.

const tableNotYet = `
	server=false datacenter primary_datacenter data_dir node_name node_id disable_host_node_id=true node_meta
	bind_addr client_addr advertise_addr advertise_addr_wan advertise_addr_ipv4 advertise_addr_ipv6
	advertise_addr_wan_ipv4 advertise_addr_wan_ipv6 tagged_addresses translate_wan_addrs=false serf_lan serf_wan
	serf_lan_allowed_cidrs serf_wan_allowed_cidrs bootstrap=false bootstrap_expect=0 rejoin_after_leave=false
	retry_join retry_join_wan retry_interval=30s retry_interval_wan=30s retry_max=0 retry_max_wan=0
	leave_on_terminate=false skip_leave_on_interrupt=true server_rejoin_age_max reconnect_timeout=72h
	reconnect_timeout_wan=72h advertise_reconnect_timeout disable_keyring_file
	domain=consul domain=consul. alt_domain recursors log_level log_json=false log_file log_rotate_bytes=0
	log_rotate_duration=24h log_rotate_max_files=0 enable_syslog=false syslog_facility=LOCAL0 pid_file
	enable_debug=false disable_remote_exec=true disable_coordinates=false disable_http_unprintable_char_filter=false
	session_ttl_min=10s check_update_interval=5m check_output_max_size=4096 discard_check_output=false
	enable_script_checks enable_local_script_checks enable_agent_tls_for_checks=false discovery_max_stale=0s
	default_query_time=300s max_query_time=600s auto_reload_config=false locality.region locality.zone
	unix_sockets.user unix_sockets.group unix_sockets.mode services checks config_entries.bootstrap
	server_name
	addresses.dns addresses.http addresses.https
	ports.dns=8600 ports.http=8500 ports.https=-1 ports.serf_lan=8301 ports.serf_wan=8302 ports.serf_wan=-1 ports.server=8300
	dns_config.allow_stale=true dns_config.max_stale dns_config.node_ttl=0s dns_config.service_ttl
	dns_config.only_passing=false dns_config.enable_truncate=false dns_config.udp_answer_limit=3
	dns_config.a_record_limit=0 dns_config.enable_additional_node_meta_txt=true dns_config.disable_compression=false
	dns_config.soa.refresh=3600 dns_config.soa.retry=600 dns_config.soa.expire=86400 dns_config.soa.min_ttl=0
	dns_config.recursor_strategy=sequential dns_config.recursor_timeout=2s dns_config.use_cache=false
	dns_config.cache_max_age=0s
	http_config.block_endpoints http_config.response_headers http_config.allow_write_http_from
	http_config.use_cache=true http_config.max_header_bytes=0
	performance.raft_multiplier performance.leave_drain_time=5s performance.rpc_hold_timeout=7s
	limits.http_max_conns_per_client=200 limits.https_handshake_timeout=5s limits.rpc_handshake_timeout=5s
	limits.rpc_client_timeout=60s limits.rpc_max_conns_per_client=100 limits.rpc_rate=-1 limits.rpc_max_burst=1000
	limits.kv_max_value_size=524288 limits.txn_max_req_len=524288 limits.request_limits.mode=disabled
	limits.request_limits.read_rate=-1 limits.request_limits.write_rate=-1
	autopilot.cleanup_dead_servers=true autopilot.last_contact_threshold=200ms autopilot.max_trailing_logs=250
	autopilot.min_quorum=0 autopilot.server_stabilization_time=10s
	raft_prevote_disabled=false
	gossip_lan.gossip_interval=200ms gossip_lan.gossip_nodes=3 gossip_lan.probe_interval=1s
	gossip_lan.probe_timeout=500ms gossip_lan.suspicion_mult=4 gossip_lan.retransmit_mult=4
	gossip_wan.gossip_interval=500ms gossip_wan.gossip_nodes=3 gossip_wan.probe_interval=5s
	gossip_wan.probe_timeout=3s gossip_wan.suspicion_mult=6 gossip_wan.retransmit_mult=4
	telemetry.metrics_prefix=consul telemetry.disable_hostname=false telemetry.filter_default=true
	telemetry.prefix_filter telemetry.statsd_address telemetry.statsite_address telemetry.dogstatsd_addr
	telemetry.dogstatsd_tags telemetry.prometheus_retention_time=0s telemetry.prometheus_retention_time=0
	telemetry.retry_failed_connection=true telemetry.enable_host_metrics=false
	telemetry.disable_per_tenancy_usage_metrics=false telemetry.disable_per_tenancy_usage_metrics=true
	ui_config.enabled=false ui_config.dir ui_config.content_path=/ui/ ui_config.metrics_provider
	ui_config.metrics_provider_files ui_config.metrics_provider_options_json ui_config.metrics_proxy.base_url
	ui_config.metrics_proxy.add_headers ui_config.metrics_proxy.path_allowlist ui_config.dashboard_url_templates`

const tableEnterprise = `
	license_* partition read_replica audit reporting snapshot_agent dns_config.prefer_namespace
	autopilot.redundancy_zone_tag autopilot.disable_upgrade_migration autopilot.upgrade_version_tag
	acl.tokens.managed_service_provider acl.msp_disable_bootstrap acl.tokens.msp_disable_bootstrap`

const tableMesh = `
	cloud connect auto_encrypt auto_config peering primary_gateways primary_gateways_interval xds
	default_intention_policy enable_central_service_config performance.enable_xds_load_balancing
	performance.grpc_keepalive_interval=30s performance.grpc_keepalive_timeout=20s
	ports.sidecar_min_port ports.sidecar_max_port ports.expose_min_port ports.expose_max_port
	ports.proxy_min_port ports.proxy_max_port`

const tableACL = `
	acl.enabled=false acl.default_policy=allow acl_datacenter`

const tableACLOff = `
	acl.down_policy acl.token_ttl acl.policy_ttl acl.role_ttl acl.enable_key_list_policy acl.enable_token_replication
	acl.enable_token_persistence acl.disabled_ttl acl.tokens.initial_management acl.tokens.default acl.tokens.agent
	acl.tokens.agent_recovery acl.tokens.replication acl.tokens.config_file_service_registration acl.tokens.dns`

const tableEncrypt = `
	encrypt encrypt_verify_incoming=false encrypt_verify_outgoing=false`

const tableTLS = `
	auto_encrypt.tls=false auto_encrypt.allow_tls=false auto_config.enabled=false
	auto_config.authorization.enabled=false`

const (
	whyACL     = "without it everybody would be let in: remove it only where all who reach this agent may do everything"
	whyEncrypt = "without it gossip would travel unencrypted: remove it only on a network you trust"
	whyTLS     = "without it connections would be neither encrypted nor verified: remove it only on a network you trust"
)

const noGRPC = "gRPC serves the service mesh, which Rostra does not have yet"

// dottedKey is the one key with a dot in its own name.
const dottedKey = "telemetry.disable_compat_1.9"

// ignoredKeys have no effect, each for a reason of its own.
var ignoredKeys = map[string]string{
	"watches":                         "watches come with `watch`, which this version of Rostra does not have yet; the handler is not run",
	"disable_update_check":            "Rostra never calls home; the key has no effect",
	"disable_anonymous_signature":     "Rostra never calls home; the key has no effect",
	"use_streaming_backend":           "how servers and agents exchange changes is not a choice in Rostra; the key has no effect",
	"rpc.enable_streaming":            "how servers and agents exchange changes is not a choice in Rostra; the key has no effect",
	"experiments":                     "Rostra has none of these experiments; the key has no effect",
	"telemetry.circonus_*":            "metrics are not sent to Circonus; the key has no effect",
	"atlas_*":                         "the Atlas service is gone; the key has no effect",
	"deprecated_atlas_config":         "the Atlas service is gone; the key has no effect",
	"raft_logstore":                   "Rostra has one kind of log; the key has no effect",
	"raft_snapshot_threshold":         "when snapshots are cut follows from the bytes of the log; the key has no effect",
	"raft_snapshot_interval":          "when snapshots are cut follows from the bytes of the log; the key has no effect",
	"raft_trailing_logs":              "how much log stays behind a snapshot is counted in bytes; the key has no effect",
	"cache.entry_fetch_max_burst":     "an agent asks servers for what changed, however often it is asked; the key has no effect",
	"cache.entry_fetch_rate":          "an agent asks servers for what changed, however often it is asked; the key has no effect",
	"reap":                            "agents do not reap the children of others; in a container start an init program (docker run --init)",
	"acl_enforce_version_8":           "the key was removed from Consul and has no effect",
	dottedKey:                         "the key was removed from Consul and has no effect; metrics have their present names only",
	"tls_prefer_server_cipher_suites": "the key was removed from Consul and has no effect",
	"retry_join_ec2":                  "the key was removed from Consul and has no effect; use retry_join = [\"provider=aws …\"]",
	"retry_join_gce":                  "the key was removed from Consul and has no effect; use retry_join = [\"provider=gce …\"]",
	"retry_join_azure":                "the key was removed from Consul and has no effect; use retry_join = [\"provider=azure …\"]",
	"addresses.rpc":                   "the command line talks HTTP since Consul 0.8; the key has no effect",
	"ports.rpc":                       "the command line talks HTTP since Consul 0.8; the key has no effect",
	"version":                         "the program sets it; the key has no effect",
	"version_prerelease":              "the program sets it; the key has no effect",
	"version_metadata":                "the program sets it; the key has no effect",
	"revision":                        "the program sets it; the key has no effect",
	"build_date":                      "the program sets it; the key has no effect",
	"ae_interval":                     "the program sets it; the key has no effect",
	"check_deregister_interval_min":   "the program sets it; the key has no effect",
	"check_reap_interval":             "the program sets it; the key has no effect",
	"sync_coordinate_interval_min":    "the program sets it; the key has no effect",
	"sync_coordinate_rate_target":     "the program sets it; the key has no effect",
	"consul":                          "the program sets it; the key has no effect",
}

var (
	table     = makeTable()
	wildcards = wildcardRows()
	groups    = makeGroups()
)

func makeTable() map[string]*row {
	t := map[string]*row{}
	fill := func(text string, proto row) {
		for _, field := range strings.Fields(text) {
			key, value, has := strings.Cut(field, "=")
			r := t[key]
			if r == nil {
				c := proto
				r, c.key = &c, key
				t[key] = r
			}
			if has {
				r.asksNot = append(r.asksNot, value)
			}
		}
	}
	fill(tableNotYet, row{outcome: notYet})
	fill(tableEnterprise, row{outcome: enterprise, whole: true})
	fill(tableMesh, row{outcome: mesh, whole: true})
	fill(tableACL, row{outcome: guarded, why: whyACL})
	fill(tableACLOff, row{outcome: ignored, why: "ACLs are off; the key has no effect"})
	fill(tableEncrypt, row{outcome: guarded, why: whyEncrypt})
	fill(tableTLS, row{outcome: guarded, why: whyTLS})
	fill("segment segments", row{outcome: segmented})
	fill("protocol=2 protocol=3", row{outcome: fixed, why: "agents speak versions 2 and 3: set it to one of them, or remove it"})
	fill("raft_protocol=3", row{outcome: fixed, why: "servers speak version 3: set it to that, or remove it"})
	fill("addresses.grpc addresses.grpc_tls ports.grpc ports.grpc_tls", row{outcome: unopened,
		why: noGRPC})
	for _, stanza := range []string{"defaults", "internal_rpc", "https", "grpc"} {
		of := row{outcome: notYet}
		if stanza == "grpc" {
			of = row{outcome: unopened, why: noGRPC}
		}
		for _, key := range strings.Fields("ca_file ca_path cert_file key_file tls_min_version tls_cipher_suites") {
			fill("tls."+stanza+"."+key, of)
		}
		fill("tls."+stanza+".use_auto_cert=false", row{outcome: mesh})
		for _, key := range strings.Fields("verify_incoming=false verify_outgoing=false verify_server_hostname=false") {
			fill("tls."+stanza+"."+key, row{outcome: guarded, why: whyTLS})
		}
	}
	for _, key := range []string{"tls.https.verify_outgoing", "tls.https.verify_server_hostname"} {
		t[key] = &row{key: key, outcome: ignored, asksNot: []string{"false"}, why: "HTTPS only takes connections in; the key has no effect"}
	}
	for key, why := range ignoredKeys {
		t[key] = &row{key: key, outcome: ignored, why: why, whole: true}
	}
	t["reap"].asksNot = []string{"false"}
	return t
}

func wildcardRows() map[string]*row {
	w := map[string]*row{}
	for key, r := range table {
		if prefix, ok := strings.CutSuffix(key, "*"); ok {
			w[prefix] = r
		}
	}
	return w
}

// makeGroups lists the blocks that hold keys of the table or old names.
func makeGroups() map[string]bool {
	g := map[string]bool{}
	add := func(key string) {
		for cut := strings.LastIndexByte(key, '.'); cut > 0; cut = strings.LastIndexByte(key, '.') {
			key = key[:cut]
			g[key] = true
		}
	}
	for key := range table {
		if key != dottedKey {
			add(key)
		}
	}
	for key := range renamedKeys {
		add(key)
	}
	return g
}

// lookup returns the row of exactly this key, or nil.
func lookup(path string) *row {
	if r := table[path]; r != nil {
		return r
	}
	for prefix, r := range wildcards {
		if rest, ok := strings.CutPrefix(path, prefix); ok && rest != "" && !strings.Contains(rest, ".") {
			return r
		}
	}
	return nil
}

// above returns the row of the nearest block around the key that covers all below it, or nil.
func above(path string) *row {
	for cut := strings.LastIndexByte(path, '.'); cut > 0; cut = strings.LastIndexByte(path, '.') {
		path = path[:cut]
		if r := lookup(path); r != nil && r.whole {
			return r
		}
	}
	return nil
}

// knownKeys lists what may be written, for suggestions.
func knownKeys() []string {
	keys := slices.Concat(sorted(table), sorted(renamedKeys), sorted(single))
	return slices.DeleteFunc(keys, func(k string) bool { return strings.HasSuffix(k, "*") })
}

// fate applies the table to a key that nobody obeys: nil where it does no harm, perhaps with a warning. name is the key
// as written, path as understood.
func (l *loader) fate(src source, name, path string, r *row, n *tree.Node, line int) error {
	if n.Empty() || slices.Contains(r.asksNot, strings.ToLower(n.Literal())) || slices.Contains(r.asksNot, n.Literal()) {
		return nil
	}
	if !strings.EqualFold(name, path) {
		name = fmt.Sprintf("%s (%s)", name, path)
	}
	at := src.at(line)
	switch r.outcome {
	case guarded:
		return fmt.Errorf("%s: %s is not supported by this version of Rostra yet, and %s", at, name, r.why)
	case notYet:
		return fmt.Errorf("%s: %s is not supported by this version of Rostra yet: remove it to run without it", at, name)
	case fixed:
		return fmt.Errorf("%s: %s: %s", at, name, r.why)
	case segmented:
		return fmt.Errorf("%s: %s: Network segments are not supported in this version of Consul: remove it", at, name)
	case ignored:
		l.warn(src, line, strings.TrimPrefix(name+": ", "watches: ")+r.why)
	case enterprise:
		l.warn(src, line, fmt.Sprintf("%q is a Consul Enterprise configuration and will have no effect", name))
	case mesh:
		if !n.Off() {
			l.warn(src, line, name+": the service mesh is not part of this version of Rostra; the key has no effect")
		}
	case unopened:
		if !strings.HasPrefix(n.Literal(), "-") && n.Literal() != "0" {
			l.warn(src, line, name+": "+r.why+"; the port is not opened")
		}
	}
	return nil
}
