//go:build race

package consensus

// raceDetector: Raft reads a server's address for its log without the lock under which it changes it.
const raceDetector = true
