package operator

import (
	"fmt"
	"time"

	"rostra/kit/store"
	"rostra/kit/wire"
)

//go:generate go tool msgp -file config.go -o config_gen.go -tests=false -io=false -unexported
//msgp:ignore Settings

// Config is how autopilot shall do: one for the datacenter, the row and the JSON of
// /v1/operator/autopilot/configuration.
type Config struct {
	CleanupDeadServers      bool          `msg:"CleanupDeadServers"`
	LastContactThreshold    wire.Duration `msg:"LastContactThreshold"`    // a healthy server has heard from the leader within it
	MaxTrailingLogs         uint64        `msg:"MaxTrailingLogs"`         // a healthy server's log is at most so far behind
	MinQuorum               uint64        `msg:"MinQuorum"`               // so many voters are left at least; 0 sets no bound
	ServerStabilizationTime wire.Duration `msg:"ServerStabilizationTime"` // a server gets its vote when it was healthy for so long
	RedundancyZoneTag       string        `msg:"RedundancyZoneTag"`       // this and the next two are Consul Enterprise's: kept, without effect
	DisableUpgradeMigration bool          `msg:"DisableUpgradeMigration"`
	UpgradeVersionTag       string        `msg:"UpgradeVersionTag"`
	CreateIndex             uint64        `msg:"CreateIndex"`
	ModifyIndex             uint64        `msg:"ModifyIndex"`
}

// defaults are the values of members that a PUT leaves out.
func defaults() Config {
	return Config{CleanupDeadServers: true, LastContactThreshold: wire.Duration(200 * time.Millisecond), MaxTrailingLogs: 250,
		ServerStabilizationTime: wire.Duration(10 * time.Second)}
}

// problem says what cannot be in a Config, "" if nothing is wrong.
func (c *Config) problem() string {
	switch {
	case c.LastContactThreshold < 0:
		return fmt.Sprintf("LastContactThreshold is %s; use a duration of 0s or more", c.LastContactThreshold)
	case c.ServerStabilizationTime < 0:
		return fmt.Sprintf("ServerStabilizationTime is %s; use a duration of 0s or more", c.ServerStabilizationTime)
	}
	return ""
}

// setConfig replaces the configuration. Its Result tells whether it did.
type setConfig struct {
	Config  Config `msg:"Config"`  // its indexes count for nothing
	Compare bool   `msg:"Compare"` // only if the one there has the ModifyIndex Index; 0: if there is none
	Index   uint64 `msg:"Index"`
}

// configs is the table of the one Config.
var configs = store.NewTable[Config]("autopilot", store.Schema[Config]{Key: func(*Config) string { return "" }})

// Settings are autopilot's configuration before anybody has changed it.
type Settings struct {
	CleanupDeadServers      bool          `key:"autopilot.cleanup_dead_servers" default:"true" help:"initially: servers that failed are taken out of Raft"`
	LastContactThreshold    time.Duration `key:"autopilot.last_contact_threshold" default:"200ms" help:"initially: a healthy server has heard from the leader within it"`
	MaxTrailingLogs         int           `key:"autopilot.max_trailing_logs" default:"250" help:"initially: a healthy server's log is at most so many entries behind"`
	MinQuorum               int           `key:"autopilot.min_quorum" default:"0" help:"initially: voters that are left when failed servers are taken out"`
	ServerStabilizationTime time.Duration `key:"autopilot.server_stabilization_time" default:"10s" help:"initially: a new server gets its vote when it was healthy for so long"`
}

// config returns them as a Config; the error names the setting.
func (s *Settings) config() (Config, error) {
	for _, one := range []struct {
		key string
		bad bool
		is  any
	}{
		{"last_contact_threshold", s.LastContactThreshold < 0, s.LastContactThreshold},
		{"max_trailing_logs", s.MaxTrailingLogs < 0, s.MaxTrailingLogs},
		{"min_quorum", s.MinQuorum < 0, s.MinQuorum},
		{"server_stabilization_time", s.ServerStabilizationTime < 0, s.ServerStabilizationTime},
	} {
		if one.bad {
			return Config{}, fmt.Errorf("autopilot.%s is %v; it must not be below 0", one.key, one.is)
		}
	}
	return Config{CleanupDeadServers: s.CleanupDeadServers, LastContactThreshold: wire.Duration(s.LastContactThreshold),
		MaxTrailingLogs: uint64(s.MaxTrailingLogs), MinQuorum: uint64(s.MinQuorum),
		ServerStabilizationTime: wire.Duration(s.ServerStabilizationTime)}, nil
}
