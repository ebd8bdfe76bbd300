package restyretry_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

// waiting answers 503 and asks for a wait of so many seconds.
func waiting(seconds string) httpmock.Responder {
	return func(*http.Request) (*http.Response, error) {
		resp := httpmock.NewStringResponse(503, "busy")
		resp.Header.Set("Retry-After", seconds)
		return resp, nil
	}
}

// jsonAnswers answers 503 with each JSON text in turn.
func jsonAnswers(texts ...string) httpmock.Responder {
	n := 0
	return func(*http.Request) (*http.Response, error) {
		resp := httpmock.NewStringResponse(503, texts[n])
		resp.Header.Set("Content-Type", "application/json")
		n++
		return resp, nil
	}
}

// refuseSecond is an OnAttempt that refuses the second attempt.
func refuseSecond(why error) func(restyretry.Attempt) error {
	return func(a restyretry.Attempt) error {
		if a.Number == 2 {
			return why
		}
		return nil
	}
}

// Where something puts a context before ours, such as a trace, and the next
// attempt has been chosen before the wait, the request still ends at once.
func TestARefusedRetryEndsAtOnceUnderATrace(t *testing.T) {
	why := errors.New("breaker open")
	for name, test := range map[string]struct {
		change func(*restyretry.Options)
		want   error
	}{
		"OnAttempt refuses": {onAttempt(refuseSecond(why)), why},
		"MaxElapsed is over, RaiseForStatus": {func(o *restyretry.Options) {
			o.URL = restyretry.BaseURLs("http://a.test", "http://a.test")
			o.MaxElapsed, o.RaiseForStatus = 10*time.Second, true
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := mocked(waiting("20"))
				install(t, c, test.change)
				start := time.Now()
				resp, err := c.R().EnableTrace().Get("/x")
				if took := time.Since(start); took > 0 || resp == nil || err == nil || test.want != nil && !errors.Is(err, test.want) {
					t.Errorf("got %v, %v after %v, want 503 and the error at once", resp, err, took)
				}
			})
		})
	}
}

func TestACancelledChoiceKeepsItsCauseUnderATrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		c := mocked(waiting("20"))
		install(t, c, onAttempt(func(a restyretry.Attempt) error {
			if a.Number == 2 {
				cancel(errGoingHome)
			}
			return nil
		}))
		_, err := c.R().SetContext(ctx).EnableTrace().Get("/x")
		if !errors.Is(err, context.Canceled) || !errors.Is(err, errGoingHome) {
			t.Errorf("got %v, want the cause as well", err)
		}
	})
}

// What an OnAfterResponse does with the request's context, such as another
// request, has at least the time limit that it asks for, and the caller's.
func TestATimeoutInOnAfterResponseWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := answers(200)
		c := mocked(respond)
		install(t, c)
		took := time.Duration(0)
		c.OnAfterResponse(func(_ *resty.Client, resp *resty.Response) error {
			ctx, cancel := context.WithTimeout(resp.Request.Context(), 5*time.Second)
			defer cancel()
			start := time.Now()
			_ = sleepIn(ctx, time.Hour)
			took = time.Since(start)
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := c.R().SetContext(ctx).Get("/x"); err != nil || took > 5*time.Second {
			t.Errorf("got %v after %v, want 2s, or 5s at most", err, took)
		}
	})
}

func TestEveryAttemptHasAReasonAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mocked(waiting("1"))
		install(t, c, onAttempt(func(a restyretry.Attempt) error {
			if a.Number == 2 {
				panic("broken")
			}
			return nil
		}))
		r := c.R()
		func() {
			defer func() { _ = recover() }()
			_, _ = r.Get("/x")
		}()
		for _, a := range restyretry.History(r) {
			if a.Reason == "" {
				t.Errorf("got %q, want a reason for each", summary(restyretry.History(r)))
			}
		}
	})
}

func TestAnAttemptThatADebugLogRefusedWasNotSent(t *testing.T) {
	respond, _ := answers(200)
	c := mocked(respond).SetDebug(true).OnRequestLog(func(*resty.RequestLog) error { return errors.New("no log") })
	install(t, c)
	r := c.R()
	_, err := r.Get("/x")
	last := restyretry.History(r)[0]
	if err == nil || last.Reason != restyretry.ReasonNotSent || last.Start.IsZero() || last.Took > time.Minute {
		t.Errorf("got %v, %s, started %v, took %v; want a start and no time", err, last.Reason, last.Start, last.Took)
	}
}

// A request that is used again and again keeps nothing of what came before.
func TestARequestThatIsNeverMadeKeepsNoEarlierUse(t *testing.T) {
	respond, _ := answers(200)
	c := mocked(respond)
	uses := 0
	install(t, c, onAttempt(func(restyretry.Attempt) error {
		if uses++; uses > 1 {
			return errors.New("refused")
		}
		return nil
	}))
	type key struct{}
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

// A header field that differs in each attempt must not count as the key by which
// the server knows the request again.
func TestTheNumberOfAnAttemptIsNoIdempotencyKey(t *testing.T) {
	for name, change := range map[string]func(*restyretry.Options){
		"the standard field": func(o *restyretry.Options) { o.AttemptHeader = "idempotency-key" },
		"the same field":     func(o *restyretry.Options) { o.AttemptHeader, o.IdempotencyHeader = "X-Key", "X-Key" },
	} {
		t.Run(name, func(t *testing.T) {
			respond, calls := answers(503)
			c := mocked(respond)
			if _, err := restyretry.Install(c, constant(0), change); err != nil {
				return
			}
			if _, _ = c.R().Post("/orders"); *calls != 1 {
				t.Errorf("sent an order %d times, each with a key of its own", *calls)
			}
		})
	}
}

// A closing body counts how often it is closed.
type closing struct {
	io.Reader
	closed int
}

func (c *closing) Close() error { c.closed++; return nil }

// Whatever ends a request before it is sent, its body is closed.
func TestTheBodyOfARequestThatIsNeverSentIsClosed(t *testing.T) {
	cooling := func(o *restyretry.Options) {
		o.Cooldown = &restyretry.Cooldown{}
		o.Cooldown.Hold("http://api.test", 30*time.Second)
	}
	broken := func(restyretry.Attempt) error { panic("broken") }
	for name, test := range map[string]struct {
		change   func(*restyretry.Options)
		deadline time.Duration
		cancel   time.Duration
	}{
		"a Cooldown refuses it":      {cooling, time.Second, time.Minute},
		"cancelled while it is held": {cooling, time.Minute, time.Second},
		"OnAttempt panics":           {onAttempt(broken), time.Minute, time.Minute},
		"the Target panics": {func(o *restyretry.Options) {
			o.URL = restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) { return "", broken(a) })
		}, time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, calls := answers(200)
				c := mocked(respond)
				install(t, c, test.change)
				ctx, cancel := context.WithTimeout(t.Context(), test.deadline)
				defer cancel()
				time.AfterFunc(test.cancel, cancel)
				body := &closing{Reader: strings.NewReader("content")}
				func() {
					defer func() { _ = recover() }()
					_, _ = c.R().SetContext(ctx).SetBody(body).Put("/x")
				}()
				if *calls != 0 || body.closed != 1 {
					t.Errorf("sent %d times, closed %d times, want 0 and 1", *calls, body.closed)
				}
			})
		})
	}
}

// What docs/recipes.md says of its breaker: every OnAttempt is followed by one
// OnRetry or OnDone.
func TestEveryOnAttemptHasItsEnd(t *testing.T) {
	for name, change := range map[string]func(*restyretry.Options){
		"MaxElapsed":    func(o *restyretry.Options) { o.MaxElapsed = 10 * time.Second },
		"MaxServerWait": func(o *restyretry.Options) { o.MaxServerWait = time.Second },
		"Budget":        func(o *restyretry.Options) { o.Budget = restyretry.NewBudget(0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun, ended := 0, 0
				c := mocked(waiting("20"))
				install(t, c, change, func(o *restyretry.Options) {
					o.Hooks = []restyretry.Hooks{{
						OnAttempt: func(restyretry.Attempt) error { begun++; return nil },
						OnRetry:   func(restyretry.Attempt) { ended++ },
						OnDone:    func(restyretry.Attempt) { ended++ },
					}}
				})
				if _, err := c.R().Get("/x"); err != nil || begun != ended {
					t.Errorf("got %v, %d begun and %d ended", err, begun, ended)
				}
			})
		})
	}
}

// A token that OnRetry has refreshed is sent, whether some OnAttempt is there or
// not, and whether the server has asked for a wait or not.
func TestATokenOfOnRetryIsSentAlsoBesideAnOnAttempt(t *testing.T) {
	for name, wait := range map[string]string{"no wait": "", "a wait": "1"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := mocked(func(r *http.Request) (*http.Response, error) {
					if r.Header.Get("Authorization") == "Bearer new" {
						return httpmock.NewStringResponse(200, "OK"), nil
					}
					resp := httpmock.NewStringResponse(401, "expired")
					resp.Header.Set("Retry-After", wait)
					return resp, nil
				}).SetAuthToken("old")
				install(t, c, onAttempt(func(restyretry.Attempt) error { return nil }), func(o *restyretry.Options) {
					o.Statuses = append(o.Statuses, http.StatusUnauthorized)
					o.Hooks = append(o.Hooks, restyretry.Hooks{OnRetry: func(a restyretry.Attempt) { a.Request.SetAuthToken("new") }})
				})
				if resp, err := c.R().Get("/x"); err != nil || resp.StatusCode() != 200 {
					t.Errorf("got %v, %v, want 200", resp.StatusCode(), err)
				}
			})
		})
	}
}

type embedded struct{ Details map[string]string }

// Each attempt is decoded into the values as they were given.
func TestADecodedErrorHasNothingOfEarlierAttempts(t *testing.T) {
	t.Run("in an embedded struct", func(t *testing.T) {
		c := mocked(jsonAnswers(`{"Details":{"a":"1"}}`, `{"Details":{"b":"1"}}`))
		install(t, c, attempts(2), constant(0))
		type failure struct{ embedded }
		e := &failure{embedded{map[string]string{"given": "1"}}}
		_, err := c.R().SetError(e).Get("/x")
		if got := slices.Sorted(maps.Keys(e.Details)); err != nil || !slices.Equal(got, []string{"b", "given"}) {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

// A middleware may take the raw body out of a response; the error is its own.
func TestAResponseWithoutABodyIsNotClosed(t *testing.T) {
	respond, _ := answers(200)
	c := mocked(respond)
	why := errors.New("refused")
	c.OnAfterResponse(func(_ *resty.Client, resp *resty.Response) error {
		resp.RawResponse.Body = nil
		return why
	})
	install(t, c)
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("got panic %v", p)
		}
	}()
	if _, err := c.R().Get("/x"); !errors.Is(err, why) {
		t.Errorf("got %v, want the middleware's error", err)
	}
}

// After an error resp is nil, and its Request is easily nil as well.
func TestHistoryOfNoRequestIsEmpty(t *testing.T) {
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("got panic %v", p)
		}
	}()
	if got := restyretry.History(nil); got != nil {
		t.Errorf("got %v", got)
	}
}

// A bareContext is a context of another make: package context cannot look into it.
type bareContext struct {
	context.Context
	done chan struct{}
}

func (c *bareContext) Done() <-chan struct{} { return c.done }
func (c *bareContext) Value(any) any         { return nil }
func (c *bareContext) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

// A middleware derives a context from the request's, whose caller has a context
// of another make and cancels while the attempt is under way. The goroutine of
// package context panics if Done is closed and Err is nil.
func TestAContextOfAnotherMakeIsCancelledDuringAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &bareContext{t.Context(), make(chan struct{})}
		c := mocked(func(r *http.Request) (*http.Response, error) {
			close(own.done)
			<-r.Context().Done()
			synctest.Wait()
			return nil, r.Context().Err()
		})
		install(t, c)
		c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
			ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
			t.Cleanup(cancel)
			r.SetContext(ctx)
			synctest.Wait()
			return nil
		})
		if _, err := c.R().SetContext(own).Get("/x"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that it was cancelled", err)
		}
	})
}
