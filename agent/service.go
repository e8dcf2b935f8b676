package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"rostra/engine/gossip"
	"rostra/feature/member"
	"rostra/kit/systemd"
)

// writePid writes the process's number into the file of pid_file, without a newline, where scripts look for it. remove
// takes the file away, unless another process has made it its own meanwhile.
func writePid(path string) (remove func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	pid := strconv.Itoa(os.Getpid())
	if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
		err = os.WriteFile(path, []byte(pid), 0o644) // others look whether this process lives
	}
	if err != nil {
		return nil, fmt.Errorf("pid_file: %w; name a file that this user may write", err)
	}
	return func() {
		if now, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(now)) == pid {
			_ = os.Remove(path)
		}
	}, nil
}

// announce tells the service manager, if there is one, that the agent is up: once it has met others in the LAN pool, or at
// once where retry_join names none to meet. (Consul never says so on a server without retry_join, and a unit of Type=notify
// then fails.) A manager that does not listen ends nothing.
func (a *Agent) announce(ctx context.Context, manager systemd.Manager) error {
	alone := true
	for _, s := range a.now.rooms {
		if m, ok := s.(*member.Settings); ok && len(m.Join) > 0 {
			alone = false
		}
	}
	ready := func() {
		if err := manager.Ready(); err != nil {
			a.log.Warn("the service manager does not know that the agent is up", "error", err)
		}
	}
	if alone {
		ready()
		return nil
	}
	ctx, met := context.WithCancel(ctx)
	defer met()
	return a.host.LAN.Run(ctx, func(gossip.Event) {
		for _, m := range a.host.LAN.Members() {
			if m.Status == gossip.StatusAlive && m.Name != a.host.Self.Node {
				ready()
				met()
				return
			}
		}
	})
}
