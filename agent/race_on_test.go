//go:build race

package agent

// raceDetector: its runtime breaks down in bubbles with as many goroutines as TestChaos has ("CHECK failed: tsan_rtl.cpp").
const raceDetector = true
