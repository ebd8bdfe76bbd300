package redisretry_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A redisServer is a redis-server of the test's own, on a free port of loopback.
type redisServer struct {
	t    *testing.T
	args []string
	addr string
	dir  string
	cmd  *exec.Cmd
}

// startRedis starts a server that ends with the test. The test is skipped where
// there is none to be had.
func startRedis(t *testing.T, args ...string) *redisServer {
	t.Helper()
	return startServer(t, "redis-server", args...)
}

// startServer starts a program that takes the arguments of redis-server, in which
// PORT stands for its port.
func startServer(t *testing.T, program string, args ...string) *redisServer {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not on PATH: install it (Debian: apt-get install redis-server) to run this test", program)
	}
	port := freePort(t)
	s := &redisServer{t: t, addr: "127.0.0.1:" + port, dir: t.TempDir()}
	s.args = append([]string{
		path, "--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no", "--loglevel", "warning",
	}, args...)
	for i, arg := range s.args {
		s.args[i] = strings.ReplaceAll(arg, "PORT", port)
	}
	t.Cleanup(s.kill)
	s.start()
	return s
}

// start starts the server, for the first time or again.
func (s *redisServer) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.awaitPort()
}

func (s *redisServer) awaitPort() {
	s.t.Helper()
	eventually(s.t, 20*time.Second, "redis-server listens", func() bool {
		conn, err := net.DialTimeout("tcp", s.addr, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func (s *redisServer) kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Kill() // ends one that is stopped, too
	_ = s.cmd.Wait()
}

func (s *redisServer) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// client returns a client as a service might have it, closed with the test.
func (s *redisServer) client(change ...func(*redis.Options)) *redis.Client {
	o := &redis.Options{Addr: s.addr, PoolSize: 4, ReadBufferSize: 4096, WriteBufferSize: 4096}
	for _, c := range change {
		c(o)
	}
	client := redis.NewClient(o)
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

// do sends a command past any fleet.
func (s *redisServer) do(args ...any) string {
	s.t.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.addr})
	defer client.Close()
	answer, err := client.Do(context.Background(), args...).Result()
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return fmt.Sprint(answer)
}

// calls returns how often each command was called, see INFO commandstats.
func (s *redisServer) calls() map[string]int {
	calls := map[string]int{}
	for line := range strings.Lines(s.do("info", "commandstats")) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if !ok {
			continue
		}
		n, _, _ := strings.Cut(rest, ",")
		calls[name], _ = strconv.Atoi(n)
	}
	return calls
}

var lastPort atomic.Int32

// freePort returns a port that no other call gets, below those that the system
// gives to connections.
func freePort(t *testing.T) string {
	t.Helper()
	lastPort.CompareAndSwap(0, 10000+rand.Int32N(18000))
	for range 1000 {
		port := strconv.Itoa(int(lastPort.Add(1)))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("got no free port")
	return ""
}

// eventually waits until ok, and fails the test if that takes too long.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > within {
			t.Fatalf("got nothing in %v, want: %s", within, what)
		}
	}
}
