//go:build race

package redisretry_test

// race says that the race detector is on: all takes several times as long.
const race = true
