package redisretry_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/redis/go-redis/v9"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/redisretry"
)

const name = "orders"

// A member is what a process of a fleet has: a client with a Cooldown and a
// Budget, and the fleet.
type member struct {
	*redisretry.Fleet
	cooldown *restyretry.Cooldown
	client   *resty.Client
	plugin   *restyretry.Plugin
}

// join makes a member of a fleet. Its requests go to server, and are not retried.
func join(t *testing.T, client redis.UniversalClient, server roundTrip) *member {
	t.Helper()
	fleet, err := redisretry.Join(client, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Close)
	m := newMember(t, server)
	m.Fleet = fleet
	fleet.Cooldown(m.cooldown)
	return m
}

// newMember makes a member that is in no fleet yet.
func newMember(t *testing.T, server roundTrip) *member {
	t.Helper()
	m := &member{cooldown: new(restyretry.Cooldown)}
	m.client = resty.NewWithClient(&http.Client{Transport: server}).SetLogger(silent{})
	plugin, err := restyretry.Install(m.client, restyretry.Off, func(o *restyretry.Options) {
		o.Cooldown = m.cooldown
		o.MaxServerWait = time.Millisecond // refused at once
	})
	if err != nil {
		t.Fatal(err)
	}
	m.plugin = plugin
	return m
}

func joined(t *testing.T, client redis.UniversalClient) *member {
	t.Helper()
	m := join(t, client, limiting)
	eventually(t, 10*time.Second, "the member hears the others", m.Connected)
	return m
}

// refused has the member told by host to wait.
func (m *member) refused(t *testing.T, host string, wait int) {
	t.Helper()
	if _, err := m.client.R().Get(fmt.Sprintf("http://%s/?wait=%d", host, wait)); err != nil {
		t.Fatal(err)
	}
}

func (m *member) left(host string) time.Duration { return m.cooldown.Left("http://" + host) }

func (m *member) knows(host string) func() bool { return func() bool { return m.left(host) > 0 } }

type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(hr *http.Request) (*http.Response, error) { return r(hr) }

// limiting answers 429 where the URL has ?wait=seconds, else 200.
func limiting(hr *http.Request) (*http.Response, error) {
	if wait := hr.URL.Query().Get("wait"); wait != "" {
		return answer(hr, http.StatusTooManyRequests, wait), nil
	}
	return answer(hr, http.StatusOK, ""), nil
}

func answer(hr *http.Request, status int, wait string) *http.Response {
	header := http.Header{}
	if wait != "" {
		header.Set("Retry-After", wait)
	}
	return &http.Response{
		StatusCode: status, Header: header, Body: http.NoBody, Request: hr,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
}

type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}

func TestOneIsToldAndAllWait(t *testing.T) {
	s := startRedis(t)
	first, second := joined(t, s.client()), joined(t, s.client())
	first.refused(t, "api.test", 60)
	eventually(t, time.Second, "the other member waits too", second.knows("api.test"))
	if got := second.left("api.test"); got < 58*time.Second || got > 60*time.Second {
		t.Errorf("got %v left, want 58 to 60 s", got)
	}
}

func TestJoinRefuses(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	for _, test := range []struct {
		what   string
		client redis.UniversalClient
		name   string
	}{
		{"no client", nil, name},
		{"no client of a kind", (*redis.Client)(nil), name},
		{"no cluster", (*redis.ClusterClient)(nil), name},
		{"no name", client, ""},
		{"a brace", client, "a{b"},
		{"the other brace", client, "a}b"},
		{"a space", client, "a b"},
		{"a line", client, "a\nb"},
		{"no UTF-8", client, "a\xff"},
		{"a long name", client, strings.Repeat("n", 129)},
	} {
		t.Run(test.what, func(t *testing.T) {
			if fleet, err := redisretry.Join(test.client, test.name); err == nil || fleet != nil {
				t.Errorf("got %v and %v, want an error", fleet, err)
			}
		})
	}
}

func TestJoinNeedsNoRedis(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	start := time.Now()
	m := join(t, client, limiting)
	m.Budget("payments", restyretry.NewBudget(0.1, 1))
	m.refused(t, "api.test", 60)
	m.Close()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("got %v until it was left again, want no waiting", took)
	}
	if m.Connected() {
		t.Error("got connected, want not")
	}
	if m.left("api.test") == 0 {
		t.Error("got no cool-down, want the member's own")
	}
}

func TestWhatWasSaidBeforeIsKnown(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	joined(t, s.client()).refused(t, "api.test", 60)
	eventually(t, time.Second, "the word is in Redis", func() bool {
		return s.do("zcard", "restyretry:{"+name+"}:cool") == "1"
	})
	late := joined(t, s.client())
	eventually(t, time.Second, "one who comes late knows", late.knows("api.test"))

	another := new(restyretry.Cooldown) // of a process that has long been connected
	late.Cooldown(another)
	eventually(t, time.Second, "a Cooldown that comes late knows", func() bool { return another.Left("http://api.test") > 0 })
}

func TestCatchesUpAsSoonAsItMay(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	joined(t, s.client()).refused(t, "api.test", 60)
	eventually(t, 5*time.Second, "the word is in Redis", func() bool { return s.calls()["publish"] > 0 })
	s.allow("late", aclLine(t))
	s.do("acl", "setuser", "late", "-zrangebyscore")
	late := joined(t, s.as("late"))
	eventually(t, 5*time.Second, "it is denied", func() bool { return s.denied()["late zrangebyscore"] })
	if late.left("api.test") > 0 {
		t.Fatal("got the word, want it to be denied")
	}
	s.do("acl", "setuser", "late", "+zrangebyscore")
	eventually(t, 10*time.Second, "it catches up", late.knows("api.test"))
}

func TestSeveralCooldownsAreOne(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	m, other := joined(t, s.client()), joined(t, s.client())
	beside := new(restyretry.Cooldown)
	m.Cooldown(beside)
	m.refused(t, "api.test", 60)
	eventually(t, time.Second, "the one beside it hears", func() bool { return beside.Left("http://api.test") > 0 })
	eventually(t, time.Second, "the other process hears", other.knows("api.test"))
}

// What a Cooldown was told, the others of its process know at once, and whether or
// not Redis is there.
func TestCooldownsOfAProcessNeedNoRedisBetweenThem(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	m := join(t, client, limiting)
	beside := new(restyretry.Cooldown)
	m.Cooldown(beside)
	m.refused(t, "api.test", 60)
	if left := beside.Left("http://api.test"); left < 58*time.Second || left > time.Minute {
		t.Errorf("got %v left beside it, want 58 to 60 s", left)
	}
	m.Close()
	m.refused(t, "next.test", 60)
	if left := beside.Left("http://next.test"); left != 0 {
		t.Errorf("got %v left beside it after Close, want 0: each goes on by itself", left)
	}
}

func TestFleetsAreApart(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	m, same := joined(t, s.client()), joined(t, s.client())
	stranger, err := redisretry.Join(s.client(), "payments")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	c := new(restyretry.Cooldown)
	stranger.Cooldown(c)
	eventually(t, 5*time.Second, "the other fleet is there", stranger.Connected)
	m.refused(t, "api.test", 60)
	eventually(t, time.Second, "the same fleet hears", same.knows("api.test"))
	time.Sleep(100 * time.Millisecond)
	if left := c.Left("http://api.test"); left != 0 {
		t.Errorf("got %v left in another fleet, want 0", left)
	}
}

// Not parallel: it counts goroutines.
func TestCloseLeavesNothing(t *testing.T) {
	s := startRedis(t)
	client := s.client()
	m := joined(t, client)
	b := restyretry.NewBudget(0, 2)
	m.Budget("payments", b)
	b.Request(time.Now())
	eventually(t, 5*time.Second, "there is a report", func() bool { return s.calls()["hincrby"] > 0 })
	time.Sleep(500 * time.Millisecond)
	for b.Retry(time.Now()) { // as many as it was granted
	}
	m.Close()
	m.Close()
	if got := goroutines(); got != 0 {
		t.Errorf("got %d goroutines, want 0", got)
	}
	if got := s.do("client", "list", "type", "pubsub"); got != "" {
		t.Errorf("got the connection %s, want none", got)
	}
	if m.Connected() {
		t.Error("got connected, want not")
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("got %v from the caller's client, want no error", err)
	}
	before := s.calls()["evalsha"]
	m.refused(t, "api.test", 60)
	if m.left("api.test") == 0 {
		t.Error("got no cool-down, want that of the member itself")
	}
	retries := 0
	for now := time.Now(); b.Retry(now); {
		retries++
	}
	if retries != 2 {
		t.Errorf("got %d retries, want the 2 of the budget itself", retries)
	}
	time.Sleep(1100 * time.Millisecond)
	if got := s.calls()["evalsha"]; got != before {
		t.Errorf("got %d more commands after Close, want 0", got-before)
	}
}

func TestCloseDoesNotWaitForRedis(t *testing.T) {
	s := startRedis(t)
	m := joined(t, s.client())
	s.signal(syscall.SIGSTOP)
	m.refused(t, "api.test", 60)
	time.Sleep(100 * time.Millisecond)
	start := time.Now()
	m.Close()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("got %v, want about a second", took)
	}
	s.signal(syscall.SIGCONT)
	eventually(t, 10*time.Second, "the goroutines are gone", func() bool { return goroutines() == 0 })
}

func TestCloseIsSafeBesideAllElse(t *testing.T) {
	client := startRedis(t).client()
	for range 100 {
		fleet, err := redisretry.Join(client, name)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(fleet.Close)
		for range 20 {
			all.Go(func() { fleet.Budget("payments", restyretry.NewBudget(0.1, 1)) })
			all.Go(func() { fleet.Cooldown(new(restyretry.Cooldown)) })
		}
		all.Go(fleet.Close)
		all.Wait()
	}
	eventually(t, 5*time.Second, "the goroutines are gone", func() bool { return goroutines() == 0 })
}

func TestNothingJoinsAfterClose(t *testing.T) {
	s := startRedis(t)
	m, other := joined(t, s.client()), joined(t, s.client())
	closed, err := redisretry.Join(s.client(), "payments")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	closed.Cooldown(m.cooldown)
	m.refused(t, "api.test", 60)
	eventually(t, time.Second, "it is heard in its own fleet", other.knows("api.test"))

	b := restyretry.NewBudget(0.1, 1)
	b.Request(time.Now())
	before := goroutines()
	closed.Budget("payments", b)
	if got := goroutines(); got > before {
		t.Errorf("got %d goroutines, want no more than the %d before", got, before)
	}
	if requests, _, _ := b.Report(); requests != 1 {
		t.Errorf("got a report of %d requests, want the 1 that nobody has asked for", requests)
	}
}

func TestNilIsNoBudgetAndNoCooldown(t *testing.T) {
	s := startRedis(t)
	m, other := joined(t, s.client()), joined(t, s.client())
	m.Budget("payments", nil)
	m.Cooldown(nil)
	other.refused(t, "api.test", 60)
	eventually(t, time.Second, "it hears the others all the same", m.knows("api.test"))
}

// goroutines counts those in which this module runs.
func goroutines() (n int) {
	stacks := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(stack, "redisretry.(*") {
			n++
		}
	}
	return n
}

func TestWarnsOnceAMinute(t *testing.T) {
	var log lockedBuffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DialTimeout: 100 * time.Millisecond})
	defer client.Close()
	m := join(t, client, limiting)
	m.refused(t, "api.test", 60)
	eventually(t, 10*time.Second, "it warns", func() bool { return log.String() != "" })
	time.Sleep(2 * time.Second)
	m.Close()
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "fleet=orders") {
		t.Errorf("got %s, want one warning with the fleet's name", got)
	}
}

// A lockedBuffer may be written to and read at the same time.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
