package restyretry

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-resty/resty/v2"
)

func TestMethodsCrossInThisRestyAndThisGo(t *testing.T) {
	if !methodsCross() {
		t.Error("Resty or net/http makes a new string of the method: every request with a context costs 320 bytes more")
	}
}

func TestPlacesAreKnownAgainAndOthersAreNot(t *testing.T) {
	for i := range places {
		method := methodAt(i)
		if got, ok := placeOf(method); !ok || got != i || method != crossing[i/placesEach] {
			t.Errorf("place %d, %q, is not known again", i, method)
		}
	}
	for _, method := range append(crossing[:], "", "BREW", strings.Clone(methodAt(0))) {
		if at, ok := placeOf(method); ok {
			t.Errorf("an ordinary %q is taken for place %d", method, at)
		}
	}
}

// occupied counts the places that are taken.
func occupied() (n int) {
	for i := range places {
		if places[i].Load() != nil {
			n++
		}
	}
	return n
}

func isPlace(method string) bool {
	_, ok := placeOf(method)
	return ok
}

func TestWithoutAFreePlaceTheExecutionStaysInTheContext(t *testing.T) {
	for i := range places {
		places[i].Store(&execution{})
	}
	t.Cleanup(func() {
		for i := range places {
			places[i].Store(nil)
		}
	})
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "kept")
	var numbers []int
	c := handedClient(t, func(r *http.Request) (*http.Response, error) {
		numbers = append(numbers, Number(r.Context()))
		if r.Context().Value(key{}) != "kept" {
			t.Error("the caller's context is lost")
		}
		return answered(r, 200+303*(2-len(numbers))), nil
	})
	resp, err := c.R().SetContext(ctx).Get("http://api.test/")
	if err != nil || resp.StatusCode() != 200 || len(numbers) != 2 || numbers[1] != 2 {
		t.Errorf("got %v, %v, attempts %v", resp, err, numbers)
	}
}

func handedClient(t *testing.T, transport roundTrip, opts ...func(*Options)) *resty.Client {
	c := resty.NewWithClient(&http.Client{Transport: transport}).SetLogger(silent{})
	opts = append(opts, func(o *Options) { o.Wait = Constant(0) })
	if _, err := Install(c, opts...); err != nil {
		t.Fatal(err)
	}
	return c
}

func answered(r *http.Request, status int) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}
}

type refusesJSON struct{ with func() }

func (v refusesJSON) MarshalJSON() ([]byte, error) {
	if v.with != nil {
		v.with()
	}
	return nil, errors.New("no JSON")
}

type limiter func() bool

func (l limiter) Allow() bool { return l() }

// What happens between OnBeforeRequest and the pre-request hook must neither
// leave a place taken nor hide the request's context.
func TestARequestThatIsNeverMadeLeavesNoPlaceTaken(t *testing.T) {
	for _, x := range []struct {
		name string
		send func(*resty.Client, *resty.Request) (*resty.Response, error)
	}{
		{"URL", func(_ *resty.Client, r *resty.Request) (*resty.Response, error) { return r.Get("http://[broken") }},
		{"rate limit", func(c *resty.Client, r *resty.Request) (*resty.Response, error) {
			c.SetRateLimiter(limiter(func() bool { return false }))
			return r.Get("http://api.test/")
		}},
		{"panic on the way", func(c *resty.Client, r *resty.Request) (_ *resty.Response, err error) {
			defer func() {
				if recover() != nil {
					err = errors.New("panicked")
				}
			}()
			c.SetRateLimiter(limiter(func() bool { panic("no") }))
			return r.Get("http://api.test/")
		}},
		{"body", func(_ *resty.Client, r *resty.Request) (*resty.Response, error) {
			return r.SetBody(refusesJSON{}).Put("http://api.test/")
		}},
		{"panic", func(_ *resty.Client, r *resty.Request) (_ *resty.Response, err error) {
			defer func() {
				if recover() != nil {
					err = errors.New("panicked")
				}
			}()
			return r.SetBody(refusesJSON{func() { panic("no") }}).Put("http://api.test/")
		}},
		{"foreign condition", func(_ *resty.Client, r *resty.Request) (*resty.Response, error) {
			return r.AddRetryCondition(func(*resty.Response, error) bool { return true }).Get("http://[broken")
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			done := 0
			c := handedClient(t, func(r *http.Request) (*http.Response, error) { return answered(r, 200), nil }, func(o *Options) {
				o.Hooks = append(o.Hooks, Hooks{OnDone: func(Attempt) { done++ }})
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := c.R().SetContext(ctx)
			if _, err := x.send(c, r); err == nil {
				t.Fatal("got no error")
			}
			if done != 1 {
				t.Errorf("OnDone ran %d times", done)
			}
			if r.Context() != ctx {
				t.Error("the request has not its own context any more")
			}
			if n := occupied(); n != 0 || underWay(r.Method) != nil || isPlace(r.Method) {
				t.Errorf("%d places are taken, the method is at one: %v", n, isPlace(r.Method))
			}
		})
	}
}

func TestManyRequestsAtOnceKeepTheirOwnContexts(t *testing.T) {
	type key struct{}
	var mixed, attempts atomic.Int64
	c := handedClient(t, func(r *http.Request) (*http.Response, error) {
		attempts.Add(1)
		if r.Context().Value(key{}) != r.Header.Get("Request") || r.Method != r.Header.Get("Method") || isPlace(r.Method) {
			mixed.Add(1)
		}
		if Number(r.Context()) == 1 {
			return answered(r, 503), nil
		}
		return answered(r, 200), nil
	})
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			method := crossing[i%len(crossing)]
			for n := range 50 {
				id := strings.Repeat("x", i) + strings.Repeat("y", n)
				r := c.R()
				if n%2 == 0 {
					r.SetBody("text")
				}
				_, err := r.SetContext(context.WithValue(t.Context(), key{}, id)).
					SetHeader("Request", id).SetHeader("Method", method).SetHeader("Idempotency-Key", id).
					Execute(method, "http://api.test/")
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if mixed.Load() != 0 || attempts.Load() != 64*50*2 || occupied() != 0 {
		t.Errorf("%d of %d attempts had the context of another request, %d places are taken", mixed.Load(), attempts.Load(), occupied())
	}
}

func TestATracedRequestKeepsItsContext(t *testing.T) {
	type key struct{}
	for _, traced := range []bool{true, false} {
		c := handedClient(t, func(r *http.Request) (*http.Response, error) {
			if r.Context().Value(key{}) != "kept" || httptrace.ContextClientTrace(r.Context()) == nil {
				t.Error("the caller's context is lost, or the trace")
			}
			return answered(r, 200), nil
		})
		r := c.R().SetContext(context.WithValue(t.Context(), key{}, "kept"))
		if traced {
			r.EnableTrace()
		} else {
			c.EnableTrace()
		}
		if resp, err := r.Get("http://api.test/"); err != nil || resp.Request.TraceInfo().TotalTime == 0 {
			t.Errorf("got %v, total time %v", err, resp.Request.TraceInfo().TotalTime)
		}
	}
}
