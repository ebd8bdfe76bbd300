// Package reuse tests that nothing of a call is left in its request or its context.
package reuse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

const used = "503 status 1s | 503 status 1s | 503 attempts"

type key struct{}

// marked returns a context that is known again.
func marked(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, "mine") }

func TestARequestBeginsAnewWhenItIsUsedAgain(t *testing.T) {
	for name, set := range map[string]func(*harness.Client, *string){
		"plain": func(*harness.Client, *string) {},
		"with an OnAttempt": func(c *harness.Client, numbers *string) {
			_ = c.Plugin.Update(harness.OnAttempt(func(a restyretry.Attempt) error { *numbers += fmt.Sprint(a.Number); return nil }))
		},
	} {
		for _, ctx := range []context.Context{context.Background(), restyretry.With(marked(context.Background()), harness.Rand(0))} {
			harness.Bubble(t, name, func(t *testing.T) {
				c, numbers := harness.New(t, harness.Statuses(200, 503, 503, 503, 503, 200)), ""
				set(c, &numbers)
				r := c.R().SetContext(ctx)
				url := "/x?q=1"
				for _, want := range []string{"200 succeeded", used, "503 status 1s | 200 succeeded"} {
					call := c.Do(t, r, "GET", url).Want(t, want)
					for _, s := range call.Sent {
						harness.Equal(t, "sent", s.URL, harness.Base+"/x?q=1")
					}
					harness.Equal(t, "context", r.Context(), ctx)
					harness.Equal(t, "number in it", restyretry.Number(r.Context()), 0)
					url = r.URL // which Resty has completed: that is what Send does
				}
				if numbers != "" {
					harness.Equal(t, "numbers", numbers, "112312")
				}
				harness.Equal(t, "attempts", c.Plugin.Stats().Attempts, 6)
			})
		}
	}
}

func TestARequestWithTheContextOfAnotherCountsByItself(t *testing.T) {
	harness.Bubble(t, "in OnRetry", func(t *testing.T) {
		c, inner := harness.New(t, harness.Statuses(503)), []string(nil)
		_ = c.Plugin.Update(harness.OnRetry(func(a restyretry.Attempt) {
			if a.URL == harness.Base+"/outer" {
				r := c.R().SetContext(a.Request.Context())
				if _, err := r.Get("/inner"); err != nil {
					t.Errorf("got %v, want no error", err)
				}
				inner = append(inner, harness.Story(restyretry.History(r)))
			}
		}))
		call := c.Do(t, c.R().SetContext(t.Context()), "GET", "/outer")
		harness.Equal(t, "outer", harness.Story(call.History), used)
		harness.Equal(t, "inner", strings.Join(inner, "; "), used+"; "+used)
		harness.Equal(t, "sent", len(call.Sent), 3+2*3)
	})
}

func TestSendAgainUsesTheNewParameter(t *testing.T) {
	for name, set := range map[string]func(*resty.Client, *resty.Request, string){
		"path":            func(_ *resty.Client, r *resty.Request, id string) { r.SetPathParam("id", id) },
		"raw path":        func(_ *resty.Client, r *resty.Request, id string) { r.SetRawPathParam("id", id) },
		"client path":     func(c *resty.Client, _ *resty.Request, id string) { c.SetPathParam("id", id) },
		"client raw path": func(c *resty.Client, _ *resty.Request, id string) { c.SetRawPathParam("id", id) },
		"query":           func(_ *resty.Client, r *resty.Request, id string) { r.SetQueryParam("id", id) },
		"client query": func(c *resty.Client, r *resty.Request, id string) {
			clear(r.QueryParam) // Resty has put the client's in there
			c.SetQueryParam("id", id)
		},
	} {
		for _, ctx := range []context.Context{context.Background(), marked(context.Background())} {
			harness.Bubble(t, name, func(t *testing.T) {
				c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
					r.URL.Host = "inside.test" // whatever the transport does to it
					return harness.Says(200)(n, r)
				})
				to, sent := "/a/{id}", "/a/%d"
				if strings.Contains(name, "query") {
					to, sent = "/a", "/a?id=%d"
				}
				r := c.R().SetContext(ctx)
				r.URL = to
				for _, id := range []int{1, 2, 2} {
					set(c.Client, r, fmt.Sprint(id))
					c.Do(t, r, "GET", r.URL).Want(t, "200 succeeded").WantSent(t, fmt.Sprintf(sent, id))
				}
			})
		}
	}
}

// tokens is a rate limiter that lets so many attempts through.
type tokens struct{ left int }

func (a *tokens) Allow() bool { a.left--; return a.left >= 0 }

func TestARequestWhoseRetryIsRefusedIsOverAndCounted(t *testing.T) {
	for name, ctx := range map[string]context.Context{"plain": context.Background(), "context": marked(context.Background())} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503, 200))
			c.SetRateLimiter(&tokens{1})
			r := c.R().SetContext(ctx)
			call := c.Do(t, r, "GET", "/x").WantStatus(t, -1)
			harness.WantIs(t, call.Err, resty.ErrRateLimitExceeded)
			harness.Equal(t, "story", harness.Story(call.History), "503 status 1s | unsent not-sent")
			harness.Equal(t, "context", r.Context(), ctx)
			c.SetRateLimiter(&tokens{1})
			c.Do(t, r, "GET", r.URL).Want(t, "200 succeeded")
			again := marked(ctx)
			c.Do(t, r.SetContext(again), "GET", r.URL).Want(t, "unsent not-sent", resty.ErrRateLimitExceeded)
			harness.Equal(t, "context", r.Context(), again)
			harness.Equal(t, "requests given up", c.Plugin.Stats().GivenUp[restyretry.ReasonNotSent], 2)
		})
	}
}

func TestACurlCommandIsNoAttempt(t *testing.T) {
	harness.Bubble(t, "of a request that is refused", func(t *testing.T) {
		c := harness.New(t, harness.Statuses(200))
		c.SetDebug(true).EnableGenerateCurlOnDebug()
		r := c.R().SetBody(strings.NewReader("the text"))
		r.Method, r.URL = "PUT", "/x"
		if got := r.GenerateCurlCommand(); !strings.Contains(got, "the text") {
			t.Errorf("got %q, want the body in it", got)
		}
		c.SetRateLimiter(&tokens{0})
		c.Do(t, r, "PUT", "/x").Want(t, "unsent not-sent", resty.ErrRateLimitExceeded)
	})
}

func TestARequestThatIsNeverMadeKeepsNoEarlierUse(t *testing.T) {
	uses := 0
	c := harness.New(t, harness.Statuses(200), harness.OnAttempt(func(restyretry.Attempt) error {
		if uses++; uses > 1 {
			return errors.New("refused")
		}
		return nil
	}))
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	r, before := c.R(), heap()
	for range 300 {
		_, _ = r.SetContext(context.WithValue(t.Context(), key{}, make([]byte, 100<<10))).Get("/x")
	}
	if after := heap(); after > before+5<<20 {
		t.Errorf("got %d MiB more after 300 uses", (after-before)>>20)
	}
	runtime.KeepAlive(r)
}

func TestARequestThatIsRefusedBeforeItIsSentKeepsWhatItHas(t *testing.T) {
	idle := harness.OnAttempt(func(restyretry.Attempt) error { return nil })
	for name, options := range map[string][]harness.Option{
		"credentials from https to http": {idle, harness.URL(restyretry.URLs("https://a.test/", "http://b.test/"))},
		"an error of the Target": {idle, harness.URL(restyretry.TargetFunc(func(restyretry.Attempt) (string, error) {
			return "", errors.New("none")
		}))},
		"a panic of OnAttempt": {harness.OnAttempt(func(a restyretry.Attempt) error {
			a.Request.SetHeader("Set", "by OnAttempt").SetBody("text")
			panic("no")
		})},
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(200), options...)
			r := c.R().SetHeader("Authorization", "x").SetQueryParam("q", "1")
			call := c.Do(t, r, "GET", "/")
			if call.Err == nil && call.Panic == nil {
				t.Error("got no error, want one")
			}
			if len(r.Header) != 1 || r.Header.Get("Authorization") != "x" || r.QueryParam.Get("q") != "1" || r.Body != nil {
				t.Errorf("got %v, %v, %v left in the request, want what was there", r.Header, r.QueryParam, r.Body)
			}
		})
	}
}

func TestWhatATargetChangesIsForThatAttempt(t *testing.T) {
	harness.Bubble(t, "beside an OnAttempt", func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503), harness.OnAttempt(func(restyretry.Attempt) error { return nil }),
			harness.URL(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
				a.Request.QueryParam.Add("t", fmt.Sprint(a.Number))
				return a.Request.URL, nil
			})))
		call := c.Get(t, "/x").Want(t, used).WantSent(t, "/x?t=1", "/x?t=2", "/x?t=3")
		harness.Equal(t, "parameters left", len(call.Request.QueryParam), 0)
	})
}

// A Resty request has a raw one to which a transport may do what it likes.
func TestATransportMayPutAContextOfItsOwnIntoTheRequest(t *testing.T) {
	harness.Bubble(t, "derived from ours", func(t *testing.T) {
		c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
			*r = *r.WithContext(marked(r.Context()))
			return harness.Statuses(503, 200)(n, r)
		})
		c.Get(t, "/x").Want(t, "503 status 1s | 200 succeeded")
		harness.Equal(t, "recovered", c.Plugin.Stats().Recovered, 1)
	})
}

// A made body calls a function while Resty makes JSON of it.
type made struct{ by func() }

func (m made) MarshalJSON() ([]byte, error) { m.by(); return []byte("{}"), nil }

func TestOthersSeeTheContextOfARequestThatIsNotMade(t *testing.T) {
	var seen []any
	look := func(r *resty.Request) { seen = append(seen, r.Context().Value(key{})) }
	for name, send := range map[string]func(*harness.Client, *resty.Request){
		"OnError": func(c *harness.Client, r *resty.Request) {
			c.OnError(func(r *resty.Request, _ error) { look(r) })
			_, _ = r.Get("http://[broken")
		},
		"OnPanic": func(c *harness.Client, r *resty.Request) {
			c.OnPanic(func(r *resty.Request, _ error) { look(r) })
			defer func() { _ = recover() }()
			_, _ = r.SetBody(made{func() { panic("no") }}).Put("/x")
		},
		"a condition": func(_ *harness.Client, r *resty.Request) {
			_, _ = r.AddRetryCondition(func(*resty.Response, error) bool { look(r); return false }).Get("http://[broken")
		},
		"a marshaller": func(_ *harness.Client, r *resty.Request) {
			_, _ = r.SetBody(made{func() { look(r) }}).Put("/x")
		},
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(200))
			seen = nil
			send(c, c.R().SetContext(marked(context.Background())))
			if len(seen) == 0 || slices.Contains(seen, nil) {
				t.Errorf("got %v, want the value each time", seen)
			}
		})
	}
}

func TestAnUpdateLeavesARequestAloneThatHasBegun(t *testing.T) {
	harness.Bubble(t, "while Resty makes its body", func(t *testing.T) {
		c, hooked, begun := harness.New(t, harness.Statuses(503, 200)), 0, false
		update := func() {
			if !begun {
				begun = true
				_ = c.Plugin.Update(harness.OnAttempt(func(restyretry.Attempt) error { hooked++; return nil }))
			}
		}
		c.Do(t, c.R().SetHeader("X-Mine", "1").SetBody(made{update}), "PUT", "/x").
			Want(t, "503 status 1s | 200 succeeded").WantHeader(t, "X-Mine", "1", "1")
		harness.Equal(t, "calls of the new hook", hooked, 0)
	})
}

// Clones share the memory of their list of middlewares, and one may write where the
// other has written.
func TestAMiddlewareThatRunsTwiceForOneAttemptChangesNothing(t *testing.T) {
	harness.Bubble(t, "on a clone", func(t *testing.T) {
		base := harness.Mock(harness.Statuses(503))
		idle := func(*resty.Client, *resty.Request) error { return nil }
		for range 5 { // the list has room for 8 then
			base.OnBeforeRequest(idle)
		}
		a, b := base.Clone().OnBeforeRequest(idle), base.Clone()
		for _, c := range []*resty.Client{a, b} { // b overwrites the last middleware of a with its own
			if _, err := restyretry.Install(c, harness.OnDone(func(restyretry.Attempt) {})); err != nil {
				t.Fatal(err)
			}
		}
		ctx := restyretry.With(marked(context.Background()), restyretry.Off)
		r := a.R().SetContext(ctx)
		call := base.Do(t, r, "GET", "/x")
		harness.Equal(t, "story", harness.Story(call.History), "503 attempts")
		harness.Equal(t, "sent with", call.Sent[0].Request.Context().Value(key{}), any("mine"))
		harness.Equal(t, "context", r.Context(), ctx)
	})
}
