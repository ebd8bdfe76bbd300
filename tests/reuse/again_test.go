// Package reuse tests that nothing of a call is left in its request or its context.
package reuse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

var used = harness.UsedUp(3)

type key struct{}

// contexts are those that a request may have. After the call it must have the same
// one again.
var contexts = map[string]context.Context{
	"plain": context.Background(), "a context": restyretry.With(context.WithValue(context.Background(), key{}, "mine"), harness.Rand(0)),
}

func TestARequestBeginsAnewWhenItIsUsedAgain(t *testing.T) {
	for name, ctx := range contexts {
		for _, onAttempt := range []bool{false, true} {
			harness.Bubble(t, name, func(t *testing.T) {
				c, numbers, want := harness.New(t, harness.Statuses(200, 503, 503, 503, 503, 200)), "", ""
				if onAttempt {
					want = "112312"
					_ = c.Plugin.Update(harness.OnAttempt(func(a restyretry.Attempt) error { numbers += fmt.Sprint(a.Number); return nil }))
				}
				r, url := c.R().SetContext(ctx), "/x?q=1"
				for _, want := range []string{"200 succeeded", used, "503 status 1s | 200 succeeded"} {
					for _, s := range c.Do(t, r, "GET", url).Want(t, want).Sent {
						harness.Equal(t, "sent", s.URL, harness.Base+"/x?q=1")
					}
					harness.Equal(t, "context", r.Context(), ctx)
					harness.Equal(t, "number in it", restyretry.Number(r.Context()), 0)
					url = r.URL // which Resty has completed: that is what Send does
				}
				harness.Equal(t, "numbers", numbers, want)
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
		for which, ctx := range contexts {
			harness.Bubble(t, name+", "+which, func(t *testing.T) {
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

func TestARequestWhoseRetryIsRefusedIsOverAndCounted(t *testing.T) {
	for name, ctx := range contexts {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503, 200))
			c.SetRateLimiter(harness.Tokens(1))
			r := c.R().SetContext(ctx)
			call := c.Do(t, r, "GET", "/x").WantStatus(t, -1)
			harness.WantIs(t, call.Err, resty.ErrRateLimitExceeded)
			call.WantStory(t, "503 status 1s | unsent not-sent")
			harness.Equal(t, "context", r.Context(), ctx)
			c.SetRateLimiter(harness.Tokens(1))
			c.Do(t, r, "GET", r.URL).Want(t, "200 succeeded")
			again := context.WithValue(ctx, key{}, "again")
			c.Do(t, r.SetContext(again), "GET", r.URL).Want(t, "unsent not-sent", resty.ErrRateLimitExceeded)
			harness.Equal(t, "context", r.Context(), again)
			harness.Equal(t, "requests given up", c.Plugin.Stats().GivenUp[restyretry.ReasonNotSent], 2)
		})
	}
}

func TestACurlCommandIsNoAttempt(t *testing.T) {
	harness.Bubble(t, "of a request that is refused", func(t *testing.T) {
		c := harness.New(t, harness.Statuses(200))
		r := c.SetDebug(true).EnableGenerateCurlOnDebug().R()
		r.Method, r.URL = "GET", "/x"
		if r.GenerateCurlCommand() == "" {
			t.Error("got no command, want one")
		}
		c.SetRateLimiter(harness.Tokens(0))
		c.Do(t, r, "GET", "/x").Want(t, "unsent not-sent", resty.ErrRateLimitExceeded)
	})
}

// Resty runs the middlewares once more for it, within themselves, and makes a raw
// request of its own. A ring of contexts would overflow the stack.
func TestACurlCommandInAMiddlewareLeavesTheAttemptAsItIs(t *testing.T) {
	for _, before := range []bool{true, false} {
		harness.Bubble(t, fmt.Sprint("before Install: ", before), func(t *testing.T) {
			c, shown := harness.Mock(harness.Statuses(503, 200)), false
			show := func(_ *resty.Client, r *resty.Request) error {
				if !shown {
					shown = true
					r.GenerateCurlCommand()
				}
				return nil
			}
			if before {
				c.OnBeforeRequest(show)
			}
			c.Install(t, harness.Wait(1e9))
			if !before {
				c.OnBeforeRequest(show)
			}
			c.OnAfterResponse(func(_ *resty.Client, resp *resty.Response) error {
				for _, ctx := range []context.Context{resp.Request.Context(), resp.Request.RawRequest.Context()} {
					harness.Equal(t, "value", ctx.Value(key{}), any("mine"))
				}
				return nil
			})
			r := c.SetDebug(true).EnableGenerateCurlOnDebug().R()
			c.Do(t, r.SetContext(contexts["a context"]), "GET", "/x").Want(t, "503 status 1s | 200 succeeded")
		})
	}
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

// A transport may do what it likes to the raw request of a Resty request.
func TestATransportMayPutAContextOfItsOwnIntoTheRequest(t *testing.T) {
	harness.Bubble(t, "derived from ours", func(t *testing.T) {
		c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
			*r = *r.WithContext(context.WithValue(r.Context(), key{}, "theirs"))
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
	harness.Bubble(t, "whatever keeps it from that", func(t *testing.T) {
		c, seen := harness.New(t, harness.Statuses(200)), ""
		look := func(who string, r *resty.Request) { seen += fmt.Sprintln(who, r.Context().Value(key{})) }
		c.OnError(func(r *resty.Request, _ error) { look("OnError", r) })
		c.OnPanic(func(r *resty.Request, _ error) { look("OnPanic", r) })
		r := c.R().SetContext(contexts["a context"])
		r.AddRetryCondition(func(*resty.Response, error) bool { look("condition", r); return false })
		c.Do(t, r, "GET", "http://[broken").Want(t, "unsent not-sent", harness.ErrAny)
		call := c.Do(t, r.SetBody(made{func() { look("marshaller", r); panic("no") }}), "PUT", "/x")
		harness.Equal(t, "panic", call.Panic, any("no"))
		harness.Equal(t, "seen", seen, "condition mine\nOnError mine\nmarshaller mine\nOnPanic mine\n")
	})
}

func TestAnUpdateLeavesARequestAloneThatHasBegun(t *testing.T) {
	harness.Bubble(t, "while Resty makes its body", func(t *testing.T) {
		c, hooked := harness.New(t, harness.Statuses(503, 200)), 0
		update := sync.OnceFunc(func() {
			_ = c.Plugin.Update(harness.OnAttempt(func(restyretry.Attempt) error { hooked++; return nil }))
		})
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
		ctx := restyretry.With(contexts["a context"], restyretry.Off)
		r := a.R().SetContext(ctx)
		call := base.Do(t, r, "GET", "/x")
		call.WantStory(t, "503 attempts")
		harness.Equal(t, "sent with", call.Sent[0].Request.Context().Value(key{}), any("mine"))
		harness.Equal(t, "context", r.Context(), ctx)
	})
}
