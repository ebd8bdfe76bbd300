package redisretry_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/restyretry/restyretry/redisretry"
)

const coolKey = "restyretry:{" + name + "}:cool"

// announce runs the script as a member does.
func announce(t *testing.T, client redis.UniversalClient, key string, d time.Duration) (published int) {
	t.Helper()
	published, err := redisretry.AnnounceScript.Run(t.Context(), client, []string{coolKey}, key, d.Milliseconds()).Int()
	if err != nil {
		t.Fatal(err)
	}
	return published
}

func TestWhatIsKnownIsNotPublishedAgain(t *testing.T) {
	t.Parallel()
	client := startRedis(t).client()
	for _, test := range []struct {
		key  string
		d    time.Duration
		want int
		why  string
	}{
		{"a", time.Minute, 1, "it is new"},
		{"a", time.Minute, 0, "it is known"},
		{"a", 60100 * time.Millisecond, 0, "it is known within a second"},
		{"a", 30 * time.Second, 0, "a longer one is known"},
		{"a", 2 * time.Minute, 1, "it is longer"},
		{"a", time.Hour, 1, "it is longer, though cut to 5 minutes"},
		{"a", 24 * 365 * time.Hour, 0, "5 minutes are known"},
		{"b", 9 * time.Second, 1, "it is another key"},
		{"b", 9100 * time.Millisecond, 0, "it is known within a tenth"},
		{"b", 30 * time.Second, 1, "it is longer than a tenth"},
	} {
		if got := announce(t, client, test.key, test.d); got != test.want {
			t.Errorf("%s for %v: got %d messages, want %d: %s", test.key, test.d, got, test.want, test.why)
		}
	}
	if left := client.PTTL(t.Context(), coolKey).Val(); left <= 299*time.Second || left > 5*time.Minute {
		t.Errorf("got a set that lasts for %v, want 5 minutes", left)
	}
}

func TestSetIsBounded(t *testing.T) {
	t.Parallel()
	client := startRedis(t).client()
	for i := range 1030 {
		announce(t, client, fmt.Sprint("key", i), time.Minute+time.Duration(i)*time.Millisecond)
	}
	if got := client.ZCard(t.Context(), coolKey).Val(); got != 1024 {
		t.Errorf("got %d keys, want 1024", got)
	}
	if err := client.ZScore(t.Context(), coolKey, "key1029").Err(); err != nil {
		t.Errorf("got %v, want the last key to be there", err)
	}
}

func TestOverIsOver(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	client := s.client()
	announce(t, client, "http://short.test", 50*time.Millisecond)
	time.Sleep(60 * time.Millisecond)
	if got, err := redisretry.CatchUpScript.Run(t.Context(), client, []string{coolKey}).StringSlice(); err != nil || len(got) != 0 {
		t.Errorf("got %q, %v, want nothing", got, err)
	}
	announce(t, client, "http://next.test", time.Minute)
	if got := client.ZCard(t.Context(), coolKey).Val(); got != 1 {
		t.Errorf("got %d keys, want 1: what is over is dropped", got)
	}
}

// After a failover to a node whose clock is behind, what the old one has written
// must not keep new words from being heard.
func TestEndThatNoClockExplainsIsOverwritten(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	client := s.client()
	client.ZAdd(t.Context(), coolKey, redis.Z{Member: "http://api.test", Score: float64(time.Now().Add(time.Hour).UnixMilli())})
	m := joined(t, client)
	eventually(t, time.Second, "it is heard as 5 minutes", func() bool { return m.left("api.test") > 299*time.Second })
	if m.left("api.test") > 5*time.Minute {
		t.Errorf("got %v, want 5 minutes at most", m.left("api.test"))
	}
	if announce(t, client, "http://api.test", time.Minute) != 1 {
		t.Error("got a word that is not published, want it to be")
	}
	if got := time.Until(time.UnixMilli(int64(client.ZScore(t.Context(), coolKey, "http://api.test").Val()))); got > time.Minute {
		t.Errorf("got an end in %v, want a minute", got)
	}
}

func TestGarbageIsIgnored(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	m := joined(t, s.client())
	for _, garbage := range []string{
		"", " ", "60000", "60000 ", "-60000 http://api.test", "1e5 http://api.test", "nan http://api.test",
		"60000 " + strings.Repeat("k", 1<<20), strings.Repeat("9", 1<<20) + "x http://api.test", "\x00\xff\xfe",
	} {
		s.do("publish", coolKey, garbage)
	}
	s.do("zadd", coolKey, "inf", strings.Repeat("k", 1<<20), "inf", "http://poisoned.test", "1", "http://past.test")
	s.do("publish", coolKey, strconv.FormatInt((3*365*24*time.Hour).Milliseconds(), 10)+" http://years.test")
	eventually(t, 5*time.Second, "the years are heard", m.knows("years.test"))
	late := joined(t, s.client())
	eventually(t, time.Second, "what has no end is heard", late.knows("poisoned.test"))
	for host, left := range map[string]time.Duration{"years.test": m.left("years.test"), "poisoned.test": late.left("poisoned.test")} {
		if left > 5*time.Minute {
			t.Errorf("%s: got %v, want 5 minutes at most", host, left)
		}
	}
	if m.left("api.test") > 0 || late.left("past.test") > 0 {
		t.Error("got a cool-down from garbage, want none")
	}
	m.refused(t, "next.test", 60)
	eventually(t, time.Second, "good words are heard after it", late.knows("next.test"))
}

// Sharing is off until the value is deleted; nothing else is.
func TestValueOfAnotherTypeIsOnlyInTheWayOfSharing(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	s.do("set", coolKey, "nonsense")
	m, other := joined(t, s.client()), joined(t, s.client())
	m.refused(t, "api.test", 60)
	if m.left("api.test") == 0 || !m.Connected() {
		t.Errorf("got %v left and connected %v, want the member to go by itself", m.left("api.test"), m.Connected())
	}
	time.Sleep(100 * time.Millisecond)
	if left := other.left("api.test"); left != 0 {
		t.Errorf("got %v left at the other, want 0", left)
	}
	s.do("del", coolKey)
	eventually(t, 10*time.Second, "the other hears it then", other.knows("api.test"))
}

// Redis reads "inf" and "nan" as numbers.
func TestCountsThatCannotBeAreIgnored(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	client := s.client()
	grant := func(t *testing.T, key string) int64 {
		t.Helper()
		answer, err := redisretry.BudgetScript.Run(t.Context(), client, []string{key}, 100, 10, 10, "0.1", 5, 0, 0, 0).Int64Slice()
		if err != nil || len(answer) != 2 {
			t.Fatalf("got %v, %v", answer, err)
		}
		return answer[0]
	}
	want := grant(t, "untouched")
	for _, what := range []string{"requests", "retries", "granted", "wanted"} {
		for _, count := range []string{"inf", "-inf", "nan", "9e300", "1000000001", "-1"} {
			t.Run(what+" "+count, func(t *testing.T) {
				now := client.Time(t.Context()).Val().Unix()
				key := what + count
				s.do("hset", key, fmt.Sprint(now-1, what), count)
				if got := grant(t, key); got != want {
					t.Errorf("got a grant of %d, want %d", got, want)
				}
			})
		}
	}
}

func TestAnyByteMayBeInAKey(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	m := joined(t, s.client())
	const key = "a\x00b%d\xff"
	announce(t, s.client(), key, time.Minute)
	eventually(t, time.Second, "it is heard", func() bool { return m.cooldown.Left(key) > 0 })
	late := joined(t, s.client())
	eventually(t, time.Second, "one who comes late hears it", func() bool { return late.cooldown.Left(key) > 0 })
	if m.cooldown.Left("a") != 0 || late.cooldown.Left("a") != 0 {
		t.Error("got a cool-down of what is before the NUL, want none")
	}
}

func TestManyKeysOfAStrangerLeaveRoom(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	m := joined(t, s.client())
	pipe := s.client().Pipeline()
	for i := range 5000 {
		pipe.Publish(t.Context(), coolKey, fmt.Sprint("60000 http://stranger-", i))
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "some are heard", func() bool { return m.left("stranger-1000") > 0 })
	m.refused(t, "api.test", 60)
	if m.left("api.test") == 0 {
		t.Error("got no cool-down, want the member's own in place of a stranger's")
	}
}

// recorder keeps the arguments of the scripts that a client runs.
type recorder struct {
	redis.Hook
	mu   sync.Mutex
	runs [][]any
}

func (r *recorder) DialHook(next redis.DialHook) redis.DialHook { return next }
func (r *recorder) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (r *recorder) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" && len(cmd.Args()) == 6 {
			r.mu.Lock()
			r.runs = append(r.runs, cmd.Args())
			r.mu.Unlock()
		}
		return next(ctx, cmd)
	}
}

// Nothing on the wire says what time it is at the sender or at the reader, so a
// clock that is an hour ahead changes nothing.
func TestNoClockOfAMemberIsOnTheWire(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	seen := new(recorder)
	client := s.client()
	client.AddHook(seen)
	sub := s.client().Subscribe(t.Context(), coolKey)
	defer sub.Close()
	m := joined(t, client)
	m.refused(t, "api.test", 60)
	message, err := sub.ReceiveMessage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, key, _ := strings.Cut(message.Payload, " ")
	if ms, err := strconv.Atoi(text); err != nil || ms < 59000 || ms > 60000 || key != "http://api.test" {
		t.Errorf("got %q, want about 60000 and the key", message.Payload)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if len(seen.runs) != 1 {
		t.Fatalf("got %d announcements, want 1", len(seen.runs))
	}
	args := seen.runs[0] // evalsha, script, number of keys, key, and ours
	if ms, ok := args[5].(int64); args[4] != "http://api.test" || !ok || ms < 59000 || ms > 60000 {
		t.Errorf("got the arguments %v, want the key and about 60000", args[4:])
	}
}

// A machine that is busy with other things delays a word, so it may be one of
// five; what is wrong about a time is wrong about all of them.
func TestAllEndTogether(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	first, second := joined(t, s.client()), joined(t, s.client())
	apart := time.Hour
	for i := range 5 {
		host := fmt.Sprintf("api-%d.test", i)
		first.refused(t, host, 60)
		eventually(t, 5*time.Second, "the other hears", second.knows(host))
		late := joined(t, s.client())
		eventually(t, 5*time.Second, "one who comes late hears", late.knows(host))
		left := first.left(host)
		apart = min(apart, max((left-second.left(host)).Abs(), (left-late.left(host)).Abs()))
	}
	if apart > 100*time.Millisecond {
		t.Errorf("got ends %v apart, want 100 ms at most", apart)
	}
}
