package redisretry_test

import (
	"flag"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// Most tests wait for Redis most of the time, so they may do it together.
func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "16")
	redis.SetLogger(&logging.VoidLogger{})
	os.Exit(m.Run())
}
