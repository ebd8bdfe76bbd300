package restyretry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"

	"github.com/restyretry/restyretry"
)

var errGoingHome = errors.New("going home")

// The caller cancels at each place where code of the caller's runs after a 503.
func TestARequestThatIsCancelledBeforeARetrySaysSo(t *testing.T) {
	type world struct {
		cancel func()
		client *resty.Client
		change func(*restyretry.Options)
	}
	places := map[string]struct {
		set  func(w *world)
		sent int
	}{
		"in the transport": {func(w *world) {
			w.client.SetTransport(roundTrip(func(r *http.Request) (*http.Response, error) {
				w.cancel()
				return httpmock.NewStringResponse(503, "busy"), nil
			}))
		}, 1},
		"in the transport, which tells": {func(w *world) {
			w.client.SetTransport(roundTrip(func(r *http.Request) (*http.Response, error) {
				if restyretry.Number(r.Context()) == 1 {
					return httpmock.NewStringResponse(503, "busy"), nil
				}
				w.cancel()
				<-r.Context().Done()
				return nil, r.Context().Err()
			}))
		}, 2},
		"in the transport, which fails otherwise": {func(w *world) {
			w.client.SetTransport(roundTrip(func(r *http.Request) (*http.Response, error) {
				w.cancel()
				return nil, io.ErrUnexpectedEOF
			}))
		}, 1},
		"in OnAfterResponse": {func(w *world) {
			w.client.OnAfterResponse(func(*resty.Client, *resty.Response) error { w.cancel(); return nil })
		}, 1},
		"in RetryIf": {func(w *world) {
			w.change = func(o *restyretry.Options) {
				o.ServerErrors = false
				o.RetryIf = func(restyretry.Attempt) bool { w.cancel(); return true }
			}
		}, 1},
		"in Unless": {func(w *world) {
			w.change = func(o *restyretry.Options) {
				o.Unless = func(restyretry.Attempt) bool { w.cancel(); return false }
			}
		}, 1},
		"in Wait": {func(w *world) {
			w.change = func(o *restyretry.Options) {
				o.Wait = func(restyretry.Attempt) time.Duration { w.cancel(); return 0 }
			}
		}, 1},
		"in OnRetry": {func(w *world) {
			w.change = func(o *restyretry.Options) {
				o.Hooks = []restyretry.Hooks{{OnRetry: func(restyretry.Attempt) { w.cancel() }}}
			}
		}, 1},
		"in OnAttempt": {func(w *world) {
			w.change = onAttempt(func(a restyretry.Attempt) error {
				if a.Number == 2 {
					w.cancel()
				}
				return nil
			})
		}, 1},
		"in the Target": {func(w *world) {
			w.change = func(o *restyretry.Options) {
				o.URL = restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
					if a.Number == 2 {
						w.cancel()
					}
					return "/x", nil
				})
			}
		}, 1},
		"in a condition of Resty's": {func(w *world) {
			w.change = func(o *restyretry.Options) { o.ServerErrors = false }
			w.client.AddRetryCondition(func(*resty.Response, error) bool { w.cancel(); return true })
		}, 1},
		"while it waits": {func(w *world) {
			time.AfterFunc(time.Second, w.cancel)
		}, 1},
	}
	for name, place := range places {
		for _, raw := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", raw"}[raw], func(t *testing.T) {
				if raw && name == "in OnAfterResponse" {
					t.Skip("Resty calls none")
				}
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancelCause(t.Context())
					sent := 0
					respond, _ := answers(503)
					w := &world{cancel: func() { cancel(errGoingHome) }, client: mocked(respond), change: func(*restyretry.Options) {}}
					place.set(w)
					var done []restyretry.Attempt
					p := install(t, w.client, constant(time.Minute), w.change, onDone(func(a restyretry.Attempt) { done = append(done, a) }))
					onward := w.client.GetClient().Transport
					w.client.SetTransport(roundTrip(func(r *http.Request) (*http.Response, error) {
						sent++
						return onward.RoundTrip(r)
					}))
					resp, err := w.client.R().SetContext(ctx).SetDoNotParseResponse(raw).Get("/x")
					if !errors.Is(err, context.Canceled) || !errors.Is(err, errGoingHome) {
						t.Errorf("got error %v, want one that is the context's and its cause", err)
					}
					if resp == nil || place.sent == 1 && !strings.Contains(name, "otherwise") && resp.StatusCode() != 503 {
						t.Errorf("got response %v, want the last one", resp)
					}
					if sent != place.sent {
						t.Errorf("sent %d times, want %d", sent, place.sent)
					}
					if len(done) != 1 || done[0].Reason != restyretry.ReasonCancelled || done[0].Number != place.sent {
						t.Errorf("got OnDone %v, want one of attempt %d, cancelled", done, place.sent)
					}
					if p.Stats().GivenUp[restyretry.ReasonCancelled] != 1 {
						t.Errorf("got %+v, want one request given up as cancelled", p.Stats())
					}
				})
			})
		}
	}
}

func TestASuccessIsASuccessAlsoWhereItsContextHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := mocked(nil).SetTransport(roundTrip(func(*http.Request) (*http.Response, error) {
			cancel()
			return httpmock.NewStringResponse(200, "fine"), nil
		}))
		install(t, c)
		resp, err := c.R().SetContext(ctx).Get("/x")
		if err != nil || resp.String() != "fine" {
			t.Errorf("got %v, %v, want the answer", resp, err)
		}
	})
}

// The request's context does not end while Resty has an attempt under way. What
// it sends does.
func TestAnAttemptEndsWithTheCallersContext(t *testing.T) {
	for name, set := range map[string]func(*resty.Client){
		"plain":     func(*resty.Client) {},
		"a trace":   func(c *resty.Client) { c.EnableTrace() },
		"a timeout": func(c *resty.Client) { c.SetTimeout(time.Hour) },
		"a middleware's value": func(c *resty.Client) {
			c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
				r.SetContext(context.WithValue(r.Context(), markKey{}, true))
				return nil
			})
		},
		"a middleware's timeout": func(c *resty.Client) {
			c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
				ctx, cancel := context.WithTimeout(r.Context(), time.Hour)
				time.AfterFunc(2*time.Hour, cancel)
				r.SetContext(ctx)
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := mocked(nil)
				install(t, c, func(o *restyretry.Options) { o.AttemptTimeout = time.Hour })
				set(c)
				c.SetTransport(roundTrip(func(r *http.Request) (*http.Response, error) {
					<-r.Context().Done()
					return nil, context.Cause(r.Context())
				}))
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(errGoingHome) })
				start := time.Now()
				_, err := c.R().SetContext(ctx).Get("/x")
				if took := time.Since(start); took != time.Second || !errors.Is(err, errGoingHome) || !errors.Is(err, context.Canceled) {
					t.Errorf("got %v after %v, want the end of the context after 1s", err, took)
				}
			})
		})
	}
}
