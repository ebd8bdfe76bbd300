package redisretry_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A fault is something that happens to Redis, or to the way there.
type fault struct {
	name  string
	args  []string           // of the server
	login string             // password of the members
	begin func(*faultyRedis) // the fault is there when it returns
	lasts time.Duration
	end   func(*faultyRedis)

	local  bool // members cannot hear each other meanwhile
	forgot bool // Redis has lost its data
}

// A faultyRedis is a server, the way of the members to it, and a connection for
// the test that was there before the fault.
type faultyRedis struct {
	*redisServer
	proxy *proxy
	admin *redis.Conn
}

func (s *faultyRedis) say(args ...any) {
	s.t.Helper()
	if err := s.admin.Do(context.Background(), args...).Err(); err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
}

// expel ends the connections of all members.
func (s *faultyRedis) expel() {
	s.say("client", "kill", "type", "normal", "skipme", "yes")
	s.say("client", "kill", "type", "pubsub")
}

var faults = []fault{
	{
		name: "stopped", lasts: 4 * time.Second, local: true,
		begin: func(s *faultyRedis) { s.signal(syscall.SIGSTOP) },
		end:   func(s *faultyRedis) { s.signal(syscall.SIGCONT) },
	},
	{
		name: "killed, and back without its data", lasts: 2 * time.Second, local: true, forgot: true,
		begin: func(s *faultyRedis) { s.kill() },
		end:   func(s *faultyRedis) { s.start() },
	},
	{
		name: "shut down, and back with its data", lasts: 2 * time.Second, local: true,
		begin: func(s *faultyRedis) {
			_ = s.admin.Do(context.Background(), "shutdown", "save").Err() // the answer is the end of the connection
			_ = s.cmd.Wait()
		},
		end: func(s *faultyRedis) { s.start() },
	},
	{
		name: "another password", lasts: 2 * time.Second, local: true,
		args: []string{"--requirepass", "old"}, login: "old",
		begin: func(s *faultyRedis) { s.say("config", "set", "requirepass", "new"); s.expel() },
		end:   func(s *faultyRedis) { s.say("config", "set", "requirepass", "old") },
	},
	{
		name: "no more clients", lasts: 2 * time.Second, local: true,
		begin: func(s *faultyRedis) { s.say("config", "set", "maxclients", 1); s.expel() },
		end:   func(s *faultyRedis) { s.say("config", "set", "maxclients", 1000) },
	},
	{
		name: "read-only", lasts: 2 * time.Second, local: true,
		begin: func(s *faultyRedis) { s.say("replicaof", "127.0.0.1", "1") },
		end:   func(s *faultyRedis) { s.say("replicaof", "no", "one") },
	},
	{
		name: "full", lasts: 2 * time.Second, // a script that deletes first may write all the same
		begin: func(s *faultyRedis) { s.say("config", "set", "maxmemory", 1) },
		end:   func(s *faultyRedis) { s.say("config", "set", "maxmemory", 0) },
	},
	{
		name:  "scripts flushed",
		begin: func(s *faultyRedis) { s.say("script", "flush") },
		end:   func(*faultyRedis) {},
	},
	{
		name:  "listeners killed",
		begin: func(s *faultyRedis) { s.say("client", "kill", "type", "pubsub") },
		end:   func(*faultyRedis) {},
	},
	{
		name: "delivers nothing", lasts: 8 * time.Second, local: true,
		begin: func(s *faultyRedis) { s.proxy.swallow(true) },
		end:   func(s *faultyRedis) { s.proxy.swallow(false) },
	},
}

func TestFaultsOfRedisAreNobodysFault(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			f.test(t)
		})
	}
}

func (f fault) test(t *testing.T) {
	s := &faultyRedis{redisServer: startRedis(t, append(f.args, "--repl-diskless-sync", "yes")...)}
	s.proxy = newProxy(t, s.addr)
	s.admin = s.client(f.as).Conn()
	if err := s.admin.Ping(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	connect := func(o *redis.Options) { o.Addr = s.proxy.addr; f.as(o) }
	first, second := joined(t, s.client(connect)), joined(t, s.client(connect))
	first.refused(t, "before.test", 300)
	eventually(t, 3*time.Second, "the word is known before the fault", second.knows("before.test"))
	check := first.sendAllTheTime(t)

	f.begin(s)
	first.refused(t, "meanwhile.test", 300)
	second.refused(t, "also.test", 300)
	time.Sleep(f.lasts)
	if f.local && (second.left("meanwhile.test") > 0 || first.left("also.test") > 0) {
		t.Error("got words from each other meanwhile: this is not the fault that it is meant to be")
	}
	f.end(s)

	ended := time.Now()
	eventually(t, 15*time.Second, "both have caught up", func() bool {
		return second.left("meanwhile.test") > 0 && first.left("also.test") > 0
	})
	first.refused(t, "after.test", 300)
	eventually(t, 15*time.Second, "the other is heard again", second.knows("after.test"))
	heard := time.Since(ended)
	t.Logf("heard again after %v", heard)
	if heard > 5*time.Second {
		t.Errorf("got heard again after %v, want 5 s at most", heard)
	}
	late := joined(t, s.client(connect))
	eventually(t, 5*time.Second, "one who comes late is told of the time before the fault", late.knows("before.test"))
	eventually(t, 5*time.Second, "they are connected", func() bool { return first.Connected() && second.Connected() })
	check()
	admin := s.client(f.as)
	eventually(t, 5*time.Second, "each of the three members has one connection that listens", func() bool {
		return strings.Count(admin.Do(t.Context(), "client", "list", "type", "pubsub").String(), "addr=127") == 2*3 // and laddr
	})
}

func (f fault) as(o *redis.Options) { o.Password = f.login }

// sendAllTheTime sends requests, some of which are told to wait, until it is
// told to check that none of them had an error or was slow. A request is slow if
// it takes 50 ms, and as much more as those take that know of no fleet. Where the
// machine may be busy it is half a second: one that waits for Redis takes longer.
func (m *member) sendAllTheTime(t *testing.T) (check func()) {
	alone := newMember(t, limiting)
	stop := make(chan struct{})
	var done sync.WaitGroup
	var slowest, slowestAlone time.Duration
	done.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
			url := "http://healthy.test"
			if i%10 == 0 {
				url = fmt.Sprintf("http://limited-%d.test/?wait=1", i)
			}
			slowest = max(slowest, m.send(t, url))
			slowestAlone = max(slowestAlone, alone.send(t, url))
		}
	})
	return func() {
		t.Helper()
		close(stop)
		done.Wait()
		if limit := bound(50*time.Millisecond, 500*time.Millisecond) + slowestAlone; slowest > limit {
			t.Errorf("got a request of %v, want %v at most", slowest, limit)
		}
	}
}

func (m *member) send(t *testing.T, url string) time.Duration {
	start := time.Now()
	if _, err := m.client.R().Get(url); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	return time.Since(start)
}

// A proxy is the way to a server. It can swallow all that is sent, as a node does
// that has vanished from the network: what was swallowed is lost for ever, and so
// is the connection.
type proxy struct {
	addr     string
	swallows atomic.Bool
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &proxy{addr: l.Addr().String()}
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(from, to)
		}
	}()
	return p
}

func (p *proxy) swallow(yes bool) { p.swallows.Store(yes) }

func (p *proxy) serve(from net.Conn, to string) {
	defer from.Close()
	target, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer target.Close()
	vanished := new(atomic.Bool)
	go func() {
		p.pass(target, from, vanished)
		target.Close()
	}()
	p.pass(from, target, vanished)
}

func (p *proxy) pass(to, from net.Conn, vanished *atomic.Bool) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if p.swallows.Load() {
			vanished.Store(true)
		}
		if n > 0 && !vanished.Load() {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
