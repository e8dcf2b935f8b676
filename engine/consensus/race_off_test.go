//go:build !race

package consensus

// raceDetector: see race_on_test.go.
const raceDetector = false
