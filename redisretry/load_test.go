package redisretry_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/redisretry"
)

// With REDISRETRY_LOAD=1 tests are held to the bounds that are promised, and those
// of this file run with 1,000 members, one after the other. Else they run with
// 200, or with 50 under the race detector, beside the others, and the bounds are
// such that they hold on a machine that is busy.
var load = os.Getenv("REDISRETRY_LOAD") != ""

func size(t *testing.T) (members int) {
	if load {
		return 1000
	}
	if testing.Short() {
		t.Skip("takes many seconds")
	}
	t.Parallel()
	if race {
		return 50
	}
	return 200
}

// bound is the one that is promised, or the one for a busy machine.
func bound[N any](promised, busy N) N {
	if load {
		return promised
	}
	return busy
}

// logMachine notes how busy the machine is with other things.
func logMachine(t *testing.T) {
	busy, _ := os.ReadFile("/proc/loadavg")
	t.Logf("%d cores, load %s", runtime.NumCPU(), strings.TrimSpace(string(busy)))
}

// An origin is a server of many hosts. From the moment when a host is busy it
// answers 429 to all.
type origin struct {
	busy    atomic.Pointer[string]
	first   atomic.Int64 // ns of the first 429
	refused atomic.Int64
}

func (o *origin) answer(hr *http.Request) (*http.Response, error) {
	time.Sleep(2 * time.Millisecond)
	if busy := o.busy.Load(); busy == nil || *busy != hr.URL.Host {
		return answer(hr, http.StatusOK, ""), nil
	}
	o.first.CompareAndSwap(0, time.Now().UnixNano())
	o.refused.Add(1)
	return answer(hr, http.StatusTooManyRequests, "300"), nil
}

func (o *origin) getBusy(host string) {
	o.first.Store(0)
	o.refused.Store(0)
	o.busy.Store(&host)
}

func TestManyMembersFallSilent(t *testing.T) {
	n := size(t)
	const rounds = 5
	s := startRedis(t, "--maxclients", "10000")
	o := new(origin)
	members := joinMany(t, s, n, o.answer)
	var host atomic.Pointer[string]
	var p99s []time.Duration
	var extras []int64
	for round := range rounds {
		name := fmt.Sprintf("busy-%d.test", round)
		host.Store(&name)
		stop := sendEverySecond(members, &host)
		time.Sleep(1500 * time.Millisecond) // all have sent one
		logMachine(t)
		o.getBusy(name)
		eventually(t, 10*time.Second, "a first 429", func() bool { return o.first.Load() != 0 })
		first := time.Unix(0, o.first.Load())
		took := untilAllKnow(t, members, name, first)
		stop()
		p99s, extras = append(p99s, took[n*99/100]), append(extras, o.refused.Load()-1)
		t.Logf("%d members silent after p50 %v, p99 %v, max %v; the server got %d more", n, took[n/2], p99s[round], took[n-1], extras[round])
	}
	slices.Sort(p99s)
	slices.Sort(extras)
	if got, limit := p99s[rounds/2], bound(100*time.Millisecond, time.Second); got > limit {
		t.Errorf("got silent after %v at p99 in the median round, want %v", got, limit)
	}
	if got := extras[rounds/2]; got > 40 {
		t.Errorf("got %d requests more in the median round, want 40 at most", got)
	}
}

func joinMany(t *testing.T, s *redisServer, n int, server roundTrip) []*member {
	t.Helper()
	members := make([]*member, n)
	for i := range members {
		members[i] = join(t, s.client(func(o *redis.Options) { o.PoolSize = 1 }), server)
	}
	eventually(t, time.Minute, "all members are there", func() bool {
		return !slices.ContainsFunc(members, func(m *member) bool { return !m.Connected() })
	})
	return members
}

// sendEverySecond has each member send a request a second until stop is called.
func sendEverySecond(members []*member, host *atomic.Pointer[string]) (stop func()) {
	end := make(chan struct{})
	var done sync.WaitGroup
	for _, m := range members {
		done.Go(func() {
			for wait := rand.N(time.Second); ; wait = time.Second {
				select {
				case <-end:
					return
				case <-time.After(wait):
				}
				_, _ = m.client.R().Get("http://" + *host.Load())
			}
		})
	}
	return func() {
		close(end)
		done.Wait()
	}
}

// untilAllKnow returns when the members knew, after first, in order.
func untilAllKnow(t *testing.T, members []*member, host string, first time.Time) []time.Duration {
	t.Helper()
	knew := make([]time.Duration, len(members))
	eventually(t, 20*time.Second, "all members know", func() bool {
		for i, m := range members {
			if knew[i] == 0 && m.left(host) > 0 {
				knew[i] = time.Since(first)
			}
		}
		return !slices.Contains(knew, 0)
	})
	slices.Sort(knew)
	return knew
}

func TestCommandsAreFew(t *testing.T) {
	n := size(t) / 4
	lasts := 21 * time.Second
	if load {
		lasts = 2 * time.Minute
	}
	s := startRedis(t)
	members := joinMany(t, s, n, limiting)
	time.Sleep(2 * time.Second) // until they have caught up
	before := s.sent()
	until := time.Now().Add(lasts)
	requests := 0
	for ; time.Now().Before(until); requests++ { // one is busy, and nobody refuses it
		members[0].send(t, "http://healthy.test")
		time.Sleep(time.Millisecond)
	}
	rate := float64(s.sent()-before) / lasts.Seconds() / float64(n)
	t.Logf("%.3f commands a second and member, %d requests", rate, requests)
	if rate > 0.25 {
		t.Errorf("got %.3f commands a second and member, want 0.25 at most", rate)
	}
}

// sent is how many commands members have sent; not those within scripts.
func (s *redisServer) sent() int {
	calls := s.calls()
	return calls["ping"] + calls["evalsha"] + calls["eval"] + calls["subscribe"] + calls["publish"]
}

// budgets makes n Budgets of one fleet. They share some clients.
func budgets(t *testing.T, s *redisServer, n int, ratio float64, perSecond int) []*restyretry.Budget {
	t.Helper()
	all := make([]*restyretry.Budget, n)
	for i := 0; i < n; {
		client := s.client(func(o *redis.Options) { o.PoolSize = 10 })
		for range 50 {
			if i == n {
				break
			}
			fleet, err := redisretry.Join(client, name)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(fleet.Close)
			all[i] = restyretry.NewBudget(ratio, perSecond)
			fleet.Budget("payments", all[i])
			i++
		}
	}
	return all
}

// use has each Budget count that many requests a second, of which the first
// failing budgets' all want one retry, and returns the counts of each second.
func use(all []*restyretry.Budget, perSecond float64, failing int, lasts time.Duration) []counts {
	seconds := make([]struct{ requests, retries atomic.Int64 }, int(lasts/time.Second)+1)
	start := time.Now()
	var done sync.WaitGroup
	for i, b := range all {
		done.Go(func() {
			pause := time.Duration(float64(time.Second) / perSecond)
			next := start.Add(rand.N(pause))
			for ; next.Sub(start) < lasts; next = next.Add(pause) {
				time.Sleep(time.Until(next))
				at := &seconds[min(int(time.Since(start)/time.Second), len(seconds)-1)]
				b.Request(time.Now())
				at.requests.Add(1)
				if i < failing && b.Retry(time.Now()) {
					at.retries.Add(1)
				}
			}
		})
	}
	done.Wait()
	result := make([]counts, len(seconds))
	for i := range seconds {
		result[i] = counts{int(seconds[i].requests.Load()), int(seconds[i].retries.Load())}
	}
	return result
}

type counts struct{ requests, retries int }

func total(of []counts) (sum counts) {
	for _, c := range of {
		sum.requests += c.requests
		sum.retries += c.retries
	}
	return sum
}

func TestBudgetOfAFleetKeepsItsRatio(t *testing.T) {
	n := size(t)
	s := startRedis(t, "--maxclients", "10000")
	all := budgets(t, s, n, 0.1, 0)
	logMachine(t)
	seconds := use(all, 1, n, 30*time.Second)
	sum := total(seconds)
	share := float64(sum.retries) / float64(sum.requests) / 0.1
	t.Logf("%d requests, %d retries: %.2f of the ratio; each second %v", sum.requests, sum.retries, share, seconds)
	if least, most := bound(0.8, 0.5), bound(1.2, 1.4); share < least || share > most {
		t.Errorf("got %.2f of the ratio, want %v to %v", share, least, most)
	}
}

func TestBudgetOfAFleetGoesToThoseWhoNeedIt(t *testing.T) {
	n := size(t)
	s := startRedis(t, "--maxclients", "10000")
	n = max(n, 150) // so that a tenth of their requests are more than 100
	all := budgets(t, s, n, 0.1, 0)
	logMachine(t)
	use(all, 10, 0, 5*time.Second) // all is well
	seconds := use(all, 10, 10, 15*time.Second)
	sum := total(seconds)
	perSecond := float64(sum.retries) / 15
	t.Logf("%.1f retries a second of 100 wanted; each second %v", perSecond, seconds)
	if least := bound(90.0, 70.0); perSecond < least {
		t.Errorf("got %.1f retries a second, want %v of 100", perSecond, least)
	}
}

func TestBudgetOfAFleetSharesPerSecond(t *testing.T) {
	n := size(t)
	s := startRedis(t, "--maxclients", "10000")
	all := budgets(t, s, n, 0, 5)
	use(all, 1, 0, 3*time.Second) // until each has a lease
	seconds := use(all, 1, n, 20*time.Second)
	perSecond := float64(total(seconds).retries) / 20
	t.Logf("%.1f retries a second; each second %v", perSecond, seconds)
	if least, most := bound(3.5, 1), bound(7.5, 20); perSecond < least || perSecond > most {
		t.Errorf("got %.1f retries a second, want %v to %v", perSecond, least, most)
	}
}
