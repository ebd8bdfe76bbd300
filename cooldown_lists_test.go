package restyretry_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
)

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// hostsOf makes base URLs of names: "a b c".
func hostsOf(names string) (urls []string) {
	for name := range strings.FieldsSeq(names) {
		urls = append(urls, "http://"+name+".test")
	}
	return urls
}

// A region is a list of hosts with a Cooldown. What answer says of a host, or
// nothing for a success, is what the host answers.
type region struct {
	*origin
	client   *resty.Client
	cooldown *restyretry.Cooldown
}

func newRegion(t testing.TB, list restyretry.Target, answer func(host string) (*http.Response, error), opts ...func(*restyretry.Options)) *region {
	r := &region{cooldown: new(restyretry.Cooldown)}
	r.origin = newOrigin(func(_ int, hr *http.Request) (*http.Response, error) {
		if answer == nil {
			return nil, nil
		}
		return answer(strings.TrimSuffix(hr.URL.Host, ".test"))
	})
	r.client = mocked(r.respond)
	install(t, r.client, append([]func(*restyretry.Options){constant(time.Second / 2), withCooldown(r.cooldown), urlTo(list)}, opts...)...)
	return r
}

// takeDown has a request find out that nothing listens at a host.
func (r *region) takeDown(t testing.TB, name string) {
	refusing := mocked(func(*http.Request) (*http.Response, error) { return nil, errRefused })
	install(t, refusing, restyretry.Off, withCooldown(r.cooldown), urlTo(restyretry.BaseURLs(hostsOf(name+" spare")...)))
	if _, err := refusing.R().Get("/x"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("got %v, want it refused", err)
	}
}

// For each host of the list: "+" answers, "-" is down, a number cools down for so
// many seconds.
func TestTheOrderInAList(t *testing.T) {
	for _, tt := range []struct {
		name   string
		states string
		turns  int // of a Rotate before this; -1 for a list that begins at a
		want   string
		held   time.Duration
	}{
		{"all answer", "+ + +", -1, "a", 0},
		{"the first cools", "60 + +", -1, "b", 0},
		{"the first is down", "- + +", -1, "b", 0},
		{"the first cools, the second is down", "60 - +", -1, "c", 0},
		{"the second cools", "+ 60 +", -1, "a", 0},
		{"one is down, the others cool", "60 - 30", -1, "b", 0},
		{"one cools, the others are down", "60 - -", -1, "b", 0},
		{"all are down", "- - -", -1, "a", 0},
		{"all cool: the one that is free first", "60 30 45", -1, "b", 30 * time.Second},
		{"all cool for as long", "30 30 30", -1, "a", 30 * time.Second},
		{"the other is down too", "- -", -1, "a", 0},
		{"the other cools", "- 60", -1, "a", 0},

		{"Rotate, all answer", "+ + +", 1, "b", 0},
		{"Rotate, its turn cools", "+ 60 +", 1, "c", 0},
		{"Rotate, its turn is down", "+ - +", 1, "c", 0},
		{"Rotate, the end of the list cools", "+ 60 60", 1, "a", 0},
		{"Rotate, down before cooling", "30 - 60", 1, "b", 0},
		{"Rotate, all are down", "- - -", 1, "b", 0},
		{"Rotate, all cool", "30 60 45", 1, "a", 30 * time.Second},
		{"Rotate, once round", "+ 60 +", 4, "c", 0},

		{"a list of one that cools", "60", -1, "a", 60 * time.Second},
		{"a list of one that is down", "-", -1, "a", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				states := strings.Fields(tt.states)
				names := strings.Fields("a b c")[:len(states)]
				list := hostsOf(strings.Join(names, " "))
				target := restyretry.BaseURLs(list...)
				if tt.turns >= 0 {
					target = restyretry.Rotate(list...)
				}
				r := newRegion(t, target, nil)
				for range tt.turns {
					get200(t, r.client)
				}
				r.visits = nil
				for i, state := range states {
					switch state {
					case "+":
					case "-":
						r.takeDown(t, names[i])
					default:
						d, err := time.ParseDuration(state + "s")
						if err != nil {
							t.Fatal(err)
						}
						r.cooldown.Hold(list[i], d)
					}
				}
				get200(t, r.client)
				if got := r.hosts(); got != tt.want {
					t.Errorf("got %s asked, want %s", got, tt.want)
				}
				if at := r.at()[0]; at < tt.held || at > tt.held*11/10 {
					t.Errorf("got it sent after %v, want %v", at, tt.held)
				}
			})
		})
	}
}

func TestURLsAndLaterAttemptsPassOverHostsToo(t *testing.T) {
	for _, tt := range []struct {
		name, states string // that cool
		list         restyretry.Target
		failing      string
		want         string
	}{
		{"URLs", "a", restyretry.URLs(hostsOf("a b c")...), "", "b"},
		{"the second attempt", "b", restyretry.BaseURLs(hostsOf("a b c")...), "a", "a c"},
		{"the second attempt goes back", "b c", restyretry.BaseURLs(hostsOf("a b c")...), "a", "a a a"},
		{"each attempt from its own entry", "a", restyretry.BaseURLs(hostsOf("a b c")...), "b", "b b c"},
		{"Rotate", "b", restyretry.Rotate(hostsOf("a b c")...), "a", "a c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRegion(t, tt.list, func(host string) (*http.Response, error) {
					if host == tt.failing {
						return reply(500), nil
					}
					return nil, nil
				})
				for _, key := range hostsOf(tt.states) {
					r.cooldown.Hold(key, time.Minute)
				}
				if _, err := r.client.R().Get("/x"); err != nil {
					t.Error(err)
				}
				if got := r.hosts(); got != tt.want {
					t.Errorf("got %s asked, want %s", got, tt.want)
				}
			})
		})
	}
}

// a says 503 and wait to the first, which goes to b after Wait. The next ones
// begin at b for a minute.
func TestAWaitBindsNoOtherHostOfAList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := true
		r := newRegion(t, restyretry.BaseURLs(hostsOf("a b")...), func(host string) (*http.Response, error) {
			if busy && host == "a" {
				return reply(503, "Retry-After", "60"), nil
			}
			return nil, nil
		})
		get200(t, r.client)
		busy = false
		for range 58 {
			time.Sleep(time.Second)
			get200(t, r.client)
		}
		if got, want := r.hosts(), "a"+strings.Repeat(" b", 59); got != want {
			t.Errorf("got %s asked, want a once and then b", got)
		}
		if at := r.at(); rounded(at[1]) != time.Second/2 {
			t.Errorf("got b asked after %v, want Wait", at[1])
		}
	})
}

// a says wait. When that is over, one request asks it, for a second, while others
// go to b; then all go to a again.
func TestAListRecoversByOneProbe(t *testing.T) {
	for _, tt := range []struct {
		name  string
		until time.Duration // a is busy or refuses connections
		busy  func() (*http.Response, error)
		tries int // until then, from the first on
	}{
		{"cooling", time.Minute, func() (*http.Response, error) { return reply(429, "Retry-After", "60"), nil }, 1},
		{"down", 45 * time.Second, func() (*http.Response, error) { return nil, errRefused }, 6}, // 0, 1, 3, 7, 15, 31 s, more or less
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				r := newRegion(t, restyretry.BaseURLs(hostsOf("a b")...), func(host string) (*http.Response, error) {
					switch {
					case host == "b":
						return nil, nil
					case time.Since(start) < tt.until:
						return tt.busy()
					}
					time.Sleep(time.Second)
					return nil, nil
				})
				for time.Since(start) < 3*time.Minute {
					go get200(t, r.client)
					time.Sleep(100*time.Millisecond + 1)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				before, during, after, elsewhere := 0, 0, 0, 0
				var probe time.Duration
				for _, v := range r.visits {
					switch {
					case v.host == "b.test" && probe != 0 && v.at > probe+time.Second:
						elsewhere++
					case v.host == "b.test":
					case v.at < tt.until:
						before++
					case probe == 0:
						probe, during = v.at, 1
					case v.at < probe+time.Second:
						during++
					default:
						after++
					}
				}
				if before != tt.tries || during != 1 || after < 500 || elsewhere != 0 {
					t.Errorf("got a asked %d times before, %d times by probes, %d times after, and b %d times after; want %d, 1, over 500, 0",
						before, during, after, elsewhere, tt.tries)
				}
			})
		})
	}
}

// Nothing listens at a for an hour. Of the requests that come all the time, one
// tries it after 1 s, 2 s, 4 s and so on up to a minute, give or take a fifth. None
// fails.
func TestAHostThatIsDownIsTriedEverMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegion(t, restyretry.BaseURLs(hostsOf("a b")...), func(host string) (*http.Response, error) {
			if host == "a" {
				return nil, errRefused
			}
			return nil, nil
		})
		for range 10 * 60 * 10 {
			go get200(t, r.client)
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		var last time.Duration
		pause := time.Second
		tries := 0
		for _, v := range r.visits {
			switch {
			case v.host != "a.test":
			case v.at == 0:
			default:
				if gap := v.at - last; gap < pause*4/5 || gap > pause*6/5+100*time.Millisecond {
					t.Errorf("got it tried after %v, want about %v", gap, pause)
				}
				tries, last, pause = tries+1, v.at, min(2*pause, time.Minute)
			}
		}
		if tries < 13 || tries > 17 {
			t.Errorf("got %d tries in 10 minutes, want about 15", tries)
		}
	})
}

func TestWhatTakesAHostDown(t *testing.T) {
	hang := func() (*http.Response, error) { time.Sleep(time.Hour); return nil, nil }
	for _, tt := range []struct {
		name   string
		list   restyretry.Target
		answer func() (*http.Response, error) // of a
		opts   []func(*restyretry.Options)
		want   string
	}{
		{"no connection", restyretry.BaseURLs(hostsOf("a b")...), func() (*http.Response, error) { return nil, errRefused }, nil, "a b b b b b b"},
		{"errors", restyretry.BaseURLs(hostsOf("a b")...), func() (*http.Response, error) { return nil, syscall.ECONNRESET }, nil, "a a a a a b b"},
		{"500", restyretry.BaseURLs(hostsOf("a b")...), func() (*http.Response, error) { return reply(500), nil }, nil, "a a a a a b b"},
		{"503", restyretry.BaseURLs(hostsOf("a b")...), func() (*http.Response, error) { return reply(503), nil }, nil, "a a a a a b b"},
		{
			"503 with a wait of no time", restyretry.BaseURLs(hostsOf("a b")...),
			func() (*http.Response, error) { return reply(503, "Retry-After", "0"), nil }, nil, "a a a a a b b",
		},
		{
			"timeouts", restyretry.BaseURLs(hostsOf("a b")...), hang,
			[]func(*restyretry.Options){func(o *restyretry.Options) { o.AttemptTimeout = time.Millisecond }},
			"a a a a a b b",
		},
		{"Rotate", restyretry.Rotate(hostsOf("a b")...), func() (*http.Response, error) { return nil, errRefused }, nil, "a b b b b b b"},

		{"404", restyretry.BaseURLs(hostsOf("a b")...), func() (*http.Response, error) { return reply(404), nil }, nil, "a a a a a a a"},
		{"501", restyretry.BaseURLs(hostsOf("a b")...), func() (*http.Response, error) { return reply(501), nil }, nil, "a a a a a a a"},
		{
			"errors that are not retried", restyretry.BaseURLs(hostsOf("a b")...), func() (*http.Response, error) { return nil, errRefused },
			[]func(*restyretry.Options){func(o *restyretry.Options) { o.Errors = nil }},
			"a a a a a a a",
		},
		{
			"500 that is not retried", restyretry.BaseURLs(hostsOf("a b")...), func() (*http.Response, error) { return reply(500), nil },
			[]func(*restyretry.Options){func(o *restyretry.Options) { o.ServerErrors = false }},
			"a a a a a a a",
		},
		{"a list of one", restyretry.BaseURLs(hostsOf("a")...), func() (*http.Response, error) { return nil, errRefused }, nil, "a a a a a a a"},
		{
			"no Cooldown", restyretry.BaseURLs(hostsOf("a b")...), func() (*http.Response, error) { return nil, errRefused },
			[]func(*restyretry.Options){withCooldown(nil)},
			"a a a a a a a",
		},
		{
			"a function", restyretry.TargetFunc(func(restyretry.Attempt) (string, error) { return "http://a.test/", nil }),
			func() (*http.Response, error) { return nil, errRefused }, nil, "a a a a a a a",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRegion(t, tt.list, func(host string) (*http.Response, error) {
					if host == "b" {
						return nil, nil
					}
					return tt.answer()
				}, append(tt.opts, restyretry.Off)...)
				for range 7 {
					_, _ = r.client.R().Get("/x")
				}
				if got := r.hosts(); got != tt.want {
					t.Errorf("got %s asked, want %s", got, tt.want)
				}
				time.Sleep(time.Hour) // for those that hang
			})
		})
	}
}

func TestASuccessInARowBeginsItAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		r := newRegion(t, restyretry.BaseURLs(hostsOf("a b")...), func(string) (*http.Response, error) {
			if n++; n == 5 {
				return nil, nil
			}
			return reply(500), nil
		}, restyretry.Off)
		for range 11 {
			_, _ = r.client.R().Get("/x")
		}
		if got, want := r.hosts(), strings.Repeat("a ", 10)+"b"; got != want {
			t.Errorf("got %s asked, want %s", got, want)
		}
	})
}

// A host that is down is never refused: the only host is asked by each request and
// each retry, and of two that are down, both.
func TestAHostThatIsDownIsNeverRefused(t *testing.T) {
	for _, tt := range []struct{ list, want string }{
		{"a", "a a a a a a"},
		{"a b", "a b b a b b"},
	} {
		t.Run(tt.list, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRegion(t, restyretry.BaseURLs(hostsOf(tt.list)...), func(string) (*http.Response, error) { return nil, errRefused }, constant(0))
				for range 2 {
					resp, err := r.client.R().Get("/x")
					if !errors.Is(err, syscall.ECONNREFUSED) || summary(restyretry.History(resp.Request)) != "1 error, 2 error, 3 attempts" {
						t.Errorf("got %v, %v", resp, err)
					}
				}
				if got := r.hosts(); got != tt.want {
					t.Errorf("got %s asked, want %s", got, tt.want)
				}
			})
		})
	}
}

// The first host of the list is https and cools down, the second is http.
func TestCredentialsStayWithHTTPSWhenAHostIsPassedOver(t *testing.T) {
	list := []string{"https://a.test", "http://b.test"}
	token := func(r *resty.Request) { r.SetAuthToken("secret") }
	for _, tt := range []struct {
		name string
		set  func(r *resty.Request)              // before the request
		hook func(restyretry.Attempt) error      // OnAttempt
		use  func(*resty.Client, *resty.Request) // a middleware after the plugin
		want string
	}{
		{"none", nil, nil, nil, "b"},
		{"on the request", token, nil, nil, ""},
		{"from OnAttempt", nil, func(a restyretry.Attempt) error { token(a.Request); return nil }, nil, ""},
		{"from a middleware", nil, nil, func(_ *resty.Client, r *resty.Request) { token(r) }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, target := range []restyretry.Target{restyretry.BaseURLs(list...), restyretry.Rotate(list...), restyretry.URLs(list...)} {
					var opts []func(*restyretry.Options)
					if tt.hook != nil {
						opts = append(opts, onAttempt(tt.hook))
					}
					r := newRegion(t, target, nil, opts...)
					r.client.SetBaseURL("")
					if tt.use != nil {
						r.client.OnBeforeRequest(func(c *resty.Client, r *resty.Request) error { tt.use(c, r); return nil })
					}
					r.cooldown.Hold(list[0], 30*time.Second)
					request := r.client.R()
					if tt.set != nil {
						tt.set(request)
					}
					_, err := request.Get("/x")
					if got := r.hosts(); got != tt.want || (err != nil) != (tt.want == "") {
						t.Errorf("got %q asked and %v, want %q", got, err, tt.want)
					}
					if err != nil {
						urlWantError(t, err, "credentials", "https")
					}
				}
			})
		})
	}
}

// A request that is cancelled is no failure of its host, and leaves it to the next
// to try one that was down.
func TestACancelledTrialSaysNothingOfItsHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegion(t, restyretry.BaseURLs(hostsOf("a b")...), func(string) (*http.Response, error) {
			time.Sleep(time.Second)
			return nil, syscall.ECONNRESET
		}, restyretry.Off)
		for range 9 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, _ = r.client.R().SetContext(ctx).Get("/x")
			cancel()
			time.Sleep(2 * time.Second)
		}
		if got, want := r.hosts(), strings.TrimSpace(strings.Repeat("a ", 9)); got != want {
			t.Errorf("got %s asked, want %s", got, want)
		}
	})
}

// A server that says how long to wait is not down: it is asked again after that.
func TestAWaitIsNoFailureOfAHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegion(t, restyretry.BaseURLs(hostsOf("a b")...), func(string) (*http.Response, error) {
			return reply(503, "Retry-After", "1"), nil
		}, restyretry.Off)
		for range 12 {
			_, _ = r.client.R().Get("/x")
			time.Sleep(1500 * time.Millisecond)
		}
		if got, want := r.hosts(), strings.TrimSpace(strings.Repeat("a ", 12)); got != want {
			t.Errorf("got %s asked, want %s", got, want)
		}
	})
}
