package restyretry_test

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// memoryTransport answers at once, with the statuses in turn.
type memoryTransport struct {
	statuses []int
	next     int
	number   int // of the last attempt, by its context
}

func (t *memoryTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	status := t.statuses[t.next%len(t.statuses)]
	t.next++
	t.number = restyretry.Number(r.Context())
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok")), ContentLength: 2, Request: r,
	}, nil
}

func memoryClient(statuses ...int) *resty.Client {
	return resty.NewWithClient(&http.Client{Transport: &memoryTransport{statuses: statuses}}).
		SetBaseURL("http://api.test").SetLogger(harness.Silent{})
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
	allocs = testing.AllocsPerRun(200, f)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const runs = 200
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return allocs, float64((after.TotalAlloc - before.TotalAlloc) / runs)
}

// withoutWaits is our client; bare has no retries, and ownLoop those of Resty.
func withoutWaits(t testing.TB, statuses []int, opts ...func(*restyretry.Options)) *resty.Client {
	c := memoryClient(statuses...)
	opts = append(opts, func(o *restyretry.Options) { o.Wait = restyretry.Constant(0) })
	if _, err := restyretry.Install(c, opts...); err != nil {
		t.Fatal(err)
	}
	return c
}

func ownLoop(statuses []int) *resty.Client {
	return memoryClient(statuses...).SetRetryCount(2).SetRetryWaitTime(1).SetRetryMaxWaitTime(1).
		AddRetryCondition(func(resp *resty.Response, err error) bool { return err != nil || resp.StatusCode() >= 500 })
}

func withURLs(o *restyretry.Options) {
	o.URL = restyretry.URLs("http://api.test/x", "http://backup.test/x")
}

func withHooks(o *restyretry.Options) {
	o.Hooks = append(o.Hooks, restyretry.Hooks{
		OnAttempt: func(restyretry.Attempt) error { return nil },
		OnRetry:   func(restyretry.Attempt) {},
		OnDone:    func(restyretry.Attempt) {},
	})
}

// With a context, Resty alone copies the raw request of each attempt, 320 bytes.
// The bounds are those of the README's section on cost.
func TestWhatARequestAllocatesMoreThanInRestysOwnLoop(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	ok, retry := []int{200}, []int{503, 200}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	with := restyretry.With(ctx, func(o *restyretry.Options) { o.Attempts = 4 })
	for _, x := range []struct {
		name               string
		base, ours         *resty.Client
		baseCtx, ctx       context.Context
		maxAllocs, maxMore float64
	}{
		{"default", ownLoop(ok), withoutWaits(t, ok), nil, nil, 5, 1000},
		{"URL list", ownLoop(ok), withoutWaits(t, ok, withURLs), nil, nil, 11, 1300},
		{"hooks", ownLoop(ok), withoutWaits(t, ok, withHooks), nil, nil, 11, 1500},
		{"options", ownLoop(ok), withoutWaits(t, ok), nil, with, 11, 1300},
		{"context", ownLoop(ok), withoutWaits(t, ok), ctx, ctx, 5, 1000},
		{"context, options", ownLoop(ok), withoutWaits(t, ok), ctx, with, 11, 1300},
		{"context, URL list", ownLoop(ok), withoutWaits(t, ok, withURLs), ctx, ctx, 11, 1300},
		{"context, hooks", ownLoop(ok), withoutWaits(t, ok, withHooks), ctx, ctx, 11, 1500},
		{"one retry", ownLoop(retry), withoutWaits(t, retry), nil, nil, 8, 1800},
		{"one retry to the next URL", ownLoop(retry), withoutWaits(t, retry, withURLs), nil, nil, 14, 2200},
		{"options, one retry", ownLoop(retry), withoutWaits(t, retry), nil, with, 14, 2200},
		{"context, one retry", ownLoop(retry), withoutWaits(t, retry), ctx, ctx, 8, 1800},
	} {
		t.Run(x.name, func(t *testing.T) {
			baseAllocs, baseBytes := cost(sending(t, x.base, x.baseCtx))
			allocs, bytes := cost(sending(t, x.ours, x.ctx))
			if allocs -= baseAllocs; allocs > x.maxAllocs {
				t.Errorf("%v allocations more, want at most %v", allocs, x.maxAllocs)
			}
			if bytes -= baseBytes; bytes > x.maxMore {
				t.Errorf("%v bytes more, want at most %v", bytes, x.maxMore)
			}
			number := x.ours.GetClient().Transport.(*memoryTransport).number
			if want := len(x.ours.GetClient().Transport.(*memoryTransport).statuses); number != want {
				t.Errorf("the context of the last attempt has number %d, want %d", number, want)
			}
		})
	}
}

func BenchmarkRequest(b *testing.B) {
	ok, retry := []int{200}, []int{503, 200}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	with := restyretry.With(ctx, func(o *restyretry.Options) { o.Attempts = 4 })
	for _, x := range []struct {
		name   string
		client *resty.Client
		ctx    context.Context
	}{
		{"bare", memoryClient(ok...), nil},
		{"own loop", ownLoop(ok), nil},
		{"default", withoutWaits(b, ok), nil},
		{"URL list", withoutWaits(b, ok, withURLs), nil},
		{"hooks", withoutWaits(b, ok, withHooks), nil},
		{"context, bare", memoryClient(ok...), ctx},
		{"context", withoutWaits(b, ok), ctx},
		{"context with options", withoutWaits(b, ok), with},
		{"context, URL list", withoutWaits(b, ok, withURLs), ctx},
		{"context, hooks", withoutWaits(b, ok, withHooks), ctx},
		{"one retry, own loop", ownLoop(retry), nil},
		{"one retry", withoutWaits(b, retry), nil},
		{"context, one retry, own loop", ownLoop(retry), ctx},
		{"context, one retry", withoutWaits(b, retry), ctx},
		{"context, one retry, hooks", withoutWaits(b, retry, withHooks), ctx},
	} {
		send := sending(b, x.client, x.ctx)
		b.Run(x.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				send()
			}
		})
	}
}

func TestAnIdleCooldownAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	for _, x := range []struct {
		name string
		opts []func(*restyretry.Options)
	}{
		{"default", nil},
		{"hooks", []func(*restyretry.Options){withHooks}},
		{"Rotate", []func(*restyretry.Options){func(o *restyretry.Options) { o.URL = restyretry.Rotate("http://api.test") }}},
	} {
		t.Run(x.name, func(t *testing.T) {
			without, _ := cost(sending(t, withoutWaits(t, []int{200}, x.opts...), nil))
			with, _ := cost(sending(t, withoutWaits(t, []int{200}, append(x.opts, harness.Cooldown(new(restyretry.Cooldown)))...), nil))
			if with != without {
				t.Errorf("got %v allocations with a Cooldown, want %v as without", with, without)
			}
		})
	}
}

// BenchmarkRequestWithCooldown sends through a transport in memory: without a Cooldown, with
// one that is idle, with one where another host cools down.
func BenchmarkRequestWithCooldown(b *testing.B) {
	busy := new(restyretry.Cooldown)
	busy.Hold("http://other.test", time.Hour)
	for _, x := range []struct {
		name     string
		cooldown *restyretry.Cooldown
	}{{"none", nil}, {"idle", new(restyretry.Cooldown)}, {"another host cools", busy}} {
		b.Run(x.name, func(b *testing.B) {
			send := sending(b, withoutWaits(b, []int{200}, harness.Cooldown(x.cooldown)), nil)
			b.ReportAllocs()
			for b.Loop() {
				send()
			}
		})
	}
}
