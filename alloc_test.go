package restyretry_test

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// memory answers at once, with the statuses in turn.
type memory struct {
	statuses []int
	next     int
	number   int // of the last attempt, by its context
}

func (m *memory) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	status := m.statuses[m.next%len(m.statuses)]
	m.next++
	m.number = restyretry.Number(r.Context())
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok")), ContentLength: 2, Request: r,
	}, nil
}

func (m *memory) client() *resty.Client {
	return resty.NewWithClient(&http.Client{Transport: m}).SetLogger(harness.Silent{})
}

// ours is a client with the plugin, ownLoop one with retries of Resty's.
func ours(t testing.TB, m *memory, opts ...harness.Option) *resty.Client {
	c := m.client()
	if _, err := restyretry.Install(c, append(slices.Clip(opts), harness.Wait(0))...); err != nil {
		t.Fatal(err)
	}
	return c
}

func ownLoop(m *memory) *resty.Client {
	return m.client().SetRetryCount(2).SetRetryWaitTime(1).SetRetryMaxWaitTime(1).
		AddRetryCondition(func(resp *resty.Response, err error) bool { return err != nil || resp.StatusCode() >= 500 })
}

// sending returns a function that sends one GET.
func sending(t testing.TB, c *resty.Client, ctx context.Context) func() {
	return func() {
		r := c.R()
		if ctx != nil {
			r.SetContext(ctx)
		}
		if resp, err := r.Get("http://api.test/x"); err != nil || resp.StatusCode() != 200 {
			t.Fatalf("got %v, %v, want 200", resp, err)
		}
	}
}

// cost is what one run of f allocates. The garbage collector is off meanwhile,
// since it empties the pools of net/http and Resty.
func cost(f func()) (allocs, bytes float64) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	const runs = 200
	allocs = testing.AllocsPerRun(runs, f)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return allocs, float64((after.TotalAlloc - before.TotalAlloc) / runs)
}

var (
	ok, retry = []int{200}, []int{503, 200}

	toURLs    = harness.URL(restyretry.URLs("http://api.test/x", "http://backup.test/x"))
	withHooks = harness.Hooks(restyretry.Hooks{
		OnAttempt: func(restyretry.Attempt) error { return nil },
		OnRetry:   func(restyretry.Attempt) {},
		OnDone:    func(restyretry.Attempt) {},
	})
)

// A load is a kind of request, and what it may allocate more than in Resty's own
// loop. The README promises the first, bench checks some of them too.
type load struct {
	name          string
	statuses      []int
	opts          []harness.Option
	context       bool // Resty alone copies the raw request of each attempt then, 320 bytes
	with          bool // options in the context
	allocs, bytes float64
}

var loads = []load{
	{"default", ok, nil, false, false, 5, 1000},
	{"URL list", ok, []harness.Option{toURLs}, false, false, 11, 1300},
	{"hooks", ok, []harness.Option{withHooks}, false, false, 11, 1500},
	{"options", ok, nil, false, true, 11, 1300},
	{"context", ok, nil, true, false, 5, 1000},
	{"context, options", ok, nil, true, true, 11, 1300},
	{"context, URL list", ok, []harness.Option{toURLs}, true, false, 11, 1300},
	{"context, hooks", ok, []harness.Option{withHooks}, true, false, 11, 1500},
	{"one retry", retry, nil, false, false, 8, 1800},
	{"one retry to the next URL", retry, []harness.Option{toURLs}, false, false, 14, 2200},
	{"options, one retry", retry, nil, false, true, 14, 2200},
	{"context, one retry", retry, nil, true, false, 8, 1800},
}

// contexts are those of the request in Resty's own loop, and of ours.
func (l load) contexts(ctx context.Context) (own, ours context.Context) {
	if l.context {
		own, ours = ctx, ctx
	}
	if l.with {
		ours = restyretry.With(ctx, harness.Attempts(4))
	}
	return own, ours
}

func TestWhatARequestAllocatesMoreThanInRestysOwnLoop(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, l := range loads {
		t.Run(l.name, func(t *testing.T) {
			own, with := l.contexts(ctx)
			transport := &memory{statuses: l.statuses}
			ownAllocs, ownBytes := cost(sending(t, ownLoop(&memory{statuses: l.statuses}), own))
			allocs, size := cost(sending(t, ours(t, transport, l.opts...), with))
			if allocs-ownAllocs > l.allocs || size-ownBytes > l.bytes {
				t.Errorf("%v allocations and %v bytes more, want at most %v and %v", allocs-ownAllocs, size-ownBytes, l.allocs, l.bytes)
			}
			harness.Equal(t, "number of the last attempt", transport.number, len(l.statuses))
		})
	}
}

func TestABudgetOrAnIdleCooldownAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	for name, opt := range map[string]harness.Option{
		"default": func(*restyretry.Options) {},
		"hooks":   withHooks,
		"Rotate":  harness.URL(restyretry.Rotate("http://api.test")),
	} {
		allocs := func(opts ...harness.Option) float64 {
			n, _ := cost(sending(t, ours(t, &memory{statuses: ok}, opts...), nil))
			return n
		}
		without := allocs(opt)
		harness.Equal(t, name+", allocations with a Cooldown", allocs(opt, harness.Cooldown(new(restyretry.Cooldown))), without)
		harness.Equal(t, name+", allocations with a Budget", allocs(opt, harness.Budget(restyretry.NewBudget(0.1, 10))), without)
	}
}

func BenchmarkRequest(b *testing.B) {
	run := func(name string, send func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				send()
			}
		})
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	for _, l := range loads {
		own, with := l.contexts(ctx)
		if !l.with && l.opts == nil {
			run(l.name+", own loop", sending(b, ownLoop(&memory{statuses: l.statuses}), own))
		}
		run(l.name, sending(b, ours(b, &memory{statuses: l.statuses}, l.opts...), with))
	}
	run("bare", sending(b, (&memory{statuses: ok}).client(), nil))
	run("context, bare", sending(b, (&memory{statuses: ok}).client(), ctx))
	busy := new(restyretry.Cooldown)
	busy.Hold("http://other.test", time.Hour)
	run("idle cooldown", sending(b, ours(b, &memory{statuses: ok}, harness.Cooldown(new(restyretry.Cooldown))), nil))
	run("cooldown of another host", sending(b, ours(b, &memory{statuses: ok}, harness.Cooldown(busy)), nil))
}

// posting returns a function that sends a body of a mebibyte.
func posting(t testing.TB, c *resty.Client) func() {
	body := make([]byte, 1<<20)
	return func() {
		r := c.R().SetHeader("Idempotency-Key", "1").SetHeader("Content-Type", "text/plain").SetBody(body)
		if resp, err := r.Post("http://api.test/x"); err != nil || resp.StatusCode() != 200 {
			t.Fatalf("got %v, %v, want 200", resp, err)
		}
	}
}

func TestABodyOfAMebibyteIsNotCopied(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	if _, bytes := cost(posting(t, ours(t, &memory{statuses: retry}))); bytes > 32<<10 {
		t.Errorf("got %v bytes allocated by a request with a retry, want at most 32 KiB", bytes)
	}
}

func BenchmarkRetryPOST1MiB(b *testing.B) {
	for name, c := range map[string]*resty.Client{"Resty": ownLoop(&memory{statuses: retry}), "plugin": ours(b, &memory{statuses: retry})} {
		post := posting(b, c)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				post()
			}
		})
	}
}
