//go:build !race

package redisretry_test

const race = false
