package agent

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"

	"rostra/config"
	"rostra/engine/room"
	"rostra/kit/disk"
)

// Routes lists the whole HTTP API, "METHOD path" a line, sorted, with ANY for a route that looks at the method itself: what
// documentation and tests are held against. It opens the features on no agent, so they must not use the Host before they serve.
func Routes(features []room.Room) ([]string, error) {
	conf := newSettings(features)
	if _, err := config.Load(config.Input{Args: []string{"-dev"}}, conf.all()...); err != nil {
		return nil, err
	}
	var list []string
	for i, f := range features {
		if f.Open == nil {
			continue
		}
		part, err := f.Open(&room.Host{Log: slog.New(slog.DiscardHandler), Disk: disk.OS(), Cluster: silent{}}, conf.rooms[i])
		if err != nil {
			return nil, fmt.Errorf("cannot list the routes of %s: %w", f.Name, err)
		}
		for _, r := range part.Routes {
			list = append(list, cmp.Or(r.Method, "ANY")+" "+r.Path)
		}
		if part.Close != nil {
			if err := part.Close(); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(list)
	return list, nil
}

// silent is the cluster of no agent.
type silent struct{ room.Cluster }

// Usage returns the text of all agent flags.
func Usage(features []room.Room) string { return config.Usage(newSettings(features).all()...) }

// Reference returns the documentation of all configuration keys in Markdown.
func Reference(features []room.Room) string { return config.Reference(newSettings(features).all()...) }
