//go:build !race

package restyretry_test

const raceDetector = false
