// Package local is what this agent itself runs: the services and checks that configuration files and the HTTP API
// register here, their check runners, maintenance modes, the files that keep them over a restart, and the anti-entropy
// that makes the catalog agree with them.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"rostra/engine/room"
	"rostra/engine/shelf"
	"rostra/feature/event"
	"rostra/feature/local/definition"
)

// Settings are the agent's settings for what runs on it.
type Settings struct {
	Services           []room.Definition `key:"services" reload:"yes" help:"services of this agent"`
	Checks             []room.Definition `key:"checks" reload:"yes" help:"checks of this agent"`
	EnableScripts      *bool             `key:"enable_script_checks" flag:"enable-script-checks" help:"allow script checks, also from the HTTP API"`
	EnableLocalScripts *bool             `key:"enable_local_script_checks" flag:"enable-local-script-checks" help:"allow script checks from configuration files"`
	AgentTLS           bool              `key:"enable_agent_tls_for_checks" help:"http, tcp, grpc and h2ping checks present this agent's certificate and trust its CAs (tls.internal_rpc) instead of the system's"`
	UpdateInterval     time.Duration     `key:"check_update_interval" default:"5m" help:"how long an unchanged status may keep a new output from the catalog"`
	OutputMaxSize      int               `key:"check_output_max_size" flag:"check_output_max_size" default:"4096" help:"bytes of a check's output that are kept"`
	DiscardOutput      bool              `key:"discard_check_output" reload:"yes" help:"keep no output of checks"`
}

// Room is the local feature.
var Room = room.Room{
	Name:     "local",
	Settings: func() any { return &Settings{UpdateInterval: 5 * time.Minute, OutputMaxSize: 4096} },
	Verbs:    Verbs(),
	Open:     open,
}

func open(h *room.Host, settings any) (*room.Part, error) {
	k, err := openKeeper(h, settings.(*Settings))
	if err != nil {
		return nil, err
	}
	shelf.Put[event.Local](h.Shelf, k)
	return k.part(), nil
}

// Check refuses definitions that no agent could register, and bounds that none could keep.
func (s *Settings) Check() error {
	var all []error
	if s.OutputMaxSize < 1 {
		all = append(all, fmt.Errorf("check_output_max_size: it must be positive, not %d", s.OutputMaxSize))
	}
	_, _, err := s.rules("node").Read(s.all(), slog.New(slog.DiscardHandler))
	return errors.Join(append(all, err)...)
}

// Warnings returns what an agent with these settings would take and not heed, a line each, for who only looks at them.
func (s *Settings) Warnings() []string { return s.rules("node").Warnings(s.all()) }

// openKeeper puts in place what the settings define and what was registered before. close ends it.
func openKeeper(h *room.Host, s *Settings) (*keeper, error) {
	k := newKeeper(h, s)
	var err error
	if k.files, err = newFiles(h.Disk, h.Dir); err != nil {
		return nil, err
	}
	services, checks, err := k.rules().Read(s.all(), k.log)
	if err != nil {
		return nil, err
	}
	if err := k.load(services, checks); err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

func (k *keeper) part() *room.Part {
	return &room.Part{
		Routes: handlers{k}.routes(),
		Run: func(ctx context.Context) error {
			defer k.close()
			return k.run(ctx)
		},
		Reload: func(settings any) error {
			next := settings.(*Settings)
			if err := k.reload(next.all()); err != nil {
				return err
			}
			k.mu.Lock()
			k.settings.DiscardOutput = next.DiscardOutput
			k.mu.Unlock()
			return nil
		},
		Stats: k.stats,
		Close: func() error { k.close(); return nil }, // for an agent that never ran
	}
}

func (s *Settings) all() []room.Definition {
	return append(append([]room.Definition(nil), s.Services...), s.Checks...)
}

// rules are what definitions mean on the agent of a node.
func (s *Settings) rules(node string) definition.Rules {
	return definition.Rules{Node: node, EnableScripts: s.EnableScripts, EnableLocalScripts: s.EnableLocalScripts}
}

func (k *keeper) rules() definition.Rules { return k.settings.rules(k.host.Self.Node) }

// stats is the section "agent" of info.
func (k *keeper) stats() map[string]map[string]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	ttls, monitors := 0, 0
	for _, c := range k.checks {
		switch {
		case c.def == nil:
		case c.ttl() > 0:
			ttls++
		case len(c.def.Spec.Args) > 0 || c.def.Spec.Command != "":
			monitors++
		}
	}
	n := func(i int) string { return fmt.Sprint(i) }
	return map[string]map[string]string{"agent": {"check_monitors": n(monitors), "check_ttls": n(ttls),
		"checks": n(len(k.checks)), "services": n(len(k.services))}}
}
