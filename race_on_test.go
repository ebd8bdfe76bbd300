//go:build race

package restyretry_test

// raceDetector says that sync.Pool forgets things at random.
const raceDetector = true
