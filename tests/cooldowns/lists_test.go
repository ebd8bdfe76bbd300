package cooldowns

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// refused is how an attempt fails where nothing listens.
var refused = harness.Fails(&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED})

// bases makes base URLs of hosts: "a b c".
func bases(names string) (urls []string) {
	for name := range strings.FieldsSeq(names) {
		urls = append(urls, "http://"+name+".test")
	}
	return urls
}

// region returns a client of a list of hosts with a Cooldown. A host without a
// script answers by 200.
func region(t testing.TB, target restyretry.Target, hosts map[string]harness.Script, opts ...harness.Option) (*harness.Client, *restyretry.Cooldown) {
	cooldown := &restyretry.Cooldown{Max: time.Minute}
	seen, mu := map[string]int{}, sync.Mutex{}
	return harness.New(t, func(_ int, r *http.Request) (*http.Response, error) {
		name := strings.TrimSuffix(r.URL.Host, ".test")
		if script := hosts[name]; script != nil {
			mu.Lock()
			seen[name]++
			n := seen[name]
			mu.Unlock()
			return script(n, r)
		}
		return harness.Says(200)(1, r)
	}, append([]harness.Option{harness.Cooldown(cooldown), harness.URL(target)}, opts...)...), cooldown
}

// asked tells which hosts were asked.
func asked(sent []harness.Sent) string {
	var names []string
	for _, s := range sent {
		names = append(names, strings.TrimSuffix(s.Request.URL.Host, ".test"))
	}
	return strings.Join(names, " ")
}

// takeDown has a request find out that nothing listens at a host.
func takeDown(t testing.TB, c *restyretry.Cooldown, host string) {
	list := restyretry.BaseURLs(host, "http://spare.test")
	harness.New(t, refused, restyretry.Off, harness.Cooldown(c), harness.URL(list)).Get(t, "/").Want(t, "error attempts", syscall.ECONNREFUSED)
}

// Of the hosts "a b c", a number cools down for so many seconds, "-" is down and
// "+" answers.
func TestTheFirstHostOfAListThatIsUpIsAsked(t *testing.T) {
	first, urls, rotate := restyretry.BaseURLs, restyretry.URLs, restyretry.Rotate
	for _, tt := range []struct {
		states string
		target func(...string) restyretry.Target
		turns  int // of a Rotate before this
		want   string
		held   string
	}{
		{"60 + +", first, 0, "b", ""},
		{"- + +", first, 0, "b", ""},
		{"60 - +", first, 0, "c", ""},
		{"- - -", first, 0, "a", ""},
		{"60 60 60", first, 0, "a", " held 1m0s"},
		{"60", first, 0, "a", " held 1m0s"},
		{"-", first, 0, "a", ""},
		{"60 + +", urls, 0, "b", ""},

		{"+ 60 +", rotate, 1, "c", ""},
		{"+ 60 60", rotate, 1, "a", ""},
		{"30 - 60", rotate, 1, "b", ""},
		{"60 60 60", rotate, 1, "b", " held 1m0s"},
		{"+ 60 +", rotate, 4, "c", ""},
	} {
		harness.Bubble(t, fmt.Sprint(tt.states, " after ", tt.turns), func(t *testing.T) {
			states := strings.Fields(tt.states)
			list := bases("a b c")[:len(states)]
			c, cooldown := region(t, tt.target(list...), nil)
			for range tt.turns {
				c.Get(t, "/")
			}
			for i, state := range states {
				if seconds, err := time.ParseDuration(state + "s"); err == nil {
					cooldown.Hold(list[i], seconds)
				} else if state == "-" {
					takeDown(t, cooldown, list[i])
				}
			}
			call := c.Get(t, "/").Want(t, "200 succeeded"+tt.held)
			harness.Equal(t, "asked", asked(call.Sent), tt.want)
		})
	}
}

func TestEachAttemptPassesOverHostsFromItsOwnEntryOn(t *testing.T) {
	list := bases("a b c")
	for _, tt := range []struct {
		name, cooling, failing string
		target                 restyretry.Target
		want                   string
	}{
		{"the second", "b", "a", restyretry.BaseURLs(list...), "a c"},
		{"the second goes back", "b c", "a", restyretry.BaseURLs(list...), "a a a"},
		{"each from its own entry", "a", "b", restyretry.BaseURLs(list...), "b b c"},
		{"Rotate", "b", "a", restyretry.Rotate(list...), "a c"},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c, cooldown := region(t, tt.target, map[string]harness.Script{tt.failing: harness.Says(500)})
			for _, key := range bases(tt.cooling) {
				cooldown.Hold(key, time.Minute)
			}
			harness.Equal(t, "asked", asked(c.Get(t, "/").Sent), tt.want)
		})
	}
}

func TestAWaitBindsNoOtherHostOfAList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := region(t, restyretry.BaseURLs(bases("a b")...), map[string]harness.Script{
			"a": harness.Each(harness.Says(503, "Retry-After: 60"), harness.Says(200)),
		})
		c.Get(t, "/").Want(t, "503 status 1s | 200 succeeded")
		for range 58 {
			time.Sleep(time.Second)
			c.Get(t, "/").Want(t, "200 succeeded")
		}
		harness.Equal(t, "asked", asked(c.Sent()), "a"+strings.Repeat(" b", 59))
		time.Sleep(2 * time.Second)
		harness.Equal(t, "asked then", asked(c.Get(t, "/").Sent), "a")
	})
}

// Requests come ten times a second. While the host is being tried for a second,
// they go to b, and then to a again. None fails.
func TestAHostOfAListRecoversByOneRequestThatTriesIt(t *testing.T) {
	for _, tt := range []struct {
		name  string
		until time.Duration // a is busy or refuses connections
		busy  harness.Script
		want  string
	}{
		{"cooling", time.Minute, harness.Says(429, "Retry-After: 60"), `^a( b)+ a( b){9,10}( a)+$`},
		{"down", 45 * time.Second, refused, `^a(( b)+ a){5}( b)+ a( b){9,10}( a)+$`}, // at 0, 1, 3, 7, 15, 31 s, more or less
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			start := time.Now()
			c, _ := region(t, restyretry.BaseURLs(bases("a b")...), map[string]harness.Script{
				"a": func(n int, r *http.Request) (*http.Response, error) {
					if time.Since(start) < tt.until {
						return tt.busy(n, r)
					}
					return harness.After(time.Second, harness.Says(200))(n, r)
				},
			})
			for time.Since(start) < 2*time.Minute {
				go func() {
					if resp, err := c.R().Get("/"); err != nil || resp.StatusCode() != 200 {
						t.Errorf("got %v, %v", resp, err)
					}
				}()
				time.Sleep(100*time.Millisecond + 1)
			}
			time.Sleep(time.Minute)
			if got := asked(c.Sent()); !regexp.MustCompile(tt.want).MatchString(got) {
				t.Errorf("got %s asked, want %s", got, tt.want)
			}
		})
	}
}

// Host a of "a b" answers by a redirect that is refused, or is never asked.
func TestWhatIsNoFailureOfAHostTakesItNotDown(t *testing.T) {
	for name, set := range map[string]func(*harness.Client){
		"a redirect that is refused": func(c *harness.Client) {
			c.SetRedirectPolicy(resty.RedirectPolicyFunc(func(*http.Request, []*http.Request) error { return harness.ErrAny }))
		},
		"a request that cannot be logged": func(c *harness.Client) {
			c.SetDebug(true).OnRequestLog(func(*resty.RequestLog) error { return harness.ErrAny })
		},
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c, _ := region(t, restyretry.BaseURLs(bases("a b")...), map[string]harness.Script{"a": harness.Says(302, "Location: /y")})
			set(c)
			for range 6 {
				call := c.Get(t, "/")
				harness.Equal(t, "where it goes", strings.Contains(call.Done[0].URL, "//a.test/"), true)
			}
		})
	}
}

// Each request asks one host of "a b", without a retry.
func TestAHostOfAListGoesDownByItsFailures(t *testing.T) {
	list := restyretry.BaseURLs(bases("a b")...)
	status := func(n int, fields ...string) harness.Script { return harness.Says(n, fields...) }
	const never = "a a a a a a a"
	for _, tt := range []struct {
		name   string
		target restyretry.Target
		a      harness.Script
		opt    harness.Option // if there is one
		pause  time.Duration  // after each
		want   string
	}{
		{"no connection", list, refused, nil, 0, "a b b b b b b"},
		{"no connection, of a Rotate", restyretry.Rotate(bases("a b")...), refused, nil, 0, "a b b b b b b"},
		{"errors", list, harness.Fails(syscall.ECONNRESET), nil, 0, "a a a a a b b"},
		{"500", list, status(500), nil, 0, "a a a a a b b"},
		{"503", list, status(503), nil, 0, "a a a a a b b"},
		{"503 with a wait of no time", list, status(503, "Retry-After: 0"), nil, 0, "a a a a a b b"},
		{"timeouts", list, harness.Hangs, harness.AttemptTimeout(1), 0, "a a a a a b b"},
		{"after a success", list, harness.Statuses(500, 500, 500, 500, 200, 500), nil, 0, "a a a a a a a a a a b"},

		{"404", list, status(404), nil, 0, never},
		{"501", list, status(501), nil, 0, never},
		{"503 with a wait", list, status(503, "Retry-After: 1"), nil, 1500 * time.Millisecond, never},
		{"errors that are not retried", list, refused, func(o *restyretry.Options) { o.Errors = nil }, 0, never},
		{"500 that is not retried", list, status(500), func(o *restyretry.Options) { o.ServerErrors = false }, 0, never},
		{"a list of one", restyretry.BaseURLs(bases("a")...), refused, nil, 0, never},
		{"no Cooldown", list, refused, harness.Cooldown(nil), 0, never},
		{
			"a function", restyretry.TargetFunc(func(restyretry.Attempt) (string, error) { return "http://a.test/", nil }),
			refused, nil, 0, never,
		},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			opts := []harness.Option{restyretry.Off}
			if tt.opt != nil {
				opts = append(opts, tt.opt)
			}
			c, _ := region(t, tt.target, map[string]harness.Script{"a": tt.a}, opts...)
			for range strings.FieldsSeq(tt.want) {
				c.Get(t, "/")
				time.Sleep(tt.pause)
			}
			harness.Equal(t, "asked", asked(c.Sent()), tt.want)
		})
	}
}

func TestAnErrorOfOnAfterResponseTakesNoHostDown(t *testing.T) {
	harness.Bubble(t, "after an empty body of unknown length", func(t *testing.T) {
		c := harness.Mock(func(n int, r *http.Request) (*http.Response, error) {
			resp, err := harness.Says(200, "", "")(n, r)
			resp.ContentLength = -1
			return resp, err
		})
		c.Install(t, restyretry.Off, harness.Cooldown(&restyretry.Cooldown{}), harness.URL(restyretry.BaseURLs(bases("a b")...)))
		c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return io.ErrUnexpectedEOF })
		for range 7 {
			c.Get(t, "/")
		}
		harness.Equal(t, "asked", asked(c.Sent()), "a a a a a a a")
	})
}

// Seven requests are ended by their callers while host a of "a b" has them.
func TestACallersEndSaysOfAHostOnlyWhetherItCanBeReached(t *testing.T) {
	waits := func(n int, r *http.Request) (*http.Response, error) { // for a connection that others use
		httptrace.ContextClientTrace(r.Context()).GetConn(r.URL.Host)
		return harness.Hangs(n, r)
	}
	connects := func(n int, r *http.Request) (*http.Response, error) { // in vain
		httptrace.ContextClientTrace(r.Context()).ConnectStart("tcp", r.URL.Host)
		return waits(n, r)
	}
	sends := func(n int, r *http.Request) (*http.Response, error) {
		httptrace.ContextClientTrace(r.Context()).WroteHeaderField("Accept", nil)
		return connects(n, r)
	}
	deadline := func(d time.Duration) func(context.Context) (context.Context, context.CancelFunc) {
		return func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, d) }
	}
	const never = "a a a a a a a"
	for _, tt := range []struct {
		name   string
		script harness.Script
		end    func(context.Context) (context.Context, context.CancelFunc)
		want   string
	}{
		{"no connection for 2 s", connects, deadline(2 * time.Second), "a a a a a b b"},
		{"no connection for a second", connects, deadline(time.Second), never},
		{"all connections in use for 2 s", waits, deadline(2 * time.Second), never},
		{"no answer for 2 s", sends, deadline(2 * time.Second), never},
		{"nothing is known of the connection", harness.Hangs, deadline(2 * time.Second), never},
		{"cancelled after 2 s", connects, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(2*time.Second, cancel)
			return ctx, cancel
		}, never},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c, _ := region(t, restyretry.BaseURLs(bases("a b")...), map[string]harness.Script{"a": tt.script}, restyretry.Off)
			for range strings.FieldsSeq(tt.want) {
				ctx, cancel := tt.end(t.Context())
				c.Do(t, c.R().SetContext(ctx), "GET", "/")
				cancel()
			}
			harness.Equal(t, "asked", asked(c.Sent()), tt.want)
		})
	}
}

// A key may be the same for all hosts, or for none.
func TestAHostThatIsDownIsPassedOverWhateverTheKeyIs(t *testing.T) {
	for _, key := range []string{"", "tenant"} {
		harness.Bubble(t, key, func(t *testing.T) {
			cooldown := &restyretry.Cooldown{Key: func(*url.URL, *resty.Request) string { return key }}
			c, _ := region(t, restyretry.BaseURLs(bases("a b")...), map[string]harness.Script{"a": refused}, harness.Cooldown(cooldown), restyretry.Off)
			for range 4 {
				c.Get(t, "/")
			}
			harness.Equal(t, "asked", asked(c.Sent()), "a b b b")
		})
	}
}

func TestAHostThatIsDownIsNeverRefused(t *testing.T) {
	for names, want := range map[string]string{"a": "a a a a a a", "a b": "a b b a b b"} {
		harness.Bubble(t, names, func(t *testing.T) {
			c, _ := region(t, restyretry.BaseURLs(bases(names)...), map[string]harness.Script{"a": refused, "b": refused}, harness.Wait(time.Millisecond))
			for range 2 {
				c.Get(t, "/").Want(t, "error error 1ms | error error 1ms | error attempts", syscall.ECONNREFUSED)
			}
			harness.Equal(t, "asked", asked(c.Sent()), want)
		})
	}
}

func TestCredentialsStayWithHTTPSWhenAHostIsPassedOver(t *testing.T) {
	list := []string{"https://a.test", "http://b.test"}
	for name, target := range map[string]func(...string) restyretry.Target{"BaseURLs": restyretry.BaseURLs, "Rotate": restyretry.Rotate, "URLs": restyretry.URLs} {
		for _, tt := range []struct {
			from                        string
			request, attempt, sentAfter string // tokens
		}{
			{"nowhere", "", "", ""},
			{"the request", "secret", "", ""},
			{"OnAttempt", "", "secret", ""},
			{"a middleware", "", "", "secret"},
		} {
			harness.Bubble(t, name+", from "+tt.from, func(t *testing.T) {
				c, cooldown := region(t, target(list...), nil, harness.OnAttempt(func(a restyretry.Attempt) error {
					a.Request.Token += tt.attempt
					return nil
				}))
				c.SetBaseURL("")
				c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error { r.Token += tt.sentAfter; return nil })
				cooldown.Hold(list[0], 30*time.Second)
				call := c.Do(t, c.R().SetAuthToken(tt.request), "GET", "/x")
				if tt.from == "nowhere" {
					call.Want(t, "200 succeeded")
					harness.Equal(t, "asked", asked(call.Sent), "b")
					return
				}
				call.WantSent(t)
				harness.WantError(t, call.Err, "credentials", "https")
			})
		}
	}
}
