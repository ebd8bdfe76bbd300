package restyretry

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry/internal/serverwait"
)

// A Cooldown lets requests share what hosts tell them. When one of them is
// answered with 429 or 503 and a wait (see [Options].MaxServerWait), the others to
// that host are held back until the wait is over. Then they leave one by one,
// spread over a tenth of the wait, but at least a second (or the wait itself, if
// that is shorter) and at most 30 seconds. A request that may not wait so long, by
// its deadline, MaxElapsed or MaxServerWait, ends at once: with a [*CooldownError] if
// nothing was sent yet, otherwise with the response or error of its last attempt.
//
// The first request to leave is a probe: the others wait until it has ended. If that
// takes longer than the wait itself (but at least 100 ms), or 5 seconds, another probe
// follows it, and so on. A request waits for probes as long as MaxServerWait allows,
// but 5 seconds in any case, or half of the time until its deadline; then it goes. With
// [URLs], [BaseURLs] and [Rotate], hosts that cool down or cannot be reached are passed
// over.
//
// A Cooldown remembers 1,024 keys and hosts. If this process is told of more, it
// forgets those that it has only heard of from others, and then those that end first.
//
// The zero value is ready to use. Set one on all clients that speak to the same
// servers. It is safe for concurrent use. It must not be copied, and its fields
// must not be changed, after its first use.
type Cooldown struct {
	// Key returns the key of a request: requests with the same key share a
	// cool-down, those with "" share none. u is where the attempt goes, without user
	// information and with its path and query parameters; what a middleware registered
	// after Install makes of it is not known yet. Default nil: scheme, host and port in
	// lower case, without the scheme's default port. Servers that limit by token or by
	// route need a Key. It must contain no secret, because it is logged, and passed to
	// the function of [Cooldown.Share] if it has no more than 256 bytes. Like OnAttempt,
	// Key must not register callbacks on the client. With a list it is asked before
	// OnAttempt runs. Whether a host of a list is down does not depend on Key.
	Key func(u *url.URL, r *resty.Request) string

	// Max is the longest time that a host is left alone before one request asks
	// again, whatever the server or another process says. A longer wait is cut to
	// it. Default 0: 5 minutes.
	Max time.Duration

	tell  func(key string, d time.Duration)
	known atomic.Int64 // how many entries there are in both maps

	mu      sync.Mutex
	cooling map[string]*cooling
	outages map[string]*outage
	swept   time.Time // when entries that are over were last looked for
}

// A CooldownError is the error of a request that was not sent, because the host
// cools down for longer than the request may wait.
type CooldownError struct {
	Key  string        // what cools down, see [Cooldown].Key
	Left time.Duration // until the cool-down ends
}

func (e *CooldownError) Error() string {
	return fmt.Sprintf("restyretry: not sent: %q cools down for another %v, longer than MaxServerWait, MaxElapsed or the deadline allows",
		e.Key, e.Left.Round(time.Millisecond))
}

const (
	cooldownMax    = 5 * time.Minute
	cooldownProbe  = 5 * time.Second  // at most, for which a probe keeps the others waiting
	cooldownTurn   = time.Second / 10 // at least: all of them look again then
	cooldownHosts  = 1024             // entries at most
	cooldownShared = 256              // bytes of a key that is shared
)

// A cooling is a host that has said wait. It is kept a while after the end:
// until it is known what a probe finds, and so that other processes cannot begin the
// next cool-down before this process has had time to ask.
type cooling struct {
	own     bool          // a server has told this process so
	since   time.Time     // the last moment when this process was free to ask
	last    time.Time     // the latest end, Max after that
	ends    time.Time     // no attempt before
	shared  time.Time     // the end that other processes know
	probe   *pass         // the last attempt that went since the end
	waiting int           // attempts that are held back
	changed chan struct{} // closed when those must look again
}

// A pass is an attempt that others wait for.
type pass struct {
	cooldown *Cooldown
	key      string
	host     *cooling
	ends     time.Time // the end after which it went
	start    time.Time
}

// Hold makes key cool down for d, as told by another process. The key is as Key returns
// it, by default such as "https://api.example.com". Hold does not shorten a cool-down,
// but a d of 0 or less ends it. It is cut to Max, counted from when this process could
// last ask the host itself: others can slow this process, but not silence it.
func (c *Cooldown) Hold(key string, d time.Duration) {
	switch {
	case c == nil || key == "":
	case d > 0:
		c.extend(key, d, false)
	default:
		c.end(key)
	}
}

// Left returns the time until the cool-down of key ends, 0 if there is none.
func (c *Cooldown) Left(key string) time.Duration {
	if c.idle() {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if h := c.lookup(key, now); h != nil {
		return max(h.ends.Sub(now), 0)
	}
	return 0
}

// Share makes c call tell with every wait that a server asks this process for, cut
// to Max. A wait that others know already, give or take a tenth and at most a
// second, is left out, and so are those that came by [Cooldown.Hold]. tell must not
// block, and may be called concurrently. Call Share before the first use of c. There
// is one tell: a second call replaces it.
func (c *Cooldown) Share(tell func(key string, d time.Duration)) { c.tell = tell }

// idle reports whether nothing cools down and nothing is down. An attempt then
// needs no key, and no lock.
func (c *Cooldown) idle() bool { return c == nil || c.known.Load() == 0 }

// key returns the key of an attempt that goes to u; "" is one that shares with
// nothing.
func (c *Cooldown) key(u *url.URL, r *resty.Request) string {
	if c.Key != nil {
		bare := *u
		bare.User = nil
		return c.Key(&bare, r)
	}
	return hostKey(u)
}

// begin begins or extends the cool-down of key by the wait of an answer from it.
func (c *Cooldown) begin(key string, d time.Duration) {
	if c == nil || key == "" || d <= 0 {
		return
	}
	if c.extend(key, d, true) && c.tell != nil && len(key) <= cooldownShared {
		c.tell(key, min(d, c.longest()))
	}
}

// wait holds an attempt back until it may go to key, and returns for how long it
// did. limit is for how long the request may still be held, where only the time
// until the end of the cool-down counts and not the attempt's place after it;
// deadline is when the attempt must have begun, zero for none. The error is a
// [*CooldownError], at once, where the end is beyond them, or that of ctx.
//
// The caller must tell the pass, which may be nil, when the attempt has ended;
// before that it calls begin, if the answer says wait.
func (c *Cooldown) wait(ctx context.Context, key string, limit time.Duration, deadline time.Time) (*pass, time.Duration, error) {
	if c.idle() || key == "" {
		return nil, 0, nil
	}
	return c.hold(ctx, &waiter{key: key, limit: max(limit, 0), deadline: deadline})
}

// try is wait for an attempt that does not have to wait: free says that it may go,
// or may not at all.
func (c *Cooldown) try(key string, limit time.Duration, deadline time.Time) (p *pass, free bool, err error) {
	if c.idle() || key == "" {
		return nil, true, nil
	}
	w := &waiter{key: key, limit: max(limit, 0), deadline: deadline}
	if p, free, err = c.admit(w); !free {
		c.leave(w)
	}
	return p, free, err
}

func (c *Cooldown) hold(ctx context.Context, w *waiter) (*pass, time.Duration, error) {
	held := time.Duration(0)
	for {
		p, done, err := c.admit(w)
		if done {
			return p, held, err
		}
		err = w.sleep(ctx)
		held = time.Since(w.start)
		if err != nil {
			c.leave(w)
			return nil, held, err
		}
	}
}

// done says that the attempt has ended; heard, that the host was asked, which is
// not so if the attempt was cancelled or never sent. Then the next one in the
// row is the probe.
func (p *pass) done(heard bool) {
	if p == nil {
		return
	}
	c := p.cooldown
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cooling[p.key] != p.host || !p.host.ends.Equal(p.ends): // a new cool-down has begun
	case heard:
		c.forget(p.key)
		p.host.wake()
	case p.host.probe == p:
		p.host.probe = nil
		p.host.wake()
	}
}

// A waiter is an attempt that is held back.
type waiter struct {
	key      string
	start    time.Time
	limit    time.Duration
	deadline time.Time

	ends    time.Time     // the end of the cool-down after which it has its place
	place   time.Time     // it does not go before
	bunched bool          // all others may have the same place
	spread  time.Duration // for its next place, if it is drawn anew
	queued  time.Time     // since when it waits for a probe; zero if it does not

	host  *cooling  // what it waits for, nil for its place alone
	until time.Time // when it looks again
	again <-chan struct{}
}

// sleep lasts until w has to look again.
func (w *waiter) sleep(ctx context.Context) error {
	timer := time.NewTimer(time.Until(w.until))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-w.again:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// admit decides whether w may go; if not, w knows until when to sleep.
func (c *Cooldown) admit(w *waiter) (p *pass, done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if w.start.IsZero() {
		w.start = now
	}
	w.detach()
	h := c.lookup(w.key, now)
	switch {
	case h != nil && now.Before(h.ends):
		if err := w.refused(h.ends, now); err != nil {
			return nil, true, err
		}
		w.draw(h)
	case w.early(h, now):
	case h == nil:
		return nil, true, nil
	case !h.isProbed(now):
		h.probe = &pass{cooldown: c, key: w.key, host: h, ends: h.ends, start: now}
		return h.probe, true, nil
	case !w.queue(h, now):
		return nil, true, nil
	}
	w.attach(h)
	return nil, false, nil
}

// leave ends the waiting of one that has been cancelled.
func (c *Cooldown) leave(w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.detach()
}

// attach has w woken when something changes at h; nil stands for nothing.
func (w *waiter) attach(h *cooling) {
	w.host, w.again = h, nil
	if h != nil {
		h.waiting++
		w.again = h.changed
	}
}

func (w *waiter) detach() {
	if w.host != nil {
		w.host.waiting--
		w.host = nil
	}
}

// refused returns an error if w may not wait until the cool-down ends.
func (w *waiter) refused(ends, now time.Time) error {
	left := ends.Sub(now)
	if left <= w.limit-now.Sub(w.start) && (w.deadline.IsZero() || ends.Before(w.deadline)) {
		return nil
	}
	return &CooldownError{Key: w.key, Left: left}
}

// draw gives w a place after the end of the cool-down, unless it has one. If places
// would be later than Max allows, all have the same: one of them is the probe, and the
// others draw again after it.
func (w *waiter) draw(h *cooling) {
	w.queued = time.Time{}
	if !w.ends.Equal(h.ends) {
		w.ends, w.spread, w.bunched = h.ends, h.spread(), false
		w.take(h.ends, w.spread)
		if h.ends.Add(w.spread).After(h.last) {
			w.place, w.bunched = h.ends, true
		}
	}
	w.until = w.place
}

// take gives w a random place in the time after from. Where the deadline is near,
// at least half of the time until then is left to the attempt.
func (w *waiter) take(from time.Time, spread time.Duration) {
	if !w.deadline.IsZero() {
		spread = min(spread, w.deadline.Sub(from)/2)
	}
	w.place = from.Add(rand.N(max(spread, 0) + 1))
}

// redraw gives w a new place when there is nothing more to wait for, if it needs one:
// its place was that of all the others, or long after an end that Hold has brought, or it
// has waited for a probe. Those that have are then no closer to each other than they came.
func (w *waiter) redraw(now time.Time) {
	switch {
	case now.Before(w.ends):
		w.take(now, min(w.spread, serverwait.Spread(now.Sub(w.start))))
		w.ends = time.Time{}
	case w.bunched:
		w.take(now, w.spread)
	case !w.queued.IsZero():
		w.take(now, min(now.Sub(w.queued), w.spread))
	}
	w.bunched, w.queued = false, time.Time{}
}

// early reports whether the place of w is still to come, when nothing cools down.
// h is nil if there is nothing more to wait for.
func (w *waiter) early(h *cooling, now time.Time) bool {
	switch {
	case h == nil:
		w.redraw(now)
	case !w.ends.IsZero() && !w.ends.Equal(h.ends): // Hold has ended it
		w.draw(h)
	}
	w.until = w.place
	return now.Before(w.place)
}

// queue has w wait for the probe, and reports false if it may no longer. It may
// for as long as its limit allows, and for 5 seconds in any case.
func (w *waiter) queue(h *cooling, now time.Time) bool {
	if w.queued.IsZero() {
		w.queued, w.spread = now, h.spread()
	}
	last := w.queued.Add(max(w.limit-w.queued.Sub(w.start), cooldownProbe))
	if !w.deadline.IsZero() {
		last = earlier(last, w.queued.Add(w.deadline.Sub(w.queued)/2))
	}
	w.until = earlier(last, h.probe.start.Add(h.probeTime()))
	if !now.Before(last) && w.bunched {
		w.take(now, w.spread)
		w.until, w.bunched = w.place, false
		return true
	}
	return now.Before(last)
}

// extend has key cool down for d from now, unless it does so for longer already.
// own says that a server told this process so; news, that others do not know it.
func (c *Cooldown) extend(key string, d time.Duration, own bool) (news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	h := c.lookup(key, now)
	if h == nil {
		if h = c.add(key, own, now); h == nil {
			return false
		}
	}
	h.own = h.own || own
	d = min(d, c.longest())
	alike := min(d/10, time.Second) // what makes no difference
	end := now.Add(d)
	if news = end.Sub(h.shared) > alike; end.After(h.shared) && (news || !own) {
		h.shared = end
	}
	if !now.Before(h.ends) && (own || h.probe != nil) { // this process has asked
		h.renew(now, c.longest())
	}
	if end = earlier(end, h.last); !end.After(h.ends) {
		return news
	}
	changes := end.Sub(h.ends) > alike
	h.ends, h.probe = end, nil
	if changes {
		h.wake()
	}
	return news
}

// end ends the cool-down of key. Those that wait leave as after any other.
func (c *Cooldown) end(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if h := c.lookup(key, now); h != nil && now.Before(h.ends) {
		h.ends, h.shared = now, now
		h.wake()
	}
}

// add makes an entry for key, or returns nil where there is no room: a host that
// this process was told of takes the place of another, one that it heard of does not.
func (c *Cooldown) add(key string, own bool, now time.Time) *cooling {
	if !c.room() {
		if !own || len(c.cooling) == 0 {
			return nil
		}
		c.forget(c.first())
	}
	if c.cooling == nil {
		c.cooling = make(map[string]*cooling)
	}
	h := &cooling{changed: make(chan struct{})}
	h.renew(now, c.longest())
	c.cooling[key] = h
	c.count()
	return h
}

// first returns the key of the cool-down that ends first, of those that this process
// has only heard of, if there are any.
func (c *Cooldown) first() (key string) {
	var best *cooling
	for k, h := range c.cooling {
		if best == nil || best.own && !h.own || best.own == h.own && h.ends.Before(best.ends) {
			key, best = k, h
		}
	}
	return key
}

// room reports whether there is room for one more entry.
func (c *Cooldown) room() bool { return len(c.cooling)+len(c.outages) < cooldownHosts }

// lookup returns what is remembered of key, or nil.
func (c *Cooldown) lookup(key string, now time.Time) *cooling {
	c.sweep(now)
	h := c.cooling[key]
	if h != nil && h.over(now) {
		c.forget(key)
		return nil
	}
	return h
}

// sweep forgets, at most once a second, what is over.
func (c *Cooldown) sweep(now time.Time) {
	if now.Sub(c.swept) < time.Second {
		return
	}
	c.swept = now
	maps.DeleteFunc(c.cooling, func(_ string, h *cooling) bool { return h.over(now) })
	maps.DeleteFunc(c.outages, func(_ string, o *outage) bool { return o.over(now) })
	c.count()
}

func (c *Cooldown) forget(key string) {
	delete(c.cooling, key)
	c.count()
}

func (c *Cooldown) count() { c.known.Store(int64(len(c.cooling) + len(c.outages))) }

func (c *Cooldown) longest() time.Duration {
	if c.Max <= 0 {
		return cooldownMax
	}
	return c.Max
}

// renew says that this process was free to ask the host until now.
func (h *cooling) renew(now time.Time, longest time.Duration) {
	h.since, h.last = now, now.Add(longest)
}

// spread is the time in which those that wait for the end leave after it.
func (h *cooling) spread() time.Duration { return serverwait.Spread(h.ends.Sub(h.since)) }

// over reports whether the cool-down has not only ended, but need no longer be
// remembered either. One that Max has cut is remembered for Max again, so that a
// request can ask before the next one begins.
func (h *cooling) over(now time.Time) bool {
	after := max(h.spread(), time.Second)
	if !h.ends.Before(h.last) {
		after = h.last.Sub(h.since)
	}
	return h.waiting == 0 && now.Sub(h.ends) >= after && !h.isProbed(now)
}

// probeTime is for how long a probe keeps the others waiting: not longer than the wait
// that the server asked for, which may be short although its answers take long.
func (h *cooling) probeTime() time.Duration {
	return min(max(h.ends.Sub(h.since), cooldownTurn), cooldownProbe)
}

// isProbed reports whether a probe keeps the others waiting.
func (h *cooling) isProbed(now time.Time) bool {
	return h.probe != nil && now.Sub(h.probe.start) < h.probeTime()
}

// wake has all that wait look again.
func (h *cooling) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}
