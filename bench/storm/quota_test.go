package main

import (
	"flag"
	"fmt"
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
var quotaChart = flag.String("quota-chart", "", "directory to write quota.svg to")

// A quota is a server that answers so many requests in each window of time. It
// refuses the others by 429, and says to wait until the window is over. In the
// first 10 seconds twice as many come as it answers.
type quota struct {
	clients int
	window  time.Duration
	share   bool // a Cooldown

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
	if q.share {
		name += ", Cooldown"
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
		q.result = newResult(scenario{
			name: "quota", title: "Quota",
			until: arrivals, length: 30 * time.Second, grain: time.Second / 5, unit: "quota",
		}, q.policy(), float64(q.perSecond()))
		client := resty.New().SetTransport(q).SetLogger(silent{})
		_, err := restyretry.Install(client, func(o *restyretry.Options) {
			o.Attempts, o.MaxServerWait = 100, time.Hour
			if q.share {
				o.Cooldown = new(restyretry.Cooldown)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 0))
		var all sync.WaitGroup
		for range q.clients {
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

// rush is the load in the busiest bin, as a multiple of the demand.
func (r *result) rush() float64 { return float64(slices.Max(r.attempts)) / bin.Seconds() / r.demand }

func (q *quota) policy() policy {
	p := policy{name: q.name(), colour: orange}
	if q.share {
		p.colour = green
	}
	if q.window > time.Second {
		p.dashes = dashed
	}
	return p
}

// TestQuota prints the README's table with -v.
func TestQuota(t *testing.T) {
	crowds := []int{1000}
	if testing.Verbose() {
		crowds = append(crowds, 10_000)
	}
	var table strings.Builder
	fmt.Fprintln(&table, "| clients | quota | | requests refused | peak, of quota | all answered after |")
	fmt.Fprintln(&table, "|--:|--:|---|--:|--:|--:|")
	var results []result
	for _, clients := range crowds {
		results = nil
		for _, window := range []time.Duration{time.Second, 10 * time.Second} {
			without := quota{clients: clients, window: window}
			with := quota{clients: clients, window: window, share: true}
			for _, q := range []*quota{&without, &with} {
				took := q.run(t)
				fmt.Fprintln(&table, q.row(took))
				results = append(results, q.result)
				if q.result.successes != clients {
					t.Errorf("%s: got %d answered, want %d", q.name(), q.result.successes, clients)
				}
			}
			if got, most := with.result.failures, without.result.failures/5; got > most {
				t.Errorf("%d clients, %s: got %d refused, want at most %d", clients, with.name(), got, most)
			}
		}
	}
	t.Logf("\n%s", table.String())
	if *quotaChart != "" {
		if err := chart(*quotaChart, results); err != nil {
			t.Fatal(err)
		}
	}
}

func (q *quota) row(took time.Duration) string {
	policy := "without"
	if q.share {
		policy = "**Cooldown**"
	}
	return fmt.Sprintf("| %d | %d in %.0f s | %s | %d | %.1f | %.1f s |", q.clients, q.perSecond()*int(q.window/time.Second),
		q.window.Seconds(), policy, q.result.failures, q.result.rush(), took.Seconds())
}
