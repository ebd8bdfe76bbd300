package restyretry

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry/internal/restyfields"
	"github.com/restyretry/restyretry/internal/serverwait"
)

// What a call does with the Cooldown of its options: it may be held back before an
// attempt, and reports afterwards what the host has said.

// mustWait reports whether the Cooldown might hold back the attempt that has been
// prepared.
func (c *call) mustWait() bool {
	return c.policy.MaxServerWait > 0 && !c.policy.Cooldown.idle()
}

// holdFirst holds back the first attempt. Resty holds locks meanwhile, so it must not
// wait here: anyone who registers a callback would stop the whole client. Instead it
// returns a heldError, which makes Resty call condition, without locks. That waits,
// and then Resty begins again.
//
// Conditions that are called before ours, and hooks that are called after ours, would
// get a nil response for the heldError. A request that has any of these waits here all
// the same.
func (c *call) holdFirst() error {
	c.current.stage = ready
	limit, deadline := c.patience()
	pass, free, err := c.policy.Cooldown.try(c.coolKey(), limit, deadline)
	if free {
		c.current.pass, c.current.refusal = pass, err
		return c.start()
	}
	if restyfields.HasConditions(c.request) || len(c.client.RetryHooks) > 1 {
		c.current.refusal = c.hold()
		return c.start()
	}
	return &heldError{c}
}

// A heldError tells condition that a request is to be held back.
type heldError struct{ call *call }

func (e *heldError) Error() string {
	return fmt.Sprintf("restyretry: %q may cool down: the request waits before it is sent", e.call.coolKey())
}

// awaitFirst waits until the first attempt may be sent, or is refused. In either case
// it returns true, and Resty begins the attempt again: that returns the refusal.
func (c *call) awaitFirst() bool {
	c.current.refusal = c.hold()
	c.request.Attempt-- // Resty counts attempts
	c.counted--
	return true
}

// hold waits until the attempt that has been prepared may be sent. The error is a
// *CooldownError, or how the caller's context has ended.
func (c *call) hold() error {
	if !c.mustWait() {
		return nil
	}
	limit, deadline := c.patience()
	key := c.coolKey()
	left := c.policy.Cooldown.Left(key)
	pass, held, err := c.policy.Cooldown.wait(c.ctx, key, limit, deadline)
	c.current.pass = pass
	if held > 0 {
		c.noteHeld(key, left, held)
	}
	switch {
	case err == nil, errors.As(err, new(*CooldownError)):
		return err
	default:
		o := outcome{Attempt: Attempt{Number: len(c.attempts), Max: c.policy.Attempts}}
		return brokenOff{o.ended(endedBy(c.ctx), contextError(c.ctx))}
	}
}

// A brokenOff is the error of a request whose context has ended while it was held
// back.
type brokenOff struct{ error }

func (e brokenOff) Unwrap() error { return e.error }

// patience returns how long the call may still be held back, and the time by which the
// attempt must have begun, zero for none.
func (c *call) patience() (limit time.Duration, deadline time.Time) {
	limit = c.policy.MaxServerWait
	for _, a := range c.attempts {
		limit -= a.Held
	}
	deadline, bounded := c.ctx.Deadline()
	if last := c.began().Add(c.policy.MaxElapsed); c.policy.MaxElapsed > 0 && (!bounded || last.Before(deadline)) {
		deadline = last
	}
	return limit, deadline
}

func (c *call) noteHeld(key string, left, held time.Duration) {
	c.current.held = held
	c.policy.plugin.stats.hold(held)
	if logger := c.policy.Logger; logger != nil {
		logger.LogAttrs(c.ctx, slog.LevelDebug, "held back",
			slog.String("key", key), slog.Duration("left", left), slog.Duration("held", held),
			slog.Int("attempt", c.number()))
	}
}

// coolKey is the key of where the coming attempt goes.
func (c *call) coolKey() string {
	key, _ := c.keysOf(c.current.url)
	return key
}

// keysOf returns the key of a URL as a request may have it, and that of its host.
func (c *call) keysOf(text string) (key, host string) {
	u, err := resolve(c.client, c.request, text)
	if err != nil {
		return "", ""
	}
	key = c.policy.Cooldown.key(u, c.request)
	c.stayInContext()
	return key, hostKey(u)
}

// tellCooldown tells the Cooldown, which must not be nil, how the attempt under way has
// ended.
func (c *call) tellCooldown() {
	cooldown, resp := c.policy.Cooldown, c.current.response
	answered := resp != nil && resp.RawResponse != nil
	wait := coolingWait(resp)
	if wait > 0 {
		from := cmp.Or(answeredBy(resp), c.request.RawRequest.URL)
		cooldown.begin(cooldown.key(from, c.request), wait)
	}
	sent := resp != nil // a transport that fails has one too
	c.current.pass.done(answered || sent && c.ctx.Err() == nil)
	c.current.pass = nil
	if !sent || !c.hasHosts() {
		return
	}
	switch host := hostKey(c.request.RawRequest.URL); {
	case c.ctx.Err() == nil:
		c.tellHost(host, answered, wait)
	case c.isUnanswered():
		cooldown.failed(host, true)
	}
}

// isUnanswered reports whether the caller's deadline has ended an attempt whose new
// connection was not there after a second, in which TCP asks twice (RFC 6298, section
// 2). It may be that nothing answers there; what is slow, or waits for a connection of
// others, is another matter.
func (c *call) isUnanswered() bool {
	return endedBy(c.ctx) == ReasonDeadline && c.isUnsent() && c.current.context.wire.dialed.Load() &&
		time.Since(c.request.Time) > time.Second
}

// coolingWait returns the wait with which resp begins a cool-down, or 0.
func coolingWait(resp *resty.Response) time.Duration {
	if resp == nil || !serverwait.BindsAll(resp.StatusCode()) {
		return 0
	}
	return serverwait.Wait(resp.StatusCode(), resp.Header(), time.Now())
}

// tellHost tells whether a host of a list is up. One that asks for a wait is.
func (c *call) tellHost(host string, answered bool, asked time.Duration) {
	cooldown, resp := c.policy.Cooldown, c.current.response
	err := asRedirect(resp, c.current.err)
	switch {
	case err != nil && (!answered || !c.current.read && isPartial(resp, err)):
		if c.policy.Errors != nil && c.policy.Errors(err) {
			cooldown.failed(host, !c.isUnsent())
		}
	case resp.StatusCode() >= 500 && c.policy.retriesStatus(resp.StatusCode()) && asked == 0:
		cooldown.failed(host, true)
	default:
		cooldown.succeeded(host)
	}
}

// hasHosts reports whether the attempts go to the hosts of a list.
func (c *call) hasHosts() bool {
	known, ok := c.policy.URL.(lister)
	return ok && len(known.list()) > 1
}
