package restyretry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"

	"github.com/restyretry/restyretry"
)

// apiKey is the key of the host that mocked clients speak to.
const apiKey = "http://api.test"

// A visit is a request as an origin saw it.
type visit struct {
	at         time.Duration
	host, body string
}

// An origin notes what it is sent. It answers the nth request, counted from 1, by
// answer, and by 200 where that is nil or returns nothing.
type origin struct {
	answer func(n int, r *http.Request) (*http.Response, error)
	start  time.Time
	mu     sync.Mutex
	visits []visit
}

func newOrigin(answer func(n int, r *http.Request) (*http.Response, error)) *origin {
	return &origin{start: time.Now(), answer: answer}
}

func (o *origin) respond(r *http.Request) (*http.Response, error) {
	v := visit{at: time.Since(o.start), host: r.URL.Host}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		v.body = string(body)
	}
	o.mu.Lock()
	o.visits = append(o.visits, v)
	n := len(o.visits)
	o.mu.Unlock()
	resp, err := reply(200), error(nil)
	if o.answer != nil {
		if answer, failed := o.answer(n, r); answer != nil || failed != nil {
			resp, err = answer, failed
		}
	}
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

// at returns when the origin was asked.
func (o *origin) at() (at []time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, v := range o.visits {
		at = append(at, v.at)
	}
	return at
}

// within counts the requests that came in a time.
func (o *origin) within(from, to time.Duration) (n int) {
	for _, at := range o.at() {
		if at >= from && at <= to {
			n++
		}
	}
	return n
}

// hosts returns which hosts were asked, in order: "a b b".
func (o *origin) hosts() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var hosts []string
	for _, v := range o.visits {
		hosts = append(hosts, strings.TrimSuffix(v.host, ".test"))
	}
	return strings.Join(hosts, " ")
}

// reply is an answer with these header lines.
func reply(status int, header ...string) *http.Response {
	resp := httpmock.NewStringResponse(status, http.StatusText(status))
	resp.Header = fields(header...)
	return resp
}

// firstSays answers the first request by a status and a wait in seconds.
func firstSays(status, seconds int) func(int, *http.Request) (*http.Response, error) {
	return func(n int, _ *http.Request) (*http.Response, error) {
		if n > 1 {
			return nil, nil
		}
		return reply(status, "Retry-After", strconv.Itoa(seconds)), nil
	}
}

func withCooldown(c *restyretry.Cooldown) func(*restyretry.Options) {
	return func(o *restyretry.Options) { o.Cooldown = c }
}

func maxServerWait(d time.Duration) func(*restyretry.Options) {
	return func(o *restyretry.Options) { o.MaxServerWait = d }
}

// cold is a client whose host cools down for a minute, and the origin behind it.
func cold(t testing.TB, answer func(int, *http.Request) (*http.Response, error), opts ...func(*restyretry.Options)) (*resty.Client, *origin, *restyretry.Cooldown) {
	o := newOrigin(answer)
	c := mocked(o.respond)
	cooldown := new(restyretry.Cooldown)
	install(t, c, append([]func(*restyretry.Options){constant(0), withCooldown(cooldown), maxServerWait(2 * time.Minute)}, opts...)...)
	cooldown.Hold(apiKey, time.Minute)
	return c, o, cooldown
}

// rounded leaves out the nanosecond that Resty waits at the least.
func rounded(d time.Duration) time.Duration { return d.Round(time.Microsecond) }

// get200 sends a GET that has to succeed.
func get200(t testing.TB, c *resty.Client) *resty.Response {
	t.Helper()
	resp, err := c.R().Get("/x")
	if err != nil || resp.StatusCode() != 200 {
		t.Errorf("got %v, %v, want 200", resp, err)
	}
	return resp
}

// wantCold checks that a request was not sent since a host cools down.
func wantCold(t testing.TB, resp *resty.Response, err error, left time.Duration) {
	t.Helper()
	var cold *restyretry.CooldownError
	if resp != nil || !errors.As(err, &cold) || cold.Left != left {
		t.Errorf("got %v, %v, want a CooldownError with %v left", resp, err, left)
	}
}

func TestOneOfAHundredIsToldToWaitAndAllWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin(firstSays(429, 60))
		c := mocked(o.respond)
		p := install(t, c, constant(0), withCooldown(&restyretry.Cooldown{}))
		var all sync.WaitGroup
		all.Go(func() { get200(t, c) })
		time.Sleep(time.Second)
		for range 99 {
			all.Go(func() { get200(t, c) })
		}
		all.Wait()
		if before, after := o.within(0, 60*time.Second-1), o.within(60*time.Second, 66*time.Second); before != 1 || after != 100 {
			t.Errorf("got %d before 60 s and %d from then to 66 s, want 1 and 100: %v", before, after, o.at())
		}
		if s := p.Stats(); s.Attempts != 101 || s.Requests != 100 || s.Held < 99 {
			t.Errorf("got %+v", s)
		}
	})
}

func TestAHeldBodyIsSentOnceAndAsItIs(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(r *resty.Request)
	}{
		{"string", func(r *resty.Request) { r.SetBody("some text") }},
		{"bytes", func(r *resty.Request) { r.SetBody([]byte("some bytes")) }},
		{"JSON", func(r *resty.Request) { r.SetBody(map[string]int{"a": 1}) }},
		{"form", func(r *resty.Request) { r.SetFormData(map[string]string{"a": "1", "b": "2"}) }},
		{"stream", func(r *resty.Request) { r.SetBody(bodyPlain("some stream")) }},
		{"stream that is not kept", func(r *resty.Request) { r.SetBody(bodyPlain(bodyText(1 << 10))) }},
		{"multipart", func(r *resty.Request) {
			r.SetMultipartBoundary("boundary").SetFormData(map[string]string{"a": "1"}).
				SetFileReader("file", "name.txt", bodyPlain("some file")).
				SetMultipartField("field", "", "text/plain", bodyPlain("some field"))
		}},
	} {
		for name, also := range map[string]func(*resty.Request){
			"":                          func(*resty.Request) {},
			" with a condition":         func(r *resty.Request) { r.AddRetryCondition(loopNever) },
			" on a request used before": func(r *resty.Request) { _, _ = r.Get("http://other.test/") },
		} {
			t.Run(tt.name+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					small := bodyMaxReplay(512)
					plain := newOrigin(nil)
					free := mocked(plain.respond)
					install(t, free, small)
					r := free.R()
					tt.set(r)
					if _, err := r.Post("/x"); err != nil {
						t.Fatal(err)
					}
					c, o, _ := cold(t, nil, small)
					r = c.R()
					also(r)
					o.visits = nil
					tt.set(r)
					resp, err := r.Post("/x")
					if err != nil || resp.StatusCode() != 200 || len(o.visits) != 1 || o.visits[0].body != plain.visits[0].body {
						t.Errorf("got %v, %v and %v, want once %q", resp, err, o.visits, plain.visits[0].body)
					}
					if got := o.within(60*time.Second, 66*time.Second); got != 1 {
						t.Errorf("got it sent at %v, want after the cool-down", o.at())
					}
				})
			})
		}
	}
}

func TestARequestThatMayNotWaitSoLongIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin(firstSays(429, 60))
		c := mocked(o.respond)
		var done []restyretry.Attempt
		budget := restyretry.NewBudget(0.1, 0)
		p := install(t, c, restyretry.Off, withBudget(budget), withCooldown(&restyretry.Cooldown{}),
			onDone(func(a restyretry.Attempt) { done = append(done, a) }))
		if resp, err := c.R().Get("/x"); err != nil || resp.StatusCode() != 429 {
			t.Fatalf("got %v, %v", resp, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		r := c.R().SetContext(ctx)
		resp, err := r.Get("/x")
		wantCold(t, resp, err, time.Minute)
		if key := new(restyretry.CooldownError); !errors.As(err, &key) || key.Key != apiKey {
			t.Errorf("got the key %q, want %q", key.Key, apiKey)
		}
		if time.Since(start) != 0 || len(o.visits) != 1 {
			t.Errorf("got %d requests, after %v, want 1, at once", len(o.visits), time.Since(start))
		}
		if history := restyretry.History(r); summary(history) != "1 cooldown" || history[0].Response != nil || history[0].Held != 0 {
			t.Errorf("got %v", history)
		}
		if len(done) != 2 || done[1].Reason != restyretry.ReasonCooldown {
			t.Errorf("got %v", done)
		}
		if s := p.Stats(); s.Requests != 2 || s.Attempts != 1 || s.Held != 0 || s.GivenUp[restyretry.ReasonCooldown] != 1 {
			t.Errorf("got %+v", s)
		}
		if requests, retries, refused := budget.Report(); requests != 1 || retries != 0 || refused != 0 {
			t.Errorf("got %d requests, %d retries, %d refused in the budget, want the one that was sent", requests, retries, refused)
		}
	})
}

func TestADeadlineWithinTheSpreadIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, o, _ := cold(t, nil)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 61*time.Second)
				defer cancel()
				if _, err := c.R().SetContext(ctx).Get("/x"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got := o.within(60*time.Second, 61*time.Second-1); got != 100 {
			t.Errorf("got %d from 60 s to the deadline, want 100: %v", got, o.at())
		}
	})
}

func TestARefusedRetryKeepsItsResponse(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts []func(*restyretry.Options)
		want error
	}{
		{"", nil, nil},
		{"RaiseForStatus", []func(*restyretry.Options){func(o *restyretry.Options) { o.RaiseForStatus = true }}, new(restyretry.StatusError)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, calls := answers(500)
				c := mocked(respond)
				cooldown := new(restyretry.Cooldown)
				p := install(t, c, append(tt.opts, constant(time.Second), withCooldown(cooldown))...)
				time.AfterFunc(time.Second/2, func() { cooldown.Hold(apiKey, 2*time.Minute) })
				start := time.Now()
				resp, err := c.R().Get("/x")
				if resp.StatusCode() != 500 || resp.String() == "" || *calls != 1 || rounded(time.Since(start)) != time.Second {
					t.Errorf("got %v after %d calls and %v, want the 500 after 1 and 1s", resp, *calls, time.Since(start))
				}
				var status *restyretry.StatusError
				if errors.As(err, &status); (err != nil) != (tt.want != nil) || status != nil && status.Reason != restyretry.ReasonCooldown {
					t.Errorf("got %v, want %T", err, tt.want)
				}
				if got := summary(restyretry.History(resp.Request)); got != "1 cooldown" {
					t.Errorf("got %s, want 1 cooldown", got)
				}
				if s := p.Stats(); s.Attempts != 1 || s.Retries != 0 || s.GivenUp[restyretry.ReasonCooldown] != 1 {
					t.Errorf("got %+v", s)
				}
			})
		})
	}
}

func TestAHoldIsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := restyretry.NewBudget(0, 5)
		var numbers []int
		o := newOrigin(func(n int, r *http.Request) (*http.Response, error) {
			numbers = append(numbers, restyretry.Number(r.Context()))
			return reply(503), nil
		})
		c := mocked(o.respond)
		cooldown := new(restyretry.Cooldown)
		p := install(t, c, constant(0), withBudget(budget), withCooldown(cooldown), func(o *restyretry.Options) { o.AttemptHeader = "X-Attempt" })
		cooldown.Hold(apiKey, time.Minute)
		r := c.R()
		resp, err := r.Get("/x")
		if err != nil || resp.StatusCode() != 503 {
			t.Fatalf("got %v, %v", resp, err)
		}
		history := restyretry.History(r)
		held := history[0].Held
		if summary(history) != "1 status, 2 status, 3 attempts" || !slices.Equal(numbers, []int{1, 2, 3}) || r.Attempt != 3 {
			t.Errorf("got %v, %v and Resty's %d, want three attempts", summary(history), numbers, r.Attempt)
		}
		if held < time.Minute || held > 66*time.Second || history[1].Held != 0 || rounded(held) != rounded(o.at()[0]) {
			t.Errorf("got held for %v, then %v, want %v and 0s", held, history[1].Held, o.at()[0])
		}
		if history[0].Took != 0 || resp.Time() != 0 {
			t.Errorf("got an attempt of %v, by Resty %v, want no hold in it", history[0].Took, resp.Time())
		}
		if s := p.Stats(); s.Attempts != 3 || s.Retries != 2 || s.Requests != 1 || s.Waited != 0 || s.Held != 1 || s.HeldFor != held {
			t.Errorf("got %+v", s)
		}
		if requests, retries, refused := budget.Report(); requests != 1 || retries != 2 || refused != 0 {
			t.Errorf("got %d requests, %d retries, %d refused in the budget, want 1, 2, 0", requests, retries, refused)
		}
	})
}

func TestLimitsCountAHold(t *testing.T) {
	const s = time.Second
	hang := func(_ int, r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	unavailable := func(int, *http.Request) (*http.Response, error) { return reply(503), nil }
	for _, tt := range []struct {
		name     string
		answer   func(int, *http.Request) (*http.Response, error)
		set      func(o *restyretry.Options)
		want     string
		from, to time.Duration // when the last attempt ends
	}{
		{
			"AttemptTimeout begins after it", hang,
			func(o *restyretry.Options) { o.Attempts, o.AttemptTimeout = 1, s }, "1 attempts", 61 * s, 67 * s,
		},
		{
			"MaxElapsed counts it", unavailable,
			func(o *restyretry.Options) {
				o.Attempts, o.Wait, o.MaxElapsed = 9, restyretry.Constant(20*s), 90*s
			}, "1 status, 2 elapsed", 80 * s, 86 * s,
		},
		{
			"MaxElapsed shorter than it", unavailable,
			func(o *restyretry.Options) { o.MaxElapsed = 30 * s }, "1 cooldown", 0, 0,
		},
		{
			"MaxServerWait shorter than it", unavailable,
			func(o *restyretry.Options) { o.MaxServerWait = 60*s - 1 }, "1 cooldown", 0, 0,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, o, _ := cold(t, tt.answer, tt.set)
				r := c.R()
				_, err := r.Get("/x")
				if took := time.Since(o.start); took < tt.from || took > tt.to {
					t.Errorf("got the end after %v, want from %v to %v", took, tt.from, tt.to)
				}
				if got := summary(restyretry.History(r)); got != tt.want {
					t.Errorf("got %s (%v), want %s", got, err, tt.want)
				}
			})
		})
	}
}

func TestHoldsAddUpToMaxServerWait(t *testing.T) {
	for _, tt := range []struct {
		limit time.Duration
		want  string
	}{
		{100 * time.Second, "1 cooldown"},
		{150 * time.Second, "1 status, 2 cooldown"},
		{4 * time.Minute, "1 status, 2 status, 3 attempts"},
	} {
		t.Run(tt.limit.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cooldown *restyretry.Cooldown
				c, _, cooldown := cold(t, func(int, *http.Request) (*http.Response, error) {
					time.AfterFunc(time.Second, func() { cooldown.Hold(apiKey, time.Minute) })
					return reply(500), nil
				}, constant(2*time.Second), maxServerWait(tt.limit))
				resp, err := c.R().Get("/x")
				if got := summary(restyretry.History(resp.Request)); err != nil || got != tt.want {
					t.Errorf("got %s, %v, want %s", got, err, tt.want)
				}
			})
		})
	}
}

func TestARequestIsCancelledWhileItIsHeld(t *testing.T) {
	cause := errors.New("the user has gone")
	for _, tt := range []struct {
		name  string
		begin func(c *resty.Client) *resty.Request
		after time.Duration
		want  string
	}{
		{"first attempt", func(c *resty.Client) *resty.Request { return c.R() }, 10 * time.Second, "1 cancelled"},
		{"before it began", func(c *resty.Client) *resty.Request { return c.R() }, 0, "1 cancelled"},
		{"with a condition", func(c *resty.Client) *resty.Request { return c.R().AddRetryCondition(loopNever) }, 10 * time.Second, "1 cancelled"},
		{"in the spread", func(c *resty.Client) *resty.Request { return c.R() }, time.Minute + 2*time.Microsecond, "1 cancelled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, o, _ := cold(t, nil)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if tt.after == 0 {
					cancel(cause)
				}
				time.AfterFunc(tt.after, func() { cancel(cause) })
				before := runtime.NumGoroutine()
				r := tt.begin(c).SetContext(ctx)
				resp, err := r.Get("/x")
				if resp != nil || !errors.Is(err, context.Canceled) || !errors.Is(err, cause) || errors.As(err, new(*restyretry.CooldownError)) {
					t.Errorf("got %v, %v, want cancelled and why", resp, err)
				}
				if took := rounded(time.Since(o.start)); took != tt.after || len(o.visits) != 0 {
					t.Errorf("got the end after %v, want %v; %d sent", took, tt.after, len(o.visits))
				}
				history := restyretry.History(r)
				if got := summary(history); got != tt.want || history[0].Held != tt.after {
					t.Errorf("got %s, held for %v, want %s", got, history[0].Held, tt.want)
				}
				// In a bubble, a goroutine that is left would keep the test from ending.
				synctest.Wait() // for the one that has cancelled
				if after := runtime.NumGoroutine(); after > before {
					t.Errorf("got %d goroutines, want %d", after, before)
				}
			})
		})
	}
}

func TestARetryIsCancelledWhileItIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(500)
		c := mocked(respond)
		cooldown := new(restyretry.Cooldown)
		install(t, c, constant(time.Second), withCooldown(cooldown))
		time.AfterFunc(time.Second/2, func() { cooldown.Hold(apiKey, time.Minute) })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		start := time.Now()
		resp, err := c.R().SetContext(ctx).Get("/x")
		if !errors.Is(err, context.Canceled) || resp.StatusCode() != 500 || rounded(time.Since(start)) != 10*time.Second || *calls != 1 {
			t.Errorf("got %v, %v after %v and %d calls, want cancelled after 10s and 1", resp, err, time.Since(start), *calls)
		}
		if got := summary(restyretry.History(resp.Request)); got != "1 cancelled" {
			t.Errorf("got %s, want 1 cancelled", got)
		}
	})
}

func TestTheHeaderFormsThatBeginACooldown(t *testing.T) {
	const minute = time.Minute
	inAMinute := strconv.FormatInt(time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC).Unix(), 10)
	for _, tt := range []struct {
		status      int
		name, value string
		want        time.Duration
	}{
		{429, "Retry-After", "60", minute},
		{503, "Retry-After", "60", minute},
		{429, "Retry-After", "Sat, 01 Jan 2000 00:01:00 GMT", minute},
		{503, "Retry-After", "Saturday, 01-Jan-00 00:01:00 GMT", minute},
		{503, "Retry-After-Ms", "60000", minute},
		{429, "X-Ms-Retry-After-Ms", "60000", minute},
		{429, "RateLimit-Reset", "60", minute},
		{429, "X-RateLimit-Reset", "60", minute},
		{503, "X-Rate-Limit-Reset", "60", minute},
		{429, "RateLimit", `"hour";r=0;t=60`, minute},
		{429, "Retry-After", "86400", 5 * minute}, // cut, not dropped
		{429, "Retry-After", strings.Repeat("9", 40), 5 * minute},

		{429, "X-Other", "60", 0},
		{503, "X-Other", "60", 0},
		{429, "Retry-After", "soon", 0},
		{429, "Retry-After", "0", 0},
		{429, "Retry-After", "Fri, 31 Dec 1999 23:59:00 GMT", 0},
		{200, "Retry-After", "60", 0},
		{301, "Retry-After", "60", 0},
		{403, "Retry-After", "60", 0},
		{408, "Retry-After", "60", 0},
		{425, "Retry-After", "60", 0},
		{500, "Retry-After", "60", 0},
		{502, "Retry-After", "60", 0},
		{500, "X-RateLimit-Reset", inAMinute, 0},
	} {
		for name, opts := range map[string][]func(*restyretry.Options){
			"":                             {maxServerWait(time.Second)},
			" and Off":                     {restyretry.Off},
			" and no MaxServerWait":        {maxServerWait(0), restyretry.Off},
			" and Unless":                  {func(o *restyretry.Options) { o.Unless = func(restyretry.Attempt) bool { return true } }},
			" and a stream to the caller ": {restyretry.Off, func(o *restyretry.Options) { o.AttemptTimeout = time.Hour }},
		} {
			t.Run(strconv.Itoa(tt.status)+" "+tt.name+": "+tt.value+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := newOrigin(func(int, *http.Request) (*http.Response, error) { return reply(tt.status, tt.name, tt.value), nil })
					c := mocked(o.respond)
					cooldown := new(restyretry.Cooldown)
					install(t, c, append(opts, func(o *restyretry.Options) { o.Cooldown, o.Statuses, o.ServerErrors = cooldown, nil, false })...)
					resp, err := c.R().SetDoNotParseResponse(strings.Contains(name, "stream")).Get("/x")
					if err != nil || resp.StatusCode() != tt.status {
						t.Fatalf("got %v, %v", resp, err)
					}
					_ = resp.RawBody().Close()
					if got := cooldown.Left(apiKey); got != tt.want {
						t.Errorf("got %v left, want %v", got, tt.want)
					}
				})
			})
		}
	}
}

// Requests are sent at 0, 1 and 2 s; the answers come later, in the order of the
// table.
func TestOfAnswersInFlightTheLatestEndCounts(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name   string
		second *http.Response // after the first has said 60 s
		hold   time.Duration
		want   time.Duration // at 20 s
	}{
		{"a longer wait", reply(429, "Retry-After", "100"), -1, 90 * s},
		{"a shorter wait", reply(429, "Retry-After", "5"), -1, 41 * s},
		{"a success", reply(200), -1, 41 * s},
		{"a failure", reply(500), -1, 41 * s},
		{"Hold for longer", reply(200), 90 * s, 85 * s},
		{"Hold for less", reply(200), s, 41 * s},
		{"Hold for no time", reply(200), 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOrigin(func(n int, _ *http.Request) (*http.Response, error) {
					switch n {
					case 1:
						time.Sleep(10 * s)
						return tt.second, nil
					default:
						return reply(503, "Retry-After", "60"), nil
					}
				})
				c := mocked(o.respond)
				cooldown := new(restyretry.Cooldown)
				install(t, c, restyretry.Off, withCooldown(cooldown), maxServerWait(time.Hour))
				var all sync.WaitGroup
				for range 2 {
					all.Go(func() { _, _ = c.R().Get("/x") })
					time.Sleep(s)
				}
				time.Sleep(13 * s)
				if tt.hold >= 0 {
					cooldown.Hold(apiKey, tt.hold)
				}
				time.Sleep(5 * s)
				if got := cooldown.Left(apiKey); got != tt.want {
					t.Errorf("got %v left, want %v", got, tt.want)
				}
				all.Wait()
			})
		})
	}
}

func TestHoldForNoTimeLetsTheHeldGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, o, cooldown := cold(t, nil)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { get200(t, c) })
		}
		time.Sleep(20 * time.Second)
		cooldown.Hold(apiKey, 0)
		all.Wait()
		if got := o.within(20*time.Second, 22*time.Second); got != 10 {
			t.Errorf("got %v, want 10 from 20 s to 22 s", o.at())
		}
	})
}

type cancelKey struct{}

// Ten requests are held. What becomes of the first to leave, and when do the
// others?
func TestTheFirstToLeaveIsAProbe(t *testing.T) {
	const s = time.Second
	hang := func(_ int, r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	for _, tt := range []struct {
		name   string
		answer func(n int, r *http.Request) (*http.Response, error)
		check  func(t *testing.T, at []time.Duration)
	}{
		{"hangs: the next after 5 s", hang, func(t *testing.T, at []time.Duration) {
			for i := range 4 {
				if gap := at[i+1] - at[i]; gap != 5*s {
					t.Errorf("got number %d after %v, want 5s: %v", i+2, gap, at)
				}
			}
		}},
		{"is told to wait: all again", firstSays(429, 30), func(t *testing.T, at []time.Duration) {
			for i, v := range at[1:] {
				if v < at[0]+30*s || v > at[0]+40*s {
					t.Errorf("got number %d at %v, want 30 s after the first: %v", i+2, v, at)
				}
			}
		}},
		{"succeeds: the others as they wake", nil, func(t *testing.T, at []time.Duration) {
			if at[9] > 66*s || at[9] < 61*s {
				t.Errorf("got the last at %v, want them all over the 6 s: %v", at[9], at)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, o, _ := cold(t, tt.answer, restyretry.Off)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				var all sync.WaitGroup
				for range 10 {
					all.Go(func() {
						ctx, cancel := context.WithCancel(ctx)
						defer cancel()
						_, _ = c.R().SetContext(context.WithValue(ctx, cancelKey{}, cancel)).Get("/x")
					})
				}
				all.Wait()
				if tt.check != nil {
					tt.check(t, o.at())
				}
			})
		})
	}
}

// The probe hangs, and is cancelled after 2 s, when others have woken.
func TestThePlaceOfACancelledProbePassesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, o, _ := cold(t, func(n int, r *http.Request) (*http.Response, error) {
			if n > 1 {
				return nil, nil
			}
			time.AfterFunc(4*time.Second, r.Context().Value(cancelKey{}).(context.CancelFunc))
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				_, _ = c.R().SetContext(context.WithValue(ctx, cancelKey{}, cancel)).Get("/x")
			})
		}
		all.Wait()
		if at := o.at(); rounded(at[1]-at[0]) != 4*time.Second {
			t.Errorf("got the second %v after the first, want 4s: %v", at[1]-at[0], at)
		}
	})
}

func TestKeysAreIndependent(t *testing.T) {
	byToken := func(_ *url.URL, r *resty.Request) string { return r.Token }
	for _, tt := range []struct {
		name       string
		key        func(*url.URL, *resty.Request) string
		told, then func(r *resty.Request) (*resty.Response, error)
		held       bool
	}{
		{
			"the same host", nil,
			func(r *resty.Request) (*resty.Response, error) { return r.Get("/x") },
			func(r *resty.Request) (*resty.Response, error) { return r.Get("HTTP://API.test:80/y?z") }, true,
		},
		{
			"another host", nil,
			func(r *resty.Request) (*resty.Response, error) { return r.Get("/x") },
			func(r *resty.Request) (*resty.Response, error) { return r.Get("http://other.test/x") }, false,
		},
		{
			"another port", nil,
			func(r *resty.Request) (*resty.Response, error) { return r.Get("/x") },
			func(r *resty.Request) (*resty.Response, error) { return r.Get("http://api.test:8080/x") }, false,
		},
		{
			"the same token", byToken,
			func(r *resty.Request) (*resty.Response, error) { return r.SetAuthToken("a").Get("/x") },
			func(r *resty.Request) (*resty.Response, error) { return r.SetAuthToken("a").Get("http://other.test/x") }, true,
		},
		{
			"another token", byToken,
			func(r *resty.Request) (*resty.Response, error) { return r.SetAuthToken("a").Get("/x") },
			func(r *resty.Request) (*resty.Response, error) { return r.SetAuthToken("b").Get("/x") }, false,
		},
		{
			"no key", byToken,
			func(r *resty.Request) (*resty.Response, error) { return r.SetAuthToken("a").Get("/x") },
			func(r *resty.Request) (*resty.Response, error) { return r.Get("/x") }, false,
		},
		{
			"told without a key", byToken,
			func(r *resty.Request) (*resty.Response, error) { return r.Get("/x") },
			func(r *resty.Request) (*resty.Response, error) { return r.Get("/x") }, false,
		},
		{
			"a path parameter in the host", nil,
			func(r *resty.Request) (*resty.Response, error) { return r.Get("http://other.test/x") },
			func(r *resty.Request) (*resty.Response, error) {
				return r.SetPathParam("host", "other.test").Get("http://{host}/x")
			}, true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOrigin(firstSays(429, 60))
				c := mocked(o.respond)
				install(t, c, restyretry.Off, withCooldown(&restyretry.Cooldown{Key: tt.key}))
				if resp, err := tt.told(c.R()); err != nil || resp.StatusCode() != 429 {
					t.Fatalf("got %v, %v", resp, err)
				}
				if resp, err := tt.then(c.R()); err != nil || resp.StatusCode() != 200 {
					t.Errorf("got %v, %v", resp, err)
				}
				if at := o.at(); at[1] >= time.Minute != tt.held {
					t.Errorf("got it sent after %v, want held %t", at[1], tt.held)
				}
			})
		})
	}
}

// A Key panics when it is asked before the first attempt, after an answer, and
// before a retry.
func TestAKeyThatPanics(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers []int
		good    int // so many calls of Key before the one that panics
		want    string
	}{
		{"before the first attempt", []int{200}, 0, "1 panic"},
		{"after an answer", []int{429}, 1, "1 panic"},
		{"before a retry", []int{500, 200}, 1, "1 status, 2 panic"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, panics := 0, 0
				cooldown := &restyretry.Cooldown{Key: func(*url.URL, *resty.Request) string {
					if calls++; calls == tt.good+1 {
						panic("no key")
					}
					return "free"
				}}
				o := newOrigin(func(n int, _ *http.Request) (*http.Response, error) {
					return reply(tt.answers[min(n, len(tt.answers))-1], "Retry-After", "1"), nil
				})
				c := mocked(o.respond).OnPanic(func(*resty.Request, error) { panics++ })
				var done []restyretry.Reason
				p := install(t, c, constant(0), withCooldown(cooldown), maxServerWait(time.Hour),
					onDone(func(a restyretry.Attempt) { done = append(done, a.Reason) }))
				cooldown.Hold("other", time.Minute)
				r := c.R()
				if value := loopRecover(func() { _, _ = r.Get("/x") }); value != "no key" {
					t.Errorf("got the panic %v, want the Key's", value)
				}
				if got := summary(restyretry.History(r)); got != tt.want || len(done) != 1 || done[0] != restyretry.ReasonPanic || panics != 1 {
					t.Errorf("got %s, %v and %d calls of OnPanic, want %s, one of each", got, done, panics, tt.want)
				}
				if s := p.Stats(); s.GivenUp[restyretry.ReasonPanic] != 1 || s.Requests != 1 {
					t.Errorf("got %+v", s)
				}
				// Resty's locks are free: in a bubble, waiting for one forever fails.
				c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return nil })
				if _, err := c.R().Get("/x"); err != nil {
					t.Errorf("got %v for the next request", err)
				}
			})
		})
	}
}

func TestARedirectCoolsTheHostThatAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin(func(_ int, r *http.Request) (*http.Response, error) {
			if r.URL.Host == "a.test" {
				return reply(307, "Location", "http://b.test/y"), nil
			}
			return reply(429, "Retry-After", "60"), nil
		})
		c := mocked(o.respond)
		cooldown := new(restyretry.Cooldown)
		install(t, c, restyretry.Off, withCooldown(cooldown))
		if resp, err := c.R().Get("http://a.test/x"); err != nil || resp.StatusCode() != 429 {
			t.Fatalf("got %v, %v", resp, err)
		}
		if a, b := cooldown.Left("http://a.test"), cooldown.Left("http://b.test"); a != 0 || b != time.Minute {
			t.Errorf("got %v left of a and %v of b, want 0s and 1m", a, b)
		}
	})
}

// One client is told to wait, without a Logger, Statuses or MaxServerWait. What
// does another do that shares the Cooldown?
func TestClientsThatShareACooldown(t *testing.T) {
	for _, tt := range []struct {
		name  string
		other func(t *testing.T, c *resty.Client, shared func(*restyretry.Options)) *resty.Client
		held  bool
	}{
		{"the same client", func(_ *testing.T, c *resty.Client, _ func(*restyretry.Options)) *resty.Client { return c }, true},
		{"its clone", func(_ *testing.T, c *resty.Client, _ func(*restyretry.Options)) *resty.Client { return c.Clone() }, true},
		{"a clone with a plugin of its own", func(t *testing.T, c *resty.Client, shared func(*restyretry.Options)) *resty.Client {
			clone := c.Clone()
			install(t, clone, shared)
			return clone
		}, true},
		{"a clone without a Cooldown", func(t *testing.T, c *resty.Client, _ func(*restyretry.Options)) *resty.Client {
			clone := c.Clone()
			install(t, clone)
			return clone
		}, false},
		{"another client", func(t *testing.T, c *resty.Client, shared func(*restyretry.Options)) *resty.Client {
			other := resty.NewWithClient(c.GetClient()).SetBaseURL(apiKey).SetLogger(quiet{})
			install(t, other, shared)
			return other
		}, true},
		{"another client without MaxServerWait", func(t *testing.T, c *resty.Client, shared func(*restyretry.Options)) *resty.Client {
			other := resty.NewWithClient(c.GetClient()).SetBaseURL(apiKey).SetLogger(quiet{})
			install(t, other, shared, maxServerWait(0))
			return other
		}, false},
		{"another client with Off", func(t *testing.T, c *resty.Client, shared func(*restyretry.Options)) *resty.Client {
			other := resty.NewWithClient(c.GetClient()).SetBaseURL(apiKey).SetLogger(quiet{})
			install(t, other, shared, restyretry.Off)
			return other
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOrigin(firstSays(503, 60))
				c := mocked(o.respond)
				shared := withCooldown(new(restyretry.Cooldown))
				install(t, c, restyretry.Off, shared)
				other := tt.other(t, c, shared)
				if resp, err := c.R().Get("/x"); err != nil || resp.StatusCode() != 503 {
					t.Fatalf("got %v, %v", resp, err)
				}
				get200(t, other)
				if at := o.at()[1]; at >= time.Minute != tt.held {
					t.Errorf("got it sent after %v, want held %t", at, tt.held)
				}
			})
		})
	}
}

func TestOptionsOfOneRequestHoldItOrNot(t *testing.T) {
	const s = time.Second
	var other *restyretry.Cooldown
	for _, tt := range []struct {
		name string
		opt  func(o *restyretry.Options)
		want time.Duration // when it is sent at the earliest; -1 if never
	}{
		{"none", func(*restyretry.Options) {}, 60 * s},
		{"no Cooldown", func(o *restyretry.Options) { o.Cooldown = nil }, 0},
		{"another Cooldown", func(o *restyretry.Options) { o.Cooldown = other }, 90 * s},
		{"MaxServerWait of 0", maxServerWait(0), 0},
		{"a shorter MaxServerWait", maxServerWait(30 * s), -1},
		{"Off", restyretry.Off, 60 * s},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, o, _ := cold(t, nil)
				other = new(restyretry.Cooldown)
				other.Hold(apiKey, 90*s)
				ctx := restyretry.With(t.Context(), tt.opt)
				resp, err := c.R().SetContext(ctx).Get("/x")
				if tt.want < 0 {
					wantCold(t, resp, err, 60*s)
					return
				}
				if at := o.at(); err != nil || at[0] < tt.want || at[0] > tt.want*11/10 {
					t.Errorf("got %v, sent at %v, want from %v", err, at, tt.want)
				}
			})
		})
	}
}

func TestHeldRequestsKeepTheirCooldownWhenItIsExchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin(nil)
		c := mocked(o.respond)
		first, second := new(restyretry.Cooldown), new(restyretry.Cooldown)
		p := install(t, c, constant(0), withCooldown(first))
		first.Hold(apiKey, time.Minute)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { get200(t, c) })
		}
		time.Sleep(time.Second)
		if err := p.Update(withCooldown(second)); err != nil {
			t.Fatal(err)
		}
		get200(t, c)
		second.Hold(apiKey, 20*time.Second)
		second.Hold(apiKey, 0)
		all.Wait()
		if soon, late := o.within(0, time.Second), o.within(60*time.Second, 66*time.Second); soon != 1 || late != 10 {
			t.Errorf("got %v, want one at once and those that were held after 60 s", o.at())
		}
	})
}

// Resty asks what a request's own conditions and the client's other hooks think of
// an attempt, and most look at the response.
func TestWhatLooksAtResponsesIsNotAskedAboutAHold(t *testing.T) {
	looks := func(resp *resty.Response, _ error) bool { return resp.StatusCode() == 418 }
	for _, tt := range []struct {
		name string
		set  func(c *resty.Client) *resty.Request
	}{
		{"a condition of the request", func(c *resty.Client) *resty.Request { return c.R().AddRetryCondition(looks) }},
		{"a condition of the client", func(c *resty.Client) *resty.Request { return c.AddRetryCondition(looks).R() }},
		{"a hook of the client", func(c *resty.Client) *resty.Request {
			return c.AddRetryHook(func(resp *resty.Response, _ error) { _ = resp.StatusCode() }).R()
		}},
		{"a clone with a hook", func(c *resty.Client) *resty.Request {
			return c.Clone().AddRetryHook(func(resp *resty.Response, _ error) { _ = resp.StatusCode() }).R()
		}},
		{"all", func(c *resty.Client) *resty.Request {
			return c.AddRetryHook(func(resp *resty.Response, _ error) { _ = resp.StatusCode() }).AddRetryCondition(looks).R().AddRetryCondition(looks)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, o, _ := cold(t, func(n int, _ *http.Request) (*http.Response, error) {
					if n == 1 {
						return reply(500), nil
					}
					return nil, nil
				})
				r := tt.set(c)
				resp, err := r.Get("/x")
				if err != nil || resp.StatusCode() != 200 || o.within(60*time.Second, 66*time.Second) != 2 {
					t.Errorf("got %v, %v at %v, want 200 after the hold", resp, err, o.at())
				}
				if got := summary(restyretry.History(r)); got != "1 status, 2 succeeded" {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}

func TestAHeldRequestIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var queries []string
		c, o, cooldown := cold(t, func(_ int, r *http.Request) (*http.Response, error) {
			queries = append(queries, r.URL.RawQuery)
			return nil, nil
		})
		r := c.R().SetQueryParam("a", "1").SetBody("text")
		for range 3 {
			cooldown.Hold(apiKey, time.Minute)
			resp, err := r.Post("/x")
			if err != nil || resp.StatusCode() != 200 {
				t.Fatalf("got %v, %v", resp, err)
			}
			if got := restyretry.History(r); summary(got) != "1 succeeded" || got[0].Held < time.Minute {
				t.Errorf("got %s, held for %v", summary(got), got[0].Held)
			}
			cooldown.Hold(apiKey, time.Minute)
			if _, err := r.Send(); err != nil {
				t.Fatal(err)
			}
			if got := restyretry.History(r); summary(got) != "1 succeeded" || got[0].Held < time.Minute {
				t.Errorf("got %s, held for %v", summary(got), got[0].Held)
			}
		}
		for _, v := range o.visits {
			if v.body != "text" {
				t.Errorf("got the body %q, want text", v.body)
			}
		}
		if want := slices.Repeat([]string{"a=1"}, 6); !slices.Equal(queries, want) {
			t.Errorf("got %v, want %v", queries, want)
		}
		// One that was refused is used again, too.
		cooldown.Hold(apiKey, 3*time.Minute)
		resp, err := r.Send()
		wantCold(t, resp, err, 3*time.Minute)
		cooldown.Hold(apiKey, 0)
		if resp, err := r.Send(); err != nil || resp.StatusCode() != 200 {
			t.Errorf("got %v, %v", resp, err)
		}
	})
}

// joined is two clients, as of two processes, whose Cooldowns tell each other, and
// how many words went between them.
func joined(t testing.TB, o *origin, opts ...func(*restyretry.Options)) (clients [2]*resty.Client, cooldowns [2]*restyretry.Cooldown, words *atomic.Int32) {
	words = new(atomic.Int32)
	cooldowns = [2]*restyretry.Cooldown{new(restyretry.Cooldown), new(restyretry.Cooldown)}
	for i, c := range cooldowns {
		c.Share(func(key string, d time.Duration) {
			words.Add(1)
			cooldowns[1-i].Hold(key, d)
		})
		clients[i] = mocked(o.respond)
		install(t, clients[i], append([]func(*restyretry.Options){constant(0), withCooldown(c)}, opts...)...)
	}
	return clients, cooldowns, words
}

func TestTwoProcessesThatTellEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin(func(n int, _ *http.Request) (*http.Response, error) {
			if n > 20 {
				return nil, nil
			}
			time.Sleep(50 * time.Millisecond)
			return reply(429, "Retry-After", "60"), nil
		})
		clients, cooldowns, words := joined(t, o)
		var all sync.WaitGroup
		for range 10 { // 20 requests in flight are told the same
			for _, c := range clients {
				all.Go(func() { get200(t, c) })
			}
		}
		time.Sleep(time.Second)
		if a, b := cooldowns[0].Left(apiKey), cooldowns[1].Left(apiKey); rounded(a-b) != 0 || a < 59*time.Second {
			t.Errorf("got %v and %v left, want the same", a, b)
		}
		for range 40 {
			for _, c := range clients {
				all.Go(func() { get200(t, c) })
			}
		}
		all.Wait()
		if got := words.Load(); got != 1 {
			t.Errorf("got %d words, want 1: no echo, and nothing that is known", got)
		}
		if early, late := o.within(time.Second/10, 60*time.Second), o.within(60*time.Second, 67*time.Second); early != 0 || late != 100 {
			t.Errorf("got %d within the minute and %d after it, want 0 and 100", early, late)
		}
	})
}

// Another process announces a year every second for an hour. This one asks all the
// same, at least once per Max.
func TestAYearAnnouncedEverySecondDoesNotSilenceAProcess(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(int, *http.Request) (*http.Response, error)
		most   int // requests in the hour, if the host cools down
	}{
		{"the host answers", nil, 3600},
		{"the host says the same", func(int, *http.Request) (*http.Response, error) {
			return reply(503, "Retry-After", "31536000"), nil
		}, 14},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOrigin(tt.answer)
				clients, cooldowns, _ := joined(t, o, restyretry.Off)
				for time.Since(o.start) < time.Hour {
					cooldowns[0].Hold(apiKey, 365*24*time.Hour)
					_, _ = clients[0].R().Get("/x")
					time.Sleep(time.Second)
				}
				last := time.Duration(0)
				for _, at := range append(o.at(), time.Hour) {
					if silent := rounded(at - last); silent > 5*time.Minute+time.Second {
						t.Errorf("got silence from %v to %v, want 5 minutes at most", last, at)
					}
					last = at
				}
				if got := len(o.visits); got < 11 || got > tt.most {
					t.Errorf("got %d requests in an hour, want 11 to %d", got, tt.most)
				}
			})
		})
	}
}

// What is registered before Install comes before the hold, and again after it.
// PreRequest comes after it, once.
func TestWhatRunsBeforeAndAfterAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var ran []string
		note := func(name string) {
			if time.Since(start) >= time.Minute {
				name += " late"
			}
			ran = append(ran, name)
		}
		middleware := func(name string) resty.RequestMiddleware {
			return func(*resty.Client, *resty.Request) error { note(name); return nil }
		}
		c := mocked(newOrigin(nil).respond).OnBeforeRequest(middleware("before Install"))
		cooldown := new(restyretry.Cooldown)
		install(t, c, withCooldown(cooldown), onAttempt(func(restyretry.Attempt) error { note("OnAttempt"); return nil }),
			func(o *restyretry.Options) {
				o.PreRequest = func(*resty.Client, *http.Request) error { note("PreRequest"); return nil }
			})
		c.OnBeforeRequest(middleware("after Install"))
		cooldown.Hold(apiKey, time.Minute)
		get200(t, c)
		want := []string{"before Install", "OnAttempt", "before Install late", "after Install late", "PreRequest late"}
		if !slices.Equal(ran, want) {
			t.Errorf("got %q, want %q", ran, want)
		}
	})
}
