package agent

import "flag"

// simKeep is where a simulation that fails leaves its history and the agents' logs.
var simKeep = flag.String("keep", "", "directory for the history and logs of a failed simulation")
