package restyretry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
)

const apiHost = "https://api.test"

// bubble is harness.Bubble. The harness imports this package, so it cannot be used
// here.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// A crowd is attempts that go to apiHost, and when they left, counted from its
// start.
type crowd struct {
	*Cooldown
	start time.Time
	mu    sync.Mutex
	at    []time.Duration
}

func newCrowd() *crowd { return &crowd{Cooldown: new(Cooldown), start: time.Now()} }

// send holds an attempt back until it may go, and calls during while it lasts with
// its number.
func (c *crowd) send(ctx context.Context, limit time.Duration, during func(n int)) error {
	start := time.Now()
	deadline, _ := ctx.Deadline()
	p, held, err := c.wait(ctx, apiHost, limit, deadline)
	if held != time.Since(start) {
		panic(fmt.Sprint("held for ", held, ", after ", time.Since(start)))
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.at = append(c.at, time.Since(c.start))
	n := len(c.at)
	c.mu.Unlock()
	if during != nil {
		during(n)
	}
	p.done(ctx.Err() == nil)
	return nil
}

// join starts n attempts, which must all be sent.
func (c *crowd) join(t *testing.T, n int, during func(n int)) *sync.WaitGroup {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if err := c.send(t.Context(), time.Hour, during); err != nil {
				t.Error(err)
			}
		})
	}
	return &all
}

// wantAll wants that so many attempts have left, and those after the first ones
// all from one time to another, over most of the time between.
func (c *crowd) wantAll(t *testing.T, n, first int, from, to time.Duration) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.at) != n {
		t.Fatalf("got %d that left, want %d", len(c.at), n)
	}
	at, margin := c.at[first:], (to-from)/5
	if slices.Min(at) < from || slices.Min(at) > from+margin || slices.Max(at) < to-margin || slices.Max(at) > to {
		t.Errorf("got them from %v to %v, want them spread from %v to %v", slices.Min(at), slices.Max(at), from, to)
	}
}

func wantLeft(t *testing.T, c *Cooldown, want time.Duration) {
	t.Helper()
	if got := c.Left(apiHost); got != want {
		t.Errorf("got %v left, want %v", got, want)
	}
}

func wantEntries(t *testing.T, c *Cooldown, want int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.cooling) + len(c.outages); n != want || int(c.known.Load()) != want || c.idle() != (want == 0) {
		t.Errorf("got %d entries, counted as %d, want %d", n, c.known.Load(), want)
	}
}

func TestTheKeyIsTheHost(t *testing.T) {
	for _, tt := range []struct{ url, want string }{
		{"https://api.test/x?y=z", "https://api.test"},
		{"HTTPS://API.Test", "https://api.test"},
		{"https://api.test:443", "https://api.test"},
		{"https://api.test:/", "https://api.test"},
		{"http://api.test:80", "http://api.test"},
		{"http://api.test:443", "http://api.test:443"},
		{"https://api.test:80", "https://api.test:80"},
		{"https://user:secret@api.test/", "https://api.test"},
		{"http://[::1]:80/", "http://[::1]"},
		{"http://[fe80::80]/", "http://[fe80::80]"},
		{"http://[fe80::A]:8080/", "http://[fe80::a]:8080"},
		{"unix://sock:1", "unix://sock:1"},
		{"/only/a/path", ""},
		{"mailto:a@b.test", ""},
	} {
		u, _ := url.Parse(tt.url)
		if got := new(Cooldown).key(u, nil); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.url, got, tt.want)
		}
	}
}

func TestAKeyOfTheCallersGetsACopyWithoutUserInformation(t *testing.T) {
	u, _ := url.Parse("https://user:secret@api.test/orders")
	r := resty.New().R()
	c := &Cooldown{Key: func(u *url.URL, got *resty.Request) string {
		if got != r {
			t.Error("got another request")
		}
		defer func() { u.Host = "changed" }()
		return u.String()
	}}
	if got, want := c.key(u, r), "https://api.test/orders"; got != want || u.Host != "api.test" || u.User == nil {
		t.Errorf("got %q of %v, want %q and it untouched", got, u, want)
	}
}

// Where Max would be over before that, one of them goes in time, and the others after it.
func TestTheHeldLeaveInATenthOfTheWaitAfterIt(t *testing.T) {
	const s, h = time.Second, time.Hour
	for _, tt := range []struct{ told, max, first, last time.Duration }{
		{s / 10, h, s / 10, s / 5},
		{s, h, s, 2 * s},
		{5 * s, h, 5 * s, 6 * s},
		{60 * s, h, 60 * s, 66 * s},
		{250 * s, h, 250 * s, 275 * s},
		{1800 * s, h, 1800 * s, 1830 * s},
		{90 * s, 100 * s, 90 * s, 99 * s},
		{99 * s, 100 * s, 99 * s, 99*s + 9900*time.Millisecond},
		{h, 100 * s, 100 * s, 110 * s},
	} {
		bubble(t, fmt.Sprint(tt.told, " of ", tt.max), func(t *testing.T) {
			c := newCrowd()
			c.Max = tt.max
			c.begin(apiHost, tt.told)
			c.join(t, 100, nil).Wait()
			c.wantAll(t, 100, 0, tt.first, tt.last)
			if first := slices.Min(c.at); first > tt.max {
				t.Errorf("got the first at %v, want it until %v", first, tt.max)
			}
			wantEntries(t, c.Cooldown, 0)
		})
	}
}

// A probe, and each one that follows it, keeps the others waiting until it ends,
// for 5 seconds at most. Then those leave one by one, too.
func TestTheFirstToLeaveIsAProbe(t *testing.T) {
	const s, all = time.Second, 1000
	for _, tt := range []struct {
		name   string
		told   time.Duration
		hang   int           // so many attempts
		up     time.Duration // until then, counted from the first
		probes int           // that leave 5 seconds apart
		quiet  time.Duration // until the next one leaves
		last   time.Duration // when all have left
	}{
		{"answered at once", 60 * s, 1, 0, 1, 0, 72 * s},
		{"answered after a second", 60 * s, 1, s, 1, s, 72 * s},
		{"answered after 4 s", 100 * s, 1, 4 * s, 1, 4 * s, 114 * s},
		{"hangs", 60 * s, 1, time.Hour, 2, 5 * s, 72 * s},
		{"all hang for a while", 60 * s, all, 28 * s, 6, 28 * s, 96 * s},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			c := newCrowd()
			c.begin(apiHost, tt.told)
			up := time.Time{}
			c.join(t, all, func(n int) {
				if n == 1 {
					up = time.Now().Add(tt.up)
				}
				if n <= tt.hang {
					time.Sleep(time.Until(up))
				}
			}).Wait()
			for i := 1; i < tt.probes; i++ {
				if gap := c.at[i] - c.at[i-1]; gap != 5*s {
					t.Errorf("got probe %d after %v, want 5s", i+1, gap)
				}
			}
			if quiet := c.at[tt.probes] - c.at[0]; quiet < tt.quiet || quiet > tt.quiet+s {
				t.Errorf("got the next one %v after the first, want about %v", quiet, tt.quiet)
			}
			for i := tt.probes; i+100 < all; i++ {
				if c.at[i+100]-c.at[i] < s/20 {
					t.Fatalf("got 100 in %v, want them one by one", c.at[i+100]-c.at[i])
				}
			}
			if last := c.at[all-1]; last > tt.last {
				t.Errorf("got the last at %v, want it until %v", last, tt.last)
			}
		})
	}
}

func TestAShortWaitKeepsNobodyLongBehindASlowAnswer(t *testing.T) {
	for told, want := range map[time.Duration]time.Duration{50 * time.Millisecond: 1100 * time.Millisecond, time.Second: 12 * time.Second} {
		bubble(t, told.String(), func(t *testing.T) {
			c := newCrowd()
			c.begin(apiHost, told)
			c.join(t, 10, func(int) { time.Sleep(20 * time.Second) }).Wait()
			if last := slices.Max(c.at); last > want {
				t.Errorf("got the last at %v, want it until %v", last, want)
			}
		})
	}
}

// probe returns the pass of the first attempt after a cool-down.
func probe(t *testing.T, c *Cooldown) *pass {
	c.begin(apiHost, time.Minute)
	time.Sleep(time.Minute)
	p, held, err := c.wait(t.Context(), apiHost, 0, time.Time{})
	if p == nil || held != 0 || err != nil {
		t.Fatalf("got %v, %v, %v, want a pass at once", p, held, err)
	}
	return p
}

func TestTheEndOfAProbeEndsTheCooldownThatItFollowed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		then   func(c *Cooldown, p *pass) // while it is out
		heard  bool
		probes bool // whether a second one still keeps others waiting
		left   time.Duration
	}{
		{"heard", func(*Cooldown, *pass) {}, true, false, 0},
		{"heard after 5 s", func(c *Cooldown, _ *pass) { second(c) }, true, false, 0},
		{"cancelled after 5 s", func(c *Cooldown, _ *pass) { second(c) }, false, true, 0},
		{"heard twice", func(_ *Cooldown, p *pass) { p.done(true) }, true, false, 0},
		{"told to wait by another", func(c *Cooldown, _ *pass) { c.begin(apiHost, time.Minute) }, true, false, time.Minute},
		{"after the next cool-down has begun", func(c *Cooldown, _ *pass) {
			second(c).done(true)
			c.begin(apiHost, time.Minute)
		}, true, false, time.Minute},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			c := new(Cooldown)
			p := probe(t, c)
			tt.then(c, p)
			p.done(tt.heard)
			if h := c.cooling[apiHost]; (h != nil && h.probe != nil) != tt.probes {
				t.Errorf("got %v, want a probe out %t", h, tt.probes)
			}
			wantLeft(t, c, tt.left)
		})
	}
}

// second returns the pass of the probe that follows one that hangs.
func second(c *Cooldown) *pass {
	p, held, _ := c.wait(context.Background(), apiHost, time.Minute, time.Time{})
	if p == nil || held != 5*time.Second {
		panic(fmt.Sprint("held for ", held, ", not for 5s"))
	}
	return p
}

// A word is what a server says, or another process.
type word struct {
	after time.Duration // the one before
	own   bool
	d     time.Duration // -1: this process asks
}

func (w word) say(c *Cooldown) {
	time.Sleep(w.after)
	switch {
	case w.own && w.d == -1:
		_, _, _ = c.wait(context.Background(), apiHost, 0, time.Time{})
	case w.own:
		c.begin(apiHost, w.d)
	default:
		c.Hold(apiHost, w.d)
	}
}

func TestTheLatestEndWins(t *testing.T) {
	const s, m = time.Second, time.Minute
	for _, tt := range []struct {
		name  string
		max   time.Duration
		words []word
		want  time.Duration
	}{
		{"one", 0, []word{{0, true, m}}, m},
		{"longer", 0, []word{{0, true, m}, {0, true, 90 * s}}, 90 * s},
		{"shorter", 0, []word{{0, true, m}, {0, true, 10 * s}}, m},
		{"later", 0, []word{{0, true, m}, {30 * s, true, m}}, m},
		{"runs down", 0, []word{{0, true, m}, {40 * s, true, 0}}, 20 * s},
		{"over", 0, []word{{0, true, m}, {80 * s, true, 0}}, 0},
		{"heard longer", 0, []word{{0, true, m}, {0, false, 90 * s}}, 90 * s},
		{"heard shorter", 0, []word{{0, true, m}, {0, false, 10 * s}}, m},
		{"heard 0", 0, []word{{0, true, m}, {0, false, 0}}, 0},
		{"heard less than 0", 0, []word{{0, true, m}, {0, false, -5}}, 0},
		{"told 0", 0, []word{{0, true, m}, {0, true, 0}}, m},
		{"told less than 0", 0, []word{{0, true, math.MinInt64}}, 0},
		{"heard 0 of nothing", 0, []word{{0, false, 0}}, 0},
		{"told again after 0", 0, []word{{0, true, m}, {0, false, 0}, {0, true, 9 * s}}, 9 * s},
		{"an hour", 0, []word{{0, true, time.Hour}}, 5 * m},
		{"an hour heard", 0, []word{{0, false, time.Hour}}, 5 * m},
		{"for ever", 0, []word{{0, true, math.MaxInt64}, {0, false, math.MaxInt64}}, 5 * m},
		{"for ever allowed", math.MaxInt64, []word{{0, true, math.MaxInt64}}, math.MaxInt64},
		{"Max", m, []word{{0, true, time.Hour}}, m},
		{"Max below 0", -1, []word{{0, true, time.Hour}}, 5 * m},
		{"heard on and on", m, []word{{0, true, time.Hour}, {30 * s, false, time.Hour}}, 30 * s},
		{"in flight", m, []word{{0, true, time.Hour}, {30 * s, true, time.Hour}}, 30 * s},
		{"told when it is over", m, []word{{0, true, time.Hour}, {61 * s, true, time.Hour}}, m},
		{"heard when it is over", m, []word{{0, true, time.Hour}, {61 * s, false, time.Hour}}, 0},
		{"heard while this process asks", m, []word{{0, false, time.Hour}, {m, true, -1}, {0, false, 30 * s}}, 30 * s},
		{"heard long after", m, []word{{0, true, time.Hour}, {time.Hour, false, time.Hour}}, m},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			c := &Cooldown{Max: tt.max}
			for _, w := range tt.words {
				w.say(c)
			}
			wantLeft(t, c, tt.want)
		})
	}
}

func TestHoldForNoTimeReleasesTheHeldInATenthOfWhatTheyWaited(t *testing.T) {
	for _, first := range []int{0, 1} { // requests that are answered before those look again
		bubble(t, fmt.Sprint(first, " before them"), func(t *testing.T) {
			c := newCrowd()
			c.begin(apiHost, time.Minute)
			all := c.join(t, 100, nil)
			time.Sleep(20 * time.Second)
			c.Hold(apiHost, 0)
			for range first {
				_ = c.send(t.Context(), 0, nil)
			}
			all.Wait()
			c.wantAll(t, 100+first, first, 20*time.Second, 22*time.Second)
		})
	}
}

// They may wait for a minute and 5 s, Max is a minute and answers take 8 s.
func TestThoseThatMaxHasBunchedLeaveOneByOneBehindASlowProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.Max = time.Minute
		c.begin(apiHost, time.Minute)
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() { _ = c.send(t.Context(), time.Minute, func(int) { time.Sleep(8 * time.Second) }) })
		}
		all.Wait()
		c.wantAll(t, 200, 1, 65*time.Second, 74*time.Second)
	})
}

func TestOneThatWaitsGoesAfterTheEndAndIsRefusedAsSoonAsThatIsTooLate(t *testing.T) {
	const s, m, h = time.Second, time.Minute, time.Hour
	for _, tt := range []struct {
		name                    string
		limit, deadline, cancel time.Duration // 0: no deadline, not cancelled
		words                   []word        // after one of a minute
		want                    string
	}{
		{"time enough", m, 0, 0, nil, "sent after 1m0s"},
		{"limit too short", m - 1, 0, 0, nil, "refused after 0s, 1m0s left"},
		{"no limit left", 0, 0, 0, nil, "refused after 0s, 1m0s left"},
		{"limit used up", -m, 0, 0, nil, "refused after 0s, 1m0s left"},
		{"limit below everything", math.MinInt64, 0, 0, nil, "refused after 0s, 1m0s left"},
		{"without limit", math.MaxInt64, 0, 0, nil, "sent after 1m0s"},
		{"deadline before the end", h, 5 * s, 0, nil, "refused after 0s, 1m0s left"},
		{"deadline at the end", h, m, 0, nil, "refused after 0s, 1m0s left"},
		{"deadline right after it", h, m + 1, 0, nil, "sent after 1m0s"},
		{"deadline in the tenth after it", h, m + 2*s, 0, nil, "sent after 1m0s"},
		{"deadline later", h, 2 * m, 0, nil, "sent after 1m0s"},
		{"a longer word", 2 * m, 0, 0, []word{{5 * s, true, 2 * m}}, "refused after 5s, 2m0s left"},
		{"many words together", 85 * s, 0, 0, slices.Repeat([]word{{10 * s, true, m}}, 5), "refused after 30s, 1m0s left"},
		{"cancelled", h, 0, 20 * s, nil, "context canceled after 20s"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			for range 20 { // places are random
				c, start, deadline := new(Cooldown), time.Now(), time.Time{}
				ctx, cancel := context.WithCancel(t.Context())
				if tt.cancel > 0 {
					time.AfterFunc(tt.cancel, cancel)
				}
				if tt.deadline > 0 {
					deadline = start.Add(tt.deadline)
				}
				c.begin(apiHost, m)
				go func() {
					for _, w := range tt.words {
						w.say(c)
					}
				}()
				_, held, err := c.wait(ctx, apiHost, tt.limit, deadline)
				got, cold := fmt.Sprint("sent after ", held.Truncate(10*s)), new(CooldownError)
				if errors.As(err, &cold) {
					got = fmt.Sprintf("refused after %v, %v left", held, cold.Left)
				} else if err != nil {
					got = fmt.Sprint(err, " after ", held)
				}
				if got != tt.want || held != time.Since(start) || !deadline.IsZero() && held > max(tt.deadline+m, 0)/2 {
					t.Errorf("got it %s (%v), want %s, and in the first half until the deadline", got, held, tt.want)
				}
				cancel()
				time.Sleep(h)
				if h := c.cooling[apiHost]; h != nil && h.waiting != 0 {
					t.Errorf("got %d that wait, want none", h.waiting)
				}
			}
		})
	}
}

// However many probes hang, nobody waits for them beyond its limit or deadline.
func TestOneThatWaitsForProbesDoesSoWithinItsLimits(t *testing.T) {
	for _, tt := range []struct {
		name                  string
		limit, deadline, want time.Duration
	}{
		{"limit", 30 * time.Second, time.Hour, 30 * time.Second},
		{"limit used up", 0, time.Hour, 5 * time.Second},
		{"half of the time until the deadline", time.Hour, 8 * time.Second, 4 * time.Second},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			c := newCrowd()
			probe(t, c.Cooldown)
			for range 100 {
				go func() { _ = c.send(t.Context(), time.Hour, func(int) { time.Sleep(time.Hour) }) }()
			}
			synctest.Wait()
			_, held, err := c.wait(t.Context(), apiHost, tt.limit, time.Now().Add(tt.deadline))
			if err != nil || held > tt.want {
				t.Errorf("got %v, held for %v, want %v at most", err, held, tt.want)
			}
			time.Sleep(10 * time.Hour)
		})
	}
}

// A probe is told to wait once more, and the next one hangs. Those whose limit is
// nearly used up wait 5 seconds for it too, counted anew.
func TestEachProbeIsWaitedForAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		p := probe(t, c.Cooldown)
		start := time.Now()
		for range 20 {
			go func() { _ = c.send(t.Context(), 62*time.Second, nil) }()
		}
		time.Sleep(time.Second)
		c.begin(apiHost, time.Minute)
		p.done(true)
		time.Sleep(time.Minute)
		if p, _, err := c.wait(t.Context(), apiHost, 0, time.Time{}); p == nil || err != nil {
			t.Fatalf("got %v, %v, want the second probe", p, err)
		}
		time.Sleep(time.Hour)
		c.mu.Lock()
		defer c.mu.Unlock()
		if got := slices.Min(c.at) - start.Sub(c.start); len(c.at) != 20 || got < 66*time.Second {
			t.Errorf("got %d that left, the first after %v, want 20 after 66 s", len(c.at), got)
		}
	})
}

func TestAKeyHoldsOnlyItsOwn(t *testing.T) {
	c := new(Cooldown)
	c.begin("one", time.Minute)
	c.begin("", time.Minute)
	c.Hold("", time.Minute)
	c.failed("", false)
	for _, key := range []string{"two", ""} {
		if p, held, err := c.wait(t.Context(), key, 0, time.Time{}); p != nil || held != 0 || err != nil || c.Left(key) != 0 {
			t.Errorf("%q: got %v, %v, %v, want it to go at once", key, p, held, err)
		}
	}
	wantEntries(t, c, 1)
}

func TestNoCooldownHoldsNothing(t *testing.T) {
	var c *Cooldown
	c.begin(apiHost, time.Minute)
	c.failed(apiHost, false)
	c.succeeded(apiHost)
	p, held, err := c.wait(t.Context(), apiHost, 0, time.Time{})
	p.done(true)
	if p != nil || held != 0 || err != nil || pickOf(c, apiHost, apiHost, apiHost) != 0 {
		t.Errorf("got %v, %v, %v", p, held, err)
	}
}

func TestACooldownErrorTellsTheKeyAndTheTimeLeft(t *testing.T) {
	for want, err := range map[string]CooldownError{
		`restyretry: not sent: "https://api.test" cools down for another 1m0s, longer than MaxServerWait, MaxElapsed or the deadline allows`: {apiHost, time.Minute},
		`restyretry: not sent: "a\n\u202eb" cools down for another 1ms, longer than MaxServerWait, MaxElapsed or the deadline allows`:        {"a\n\u202eb", 1234567 * time.Nanosecond},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestAWordIsSharedIfAServerSaidItAndOthersDoNotKnow(t *testing.T) {
	type spoken struct {
		word
		shared time.Duration // 0: not
	}
	const s = time.Second
	told := func(after, d, shared time.Duration) spoken { return spoken{word{after, true, d}, shared} }
	heard := func(d time.Duration) spoken { return spoken{word{0, false, d}, 0} }
	for name, words := range map[string][]spoken{
		"new":                  {told(0, 60*s, 60*s)},
		"again":                {told(0, 60*s, 60*s), told(0, 60*s, 0)},
		"a second later":       {told(0, 60*s, 60*s), told(s, 60*s, 0), told(1, 60*s, 60*s)},
		"a tenth later":        {told(0, 2*s, 2*s), told(s/5, 2*s, 0), told(1, 2*s, 2*s)},
		"little by little":     {told(0, 60*s, 60*s), told(s*2/3, 60*s, 0), told(s*2/3, 60*s, 60*s)},
		"shorter":              {told(0, 60*s, 60*s), told(0, 30*s, 0)},
		"longer":               {told(0, 60*s, 60*s), told(0, 90*s, 90*s)},
		"heard":                {heard(60 * s)},
		"heard before":         {heard(60 * s), told(s/2, 60*s, 0)},
		"heard longer before":  {heard(90 * s), told(0, 60*s, 0)},
		"heard shorter before": {heard(30 * s), told(0, 60*s, 60*s)},
		"heard after":          {told(0, 30*s, 30*s), heard(60 * s), told(0, 60*s, 0)},
		"after the end":        {told(0, 30*s, 30*s), told(40*s, 30*s, 30*s)},
		"after it was ended":   {told(0, 30*s, 30*s), heard(0), told(0, 30*s, 30*s)},
		"cut":                  {told(0, time.Hour, 5*time.Minute)},
		"none":                 {told(0, 0, 0)},
	} {
		bubble(t, name, func(t *testing.T) {
			c, got := new(Cooldown), time.Duration(0)
			c.Share(func(key string, d time.Duration) {
				if key != apiHost || got != 0 {
					t.Errorf("got %q shared, %v before", key, got)
				}
				got = d
				c.Hold(key, d) // one that hears itself, and holds no lock
			})
			for i, w := range words {
				got = 0
				if w.say(c); got != w.shared {
					t.Errorf("word %d: got %v shared, want %v", i+1, got, w.shared)
				}
			}
		})
	}
	for _, n := range []int{256, 257} { // bytes
		c, shared, key := new(Cooldown), false, strings.Repeat("k", n)
		c.Share(func(string, time.Duration) { shared = true })
		if c.begin(key, time.Minute); shared != (n == 256) || c.Left(key) == 0 {
			t.Errorf("%d bytes: got it shared %t, %v left, want it cooling, and shared up to 256", n, shared, c.Left(key))
		}
	}
}

// fleet joins Cooldowns, as of several processes, and counts what they tell.
func fleet(n int) (members []*Cooldown, words *atomic.Int32) {
	words = new(atomic.Int32)
	for range n {
		members = append(members, new(Cooldown))
	}
	for i, from := range members {
		from.Share(func(key string, d time.Duration) {
			words.Add(1)
			for j, to := range members {
				if j != i {
					to.Hold(key, d)
				}
			}
		})
	}
	return members, words
}

func TestProcessesThatTellEachOtherDoNotEchoAndSendOneProbe(t *testing.T) {
	bubble(t, "ten, with ten held each", func(t *testing.T) {
		members, words := fleet(10)
		seen, all := newCrowd(), sync.WaitGroup{}
		for _, c := range append(members, members...) { // in flight
			c.begin(apiHost, time.Minute)
			wantLeft(t, c, time.Minute)
		}
		for _, c := range slices.Repeat(members, 10) {
			all.Go(func() {
				p, _, err := c.wait(t.Context(), apiHost, time.Hour, time.Time{})
				if err != nil {
					t.Error(err)
				}
				_ = seen.send(t.Context(), 0, func(n int) {
					if n == 1 {
						c.begin(apiHost, time.Minute)
					}
				})
				p.done(true)
			})
		}
		all.Wait()
		seen.wantAll(t, 100, 1, seen.at[0]+60*time.Second, seen.at[0]+73*time.Second)
		if got := words.Load(); seen.at[0] > 66*time.Second || got != 2 {
			t.Errorf("got the probe at %v and %d words, want it until 66 s and one for each wait", seen.at[0], got)
		}
	})
}

// Another process announces a year every second for an hour.
func TestAProcessThatIsToldToWaitAsksAllTheSameOncePerMax(t *testing.T) {
	const s, m = time.Second, time.Minute
	year := func(c *Cooldown) { c.Hold(apiHost, 365*24*time.Hour) }
	for _, tt := range []struct {
		name    string
		healthy bool
		words   func(c *Cooldown)
		every   time.Duration // a request
		limit   time.Duration
		most    time.Duration // of silence
	}{
		{"cooling", false, year, s, 0, 5 * m},
		{"cooling, requests wait", false, year, 10 * s, time.Hour, 5 * m},
		{"healthy", true, year, s, 0, 5 * m},
		{"healthy, requests wait", true, year, s, m, 5 * m},
		{"few requests", true, year, 59 * s, 0, 6 * m},
		{"short words", true, func(c *Cooldown) { c.Hold(apiHost, 1100*time.Millisecond) }, s, 0, 5 * m},
		{"ended and begun", true, func(c *Cooldown) { c.Hold(apiHost, 0); c.Hold(apiHost, time.Hour) }, s, 0, 5 * m},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			c := newCrowd()
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Hour, cancel)
			go func() {
				for ; ctx.Err() == nil; time.Sleep(s) {
					tt.words(c.Cooldown)
				}
			}()
			for ; ctx.Err() == nil; time.Sleep(tt.every) {
				go func() {
					_ = c.send(ctx, tt.limit, func(int) {
						if time.Sleep(s / 10); !tt.healthy {
							c.begin(apiHost, time.Hour)
						}
					})
				}()
			}
			time.Sleep(s) // until all have ended
			synctest.Wait()
			if n := len(c.at); !tt.healthy && (n < 11 || n > 14) {
				t.Errorf("got %d requests in an hour, want one in 5 minutes", n)
			}
			last := time.Duration(0)
			for _, at := range append(c.at, time.Hour) {
				if at-last > tt.most+s {
					t.Errorf("silent from %v to %v, want %v at most", last, at, tt.most)
				}
				last = at
			}
		})
	}
}

func TestACooldownRemembersAThousandHostsUntilTheyAreOver(t *testing.T) {
	for _, tt := range []struct {
		name        string
		begin       func(c *Cooldown, key string)
		first, last bool // whether they are kept
	}{
		{"told", func(c *Cooldown, key string) { c.begin(key, time.Minute) }, false, true},
		{"heard", func(c *Cooldown, key string) { c.Hold(key, time.Minute) }, true, false},
		{"down", func(c *Cooldown, key string) { c.failed(key, false) }, true, false},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			c := new(Cooldown)
			for i := range 3000 {
				tt.begin(c, fmt.Sprint(i))
				time.Sleep(time.Microsecond)
			}
			wantEntries(t, c, 1024)
			for key, want := range map[string]bool{"0": tt.first, "2999": tt.last} {
				if got := pickOf(c, key, "spare") == 1; got != want {
					t.Errorf("%s: got it known %t, want %t", key, got, want)
				}
			}
			time.Sleep(2 * time.Minute)
			c.Hold("another", 0)
			wantEntries(t, c, 0)
		})
	}
}

func TestWhatThisProcessIsToldFindsRoomAmongWhatItHasHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(Cooldown)
		for i := range 1000 {
			c.Hold(fmt.Sprint("heard ", i), time.Hour)
			c.failed(fmt.Sprint("down ", i), false)
		}
		wantEntries(t, c, 1024)
		for i := range 100 {
			c.begin(fmt.Sprint("told ", i), time.Second) // which ends first
		}
		for i := range 100 {
			if got := c.Left(fmt.Sprint("told ", i)); got != time.Second {
				t.Fatalf("told %d: got %v left, want 1s", i, got)
			}
		}
	})
}

// The race detector looks at this; the bubble sees a goroutine that is left behind.
func TestACooldownIsSafeForManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members, _ := fleet(2)
		keys := []string{"a", "b", "c", ""}
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				c := members[i%2]
				for range 100 {
					key := keys[rand.N(len(keys))]
					ctx, cancel := context.WithTimeout(t.Context(), rand.N(2*time.Millisecond))
					p, _, err := c.wait(ctx, key, time.Second, time.Time{})
					[]func(){
						func() { c.begin(key, rand.N(time.Millisecond)) },
						func() { c.failed(key, rand.N(2) == 0) },
						func() { c.succeeded(key) },
						func() { c.Hold(key, rand.N(3*time.Millisecond)-time.Millisecond) },
						func() { pickOf(c, keys...) },
						func() {},
					}[rand.N(6)]()
					_ = c.Left(key)
					if err == nil {
						p.done(rand.N(2) == 0)
					}
					cancel()
				}
			})
		}
		all.Wait()
		for _, c := range members {
			for key, h := range c.cooling {
				if h.waiting != 0 {
					t.Errorf("%q: got %d that wait, want none", key, h.waiting)
				}
			}
		}
	})
}

// pickOf picks one of a list of hosts, each of which cools down by itself.
func pickOf(c *Cooldown, hosts ...string) int {
	return c.pick(len(hosts), func(i int) (key, host string) { return hosts[i], hosts[i] })
}
