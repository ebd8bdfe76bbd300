package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

const (
	clients = 2000
	timeout = 2 * time.Second
)

// all simulates every policy in every scenario, with few clients.
var all = sync.OnceValues(func() (results []result, err error) {
	crowd := newCrowd(clients, anywhere(1))
	for _, s := range scenarios(timeout) {
		for _, p := range policies() {
			r, err := simulate(s, p, crowd, 1)
			if err != nil {
				return nil, err
			}
			results = append(results, r)
		}
	}
	return results, nil
})

// each calls test for every result.
func each(t *testing.T, test func(*testing.T, *result)) {
	results, err := all()
	if err != nil {
		t.Fatal(err)
	}
	for i := range results {
		r := &results[i]
		t.Run(r.scenario.name+"/"+r.policy.name, func(t *testing.T) { test(t, r) })
	}
}

func TestCalendarOrder(t *testing.T) {
	var c calendar
	for i, at := range []int{5, 3, 5, 0, 3} {
		c.add(at, event{process: uint32(i)})
	}
	var got []uint32
	for now := range 7 {
		c.each(now, func(e event) {
			got = append(got, e.process)
			if e.process == 1 {
				c.add(now, event{process: 5})
				c.add(now+1, event{process: 6})
			}
		})
	}
	if want := []uint32{3, 1, 4, 5, 6, 0, 2}; !slices.Equal(got, want) || c.pending != 0 {
		t.Errorf("got %v and %d pending, want %v and 0", got, c.pending, want)
	}
}

func TestServerClock(t *testing.T) {
	const s = time.Second
	for _, speed := range []float64{0, 0.25, 1} {
		server := newServer(scenario{from: 2 * s, until: 6 * s, length: 20 * s, capacity: 1, queue: 3 * s, speed: speed}, 1)
		for work := time.Duration(0); work < 12*s; work += s / 2 {
			if got := server.clock(server.when(work)); got != work {
				t.Errorf("speed %v: the clock shows %v when it should show %v", speed, got, work)
			}
		}
	}
}

func TestServerHangs(t *testing.T) {
	const s = time.Second
	server := newServer(scenario{from: 2 * s, until: 6 * s, length: 20 * s, timeout: 2 * s, capacity: 1, queue: 3 * s / 2}, 1)
	for i, want := range []time.Duration{2 * s, 7 * s, 8 * s, -1} { // one begun before, two behind it, no room
		took, ok := server.offer(s + s*time.Duration(i)/2)
		if end := s + s*time.Duration(i)/2 + took; ok != (want >= 0) || ok && end != want {
			t.Errorf("offer %d: got an end at %v, %v, want %v", i, end, ok, want)
		}
	}
	if server.done != 3 || server.wasted != 2 {
		t.Errorf("got %d done, %d of them wasted, want 3 and 2", server.done, server.wasted)
	}
}

func TestEveryRequestEndsOnce(t *testing.T) {
	each(t, func(t *testing.T, r *result) {
		if got := r.successes + r.failures; got != r.requests || got == 0 {
			t.Errorf("got %d requests ended, want %d", got, r.requests)
		}
		if got := sum(r.begins); got != r.requests {
			t.Errorf("got %d requests begun, want %d", got, r.requests)
		}
		if most := r.requests * r.policy.attempts; r.sendings < r.requests || r.sendings > most {
			t.Errorf("got %d attempts, want from %d to %d", r.sendings, r.requests, most)
		}
	})
}

func TestNoRetryIsDemand(t *testing.T) {
	each(t, func(t *testing.T, r *result) {
		if r.policy.attempts == 1 && !slices.Equal(r.attempts, r.begins) {
			t.Error("got attempts other than the requests")
		}
	})
}

func TestBudgetBound(t *testing.T) {
	each(t, func(t *testing.T, r *result) {
		if limit := r.policy.ratio; limit > 0 {
			if got := float64(r.sendings)/float64(r.requests) - 1; got > limit || got == 0 {
				t.Errorf("got %v retries per request, want at most %v", got, limit)
			}
		}
	})
}

func TestSameSeedSameTables(t *testing.T) {
	tables := func(seed uint64) string {
		var b strings.Builder
		if err := run(&b, options{clients: 300, seed: seed, timeout: timeout}); err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(b.String(), "\n") // the seed is in the first line
		return rest
	}
	if first, second := tables(1), tables(1); first != second {
		t.Errorf("got\n%s, want\n%s", second, first)
	}
	if tables(1) == tables(2) {
		t.Error("got the same tables for another seed")
	}
}

// TestLikeThePlugin sends the same requests through Resty and the plugin, in
// virtual time, to the same server: the counts are equal.
func TestLikeThePlugin(t *testing.T) {
	const s = time.Second
	limit := s / 2
	apart := newCrowd(198, func(i int) int { return 101 * i }) // no two events in one tick
	wait := restyretry.Exponential(100*time.Millisecond, s)
	down := scenario{from: 4 * s, until: 8 * s, length: 18 * s, timeout: limit, capacity: 1.5, queue: 2 * s}
	refusing, slow := down, down
	refusing.refusing, refusing.speed = true, 1
	slow.speed = 0.5
	for name, s := range map[string]scenario{"hang": down, "refuse": refusing, "slow": slow} {
		for _, p := range []policy{
			{name: "off", attempts: 1, wait: wait},
			{name: "unbounded", attempts: 5, wait: wait},
			{name: "budget", attempts: 5, wait: wait, ratio: 0.3},
		} {
			t.Run(name+"/"+p.name, func(t *testing.T) {
				want, err := simulate(s, p, apart, 1)
				if err != nil {
					t.Fatal(err)
				}
				synctest.Test(t, func(t *testing.T) { compare(t, drive(t, s, p, apart), &want) })
			})
		}
	}
}

func compare(t *testing.T, got, want *result) {
	if got.sendings != want.sendings || !slices.Equal(got.attempts, want.attempts) {
		t.Errorf("got %d attempts, want %d, each at its time", got.sendings, want.sendings)
	}
	if got.successes != want.successes || !slices.Equal(got.good, want.good) {
		t.Errorf("got %d successes, want %d, each at its time", got.successes, want.successes)
	}
	if got.failures != want.failures || want.failures == 0 {
		t.Errorf("got %d failures, want %d", got.failures, want.failures)
	}
}

// drive is simulate with the real plugin, in a bubble.
func drive(t *testing.T, s scenario, p policy, c *crowd) *result {
	demand := float64(c.clients) / period.Seconds()
	wire := &wire{server: newServer(s, demand), result: newResult(s, p, demand), start: time.Now()}
	client := resty.New().SetTransport(wire).SetLogger(silent{})
	_, err := restyretry.Install(client, func(o *restyretry.Options) {
		o.Attempts, o.Wait, o.AttemptTimeout = p.attempts, p.wait, s.timeout
		if p.ratio > 0 {
			o.Budget = restyretry.NewBudget(p.ratio, 0)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for now := range int(s.length / tick) {
		for range c.due(s, now) {
			all.Go(func() { wire.end(client.R().Get("http://server.invalid/")) })
		}
		time.Sleep(tick)
	}
	all.Wait()
	return &wire.result
}

// A wire is the server as a transport.
type wire struct {
	mu     sync.Mutex
	server server
	result result
	start  time.Time
}

func (w *wire) now() int { return int(time.Since(w.start) / tick) }

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.result.sent(w.now())
	took, ok := w.server.offer(time.Since(w.start))
	w.mu.Unlock()
	if !ok {
		time.Sleep(latency)
		return answer(http.StatusServiceUnavailable).RoundTrip(r)
	}
	if err := sleep(r.Context(), time.Duration(ticks(took+latency))*tick); err != nil {
		return nil, err
	}
	return answer(http.StatusOK).RoundTrip(r)
}

func (w *wire) end(resp *resty.Response, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && resp.IsSuccess() {
		w.result.succeeded(w.now())
	} else {
		w.result.failed(w.now())
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
