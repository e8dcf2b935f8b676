// Command rostra is service discovery and coordination: agent, servers and the operator's tool in one binary. Called
// through a link named consul it is the same program.
package main

import (
	"os"
	"path/filepath"

	"rostra/agent"
	"rostra/engine/room"
	"rostra/kit/cli"
)

func main() {
	os.Exit(run(features, filepath.Base(os.Args[0]), os.Args[1:]))
}

// run runs the verb that args name in a program of the given features and returns its exit code.
func run(features []room.Room, name string, args []string) int {
	verbs := agent.Verbs(features)
	for _, f := range features {
		verbs = append(verbs, f.Verbs...)
	}
	return cli.Main(name, verbs, args, os.Stdin, os.Stdout, os.Stderr, os.Getenv)
}
