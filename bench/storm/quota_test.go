package main

import (
	"flag"
	"fmt"
	"image/color"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

// The command that the README names sets it.
var quotaChart = flag.String("quota-chart", "", "directory to write quota.svg and fleet.svg to")

// Sharing is who knows that the server has said wait.
type sharing int

const (
	none    sharing = iota // the request alone
	process                // a Cooldown of each process
	joined                 // the Cooldowns of all processes, as a fleet
)

// A quota is a server that answers so many requests in each window of time. It
// refuses the others by 429, and says to wait until the window is over. In the
// first 10 seconds twice as many come as it answers.
type quota struct {
	clients   int
	processes int // that the clients are in
	window    time.Duration
	sharing   sharing

	mu     sync.Mutex
	start  time.Time
	from   time.Duration // the present window
	taken  int           // in it
	result result
}

const arrivals = 10 * time.Second

func (q *quota) perSecond() int { return q.clients / int(2*arrivals/time.Second) }

func (q *quota) name() string {
	name := fmt.Sprintf("quota for %v", q.window)
	switch q.sharing {
	case process:
		name += ", Cooldown"
	case joined:
		name += ", fleet"
	}
	return name
}

func (q *quota) RoundTrip(r *http.Request) (*http.Response, error) {
	wait := q.take()
	time.Sleep(latency)
	if wait == 0 {
		return answer(http.StatusOK).RoundTrip(r)
	}
	resp, err := answer(http.StatusTooManyRequests).RoundTrip(r)
	resp.Header.Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	return resp, err
}

// take counts a request, and returns how long it has to wait to be answered.
func (q *quota) take() (wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Since(q.start)
	q.result.sent(int(now / tick))
	if from := now.Truncate(q.window); from != q.from {
		q.from, q.taken = from, 0
	}
	if q.taken == q.perSecond()*int(q.window/time.Second) {
		q.result.failures++
		return q.from + q.window - now
	}
	q.taken++
	q.result.succeeded(int(now / tick))
	return 0
}

// run sends a request of each client, and returns how long it took until all were
// answered. It is the plugin itself that does so.
func (q *quota) run(t *testing.T) (took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		q.start = time.Now()
		q.result = newResult(q.scenario(), q.policy(), float64(q.perSecond()))
		processes := q.install(t)
		rng := rand.New(rand.NewPCG(1, 0))
		var all sync.WaitGroup
		for i := range q.clients {
			client := processes[i%q.processes]
			begins := time.Duration(rng.Int64N(int64(arrivals)))
			all.Go(func() {
				time.Sleep(begins)
				if resp, err := client.R().Get("http://server.invalid/"); err != nil || !resp.IsSuccess() {
					t.Errorf("got %v, %v", resp, err)
				}
			})
		}
		all.Wait()
		took = time.Since(q.start)
	})
	return took
}

func (q *quota) scenario() scenario {
	s := scenario{
		name: "quota", title: "Quota",
		until: arrivals, length: 30 * time.Second, grain: time.Second / 5, unit: "quota",
	}
	if q.processes > 1 {
		s.name, s.title = "fleet", fmt.Sprintf("Quota, %d processes", q.processes)
	}
	return s
}

// install returns a client for each process.
func (q *quota) install(t *testing.T) (processes []*resty.Client) {
	var all fleet
	for range q.processes {
		client := resty.New().SetTransport(q).SetLogger(silent{})
		_, err := restyretry.Install(client, func(o *restyretry.Options) {
			o.Attempts, o.MaxServerWait = 100, time.Hour
			if q.sharing != none {
				o.Cooldown = new(restyretry.Cooldown)
			}
			if q.sharing == joined {
				all.join(o.Cooldown)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		processes = append(processes, client)
	}
	return processes
}

// A fleet passes on what one Cooldown is told to all others, as redisretry does:
// some milliseconds later, and only what makes a difference to what was passed on
// before. There must be one key.
type fleet struct {
	cooldowns []*restyretry.Cooldown

	mu   sync.Mutex
	ends time.Time // as passed on
}

func (f *fleet) join(c *restyretry.Cooldown) {
	f.cooldowns = append(f.cooldowns, c)
	c.Share(func(key string, d time.Duration) {
		if f.news(d) {
			f.tell(c, key, d)
		}
	})
}

func (f *fleet) news(d time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	ends := time.Now().Add(d)
	if ends.Sub(f.ends) <= min(d/10, time.Second) {
		return false
	}
	f.ends = ends
	return true
}

// tell takes 5 to 25 ms, for each process another time.
func (f *fleet) tell(from *restyretry.Cooldown, key string, d time.Duration) {
	for _, c := range f.cooldowns {
		if c != from {
			time.AfterFunc(5*time.Millisecond+rand.N(20*time.Millisecond), func() { c.Hold(key, d) })
		}
	}
}

// rush is the load in the busiest bin, as a multiple of the demand.
func (r *result) rush() float64 { return float64(slices.Max(r.attempts)) / bin.Seconds() / r.demand }

func (q *quota) policy() policy {
	p := policy{name: q.name(), colour: []color.Color{none: orange, process: green, joined: blue}[q.sharing]}
	if q.window > time.Second {
		p.dashes = dashed
	}
	return p
}

// A comparison is the same clients with two ways of sharing, the better one last.
type comparison struct {
	clients, processes int
	sharing            [2]sharing
	saves              int // the better one has at most a so-many-th refused
}

// TestQuota prints the README's table with -v.
func TestQuota(t *testing.T) {
	local, shared := [2]sharing{none, process}, [2]sharing{process, joined}
	comparisons := []comparison{{1000, 1, local, 5}, {1000, 100, shared, 2}, {1000, 1000, shared, 5}}
	if testing.Verbose() {
		comparisons = slices.Insert(comparisons, 1, comparison{10_000, 1, local, 5})
	}
	var table strings.Builder
	fmt.Fprintln(&table, "| clients | processes | quota | | requests refused | peak, of quota | all answered after |")
	fmt.Fprintln(&table, "|--:|--:|--:|---|--:|--:|--:|")
	for _, c := range comparisons {
		var results []result
		for _, window := range []time.Duration{time.Second, 10 * time.Second} {
			results = append(results, c.run(t, window, &table)...)
		}
		if *quotaChart == "" {
			continue
		}
		if err := chart(*quotaChart, results); err != nil { // the last of each name stays
			t.Fatal(err)
		}
	}
	t.Logf("\n%s", table.String())
}

// run writes a row for each way of sharing.
func (c comparison) run(t *testing.T, window time.Duration, table io.Writer) (results []result) {
	for _, sharing := range c.sharing {
		q := quota{clients: c.clients, processes: c.processes, window: window, sharing: sharing}
		took := q.run(t)
		fmt.Fprintln(table, q.row(took))
		results = append(results, q.result)
		if q.result.successes != c.clients {
			t.Errorf("%d processes, %s: got %d answered, want %d", c.processes, q.name(), q.result.successes, c.clients)
		}
	}
	last := results[1]
	if got, most := last.failures, results[0].failures/c.saves; got > most {
		t.Errorf("%d clients, %d processes, %s: got %d refused, want at most %d",
			c.clients, c.processes, last.policy.name, got, most)
	}
	return results
}

func (q *quota) row(took time.Duration) string {
	policy := []string{none: "without", process: "**Cooldown**", joined: "**fleet**"}[q.sharing]
	if q.sharing == process && q.processes > 1 {
		policy = "Cooldown each"
	}
	return fmt.Sprintf("| %d | %d | %d in %.0f s | %s | %d | %.1f | %.1f s |", q.clients, q.processes,
		q.perSecond()*int(q.window/time.Second), q.window.Seconds(), policy, q.result.failures, q.result.rush(), took.Seconds())
}
