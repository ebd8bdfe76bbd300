// Package restyretry gives Resty v2 clients the retries they should have had.
//
// [Install] attaches a policy to a client that already exists; [With] changes
// it for the requests of one context. See [Options] for what can be said, and
// the README for what it replaces in aiohttp_retry and in Resty itself.
package restyretry

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-resty/resty/v2"
)

// A Plugin is a policy that has been installed on a client.
type Plugin struct {
	current  atomic.Pointer[policy]
	kept     inherited
	stats    counters
	reported atomic.Bool // that another pre-request hook has taken our place
	alone    bool        // no OnError or OnPanic comes before ours
}

// Install attaches a retry policy to client: the defaults of [Options], changed
// by opts. It must be called before the client is used, since it changes the
// client itself.
//
// The client's retry settings belong to the plugin from then on. What it had
// goes on working: its retry conditions ask for a retry, its retry hooks run
// before each retry, its RetryAfter function is asked for the wait before Wait
// is, and its RetryCount and wait times become defaults of the options. It is
// an error to change RetryCount, the wait times or RetryAfter later, which each
// request then returns before it is sent.
//
// A clone of the client takes the policy along. Install on the clone gives it
// one of its own; a second Install on the same client replaces the first.
//
// The error names the option that is wrong and its value; or it says that the
// client has a pre-request hook, which has to be passed as
// [Options].PreRequest because Resty keeps only one.
func Install(client *resty.Client, opts ...func(*Options)) (*Plugin, error) {
	if client == nil {
		return nil, errors.New("restyretry: the client is nil")
	}
	p := &Plugin{kept: inherit(client)}
	made, err := p.policy(nil, p.kept.defaults(), opts)
	if err != nil && p.kept.count >= maxAttempts {
		err = fmt.Errorf("%w (the client's RetryCount is %d)", err, p.kept.count)
	}
	if err != nil {
		return nil, err
	}
	if hookOf(client) == foreignHook && made.PreRequest == nil {
		return nil, errors.New("restyretry: the client has a pre-request hook, and Resty keeps only one: pass it as PreRequest")
	}
	p.current.Store(made)
	p.takeOver(client)
	return p, nil
}

// Update changes the options of the client while requests run; those that have
// been sent keep what they have. It changes nothing if it returns an error.
func (p *Plugin) Update(opts ...func(*Options)) error {
	for {
		old := p.current.Load()
		made, err := p.policy(old, old.Options, opts)
		if err != nil {
			return err
		}
		if p.current.CompareAndSwap(old, made) {
			return nil
		}
	}
}

// inherited is what a client had before Install.
type inherited struct {
	count      int
	minWait    time.Duration
	maxWait    time.Duration
	conditions []resty.RetryConditionFunc
	hooks      []resty.OnRetryFunc
	retryAfter resty.RetryAfterFunc
}

// inherit takes stock of a client. On one that has a plugin, that is what the
// plugin found, and what was added since.
func inherit(c *resty.Client) inherited {
	if before := pluginOf(c); before != nil {
		kept := before.kept
		kept.conditions = append(slices.Clip(kept.conditions), withoutOurs(c.RetryConditions, condition)...)
		kept.hooks = append(slices.Clip(kept.hooks), withoutOurs(c.RetryHooks, retryHook)...)
		return kept
	}
	kept := inherited{
		count: c.RetryCount, minWait: c.RetryWaitTime, maxWait: c.RetryMaxWaitTime,
		conditions: withoutOurs(c.RetryConditions, condition),
		hooks:      withoutOurs(c.RetryHooks, retryHook),
		retryAfter: c.RetryAfter,
	}
	if isRegistered(c) { // RetryAfter was changed since; these are of the plugin before
		kept.count, kept.minWait, kept.maxWait = 0, restyMinWait, restyMaxWait
	}
	if kept.maxWait < 0 {
		kept.maxWait = math.MaxInt32 // nanoseconds, as Resty has it
	}
	return kept
}

// Resty's defaults.
const (
	restyMinWait = 100 * time.Millisecond
	restyMaxWait = 2 * time.Second
)

// withoutOurs copies list without the function that Install has put there.
func withoutOurs[F any](list []F, ours F) []F {
	return slices.DeleteFunc(slices.Clone(list), func(f F) bool { return isSame(f, ours) })
}

// needsState reports whether something is asked about every attempt.
func (i *inherited) needsState() bool { return len(i.conditions) > 0 || i.retryAfter != nil }

func (i *inherited) defaults() Options {
	o := defaults()
	if i.count > 0 {
		o.Attempts = i.count + 1
	}
	if i.minWait != restyMinWait || i.maxWait != restyMaxWait {
		o.Wait = restyWait(i.minWait, i.maxWait)
	}
	return o
}

// restyWait is the back-off of Resty itself: the shortest wait first, then
// twice as long each time, of which the upper half is random.
func restyWait(shortest, longest time.Duration) Strategy {
	upperHalf := EqualJitter(Exponential(shortest, longest))
	return func(a Attempt) time.Duration { return max(upperHalf(a), shortest) }
}

// asksFor reports whether a condition of the client's asks for a retry.
func (i *inherited) asksFor(resp *resty.Response, err error) bool {
	return slices.ContainsFunc(i.conditions, func(f resty.RetryConditionFunc) bool { return f(resp, err) })
}

// takeOver puts our callbacks on the client. They are functions of the package
// that find the plugin in the client they are called with, in its RetryAfter.
// So they are the same for a clone, whose lists share memory with the
// original's, and a second Install has only that one field to change.
func (p *Plugin) takeOver(c *resty.Client) {
	registered := isRegistered(c)
	c.RetryCount = maxAttempts
	c.RetryWaitTime = 0
	c.RetryMaxWaitTime = math.MaxInt64
	c.RetryResetReaders = false
	c.RetryAfter = p.asRetryAfter()
	c.RetryConditions = []resty.RetryConditionFunc{condition}
	c.RetryHooks = []resty.OnRetryFunc{retryHook}
	if hookOf(c) != ourHook {
		c.SetPreRequestHook(preRequest)
	}
	if !registered {
		c.OnBeforeRequest(beforeRequest)
		c.OnAfterResponse(afterResponse)
		c.OnSuccess(succeeded)
		c.OnError(failed)
		c.OnPanic(panicked)
	}
	p.alone = isFirst(errorHooksField.of(c), failed) && isFirst(panicHooksField.of(c), panicked)
}

// pluginOf returns the plugin of a client, or nil.
func pluginOf(c *resty.Client) *Plugin {
	if codeOf(c.RetryAfter) != retryAfterCode {
		return nil
	}
	_, err := c.RetryAfter(c, nil)
	if o, ok := err.(*owner); ok {
		return (*Plugin)(o)
	}
	return nil
}

// asRetryAfter returns the client's RetryAfter, which tells pluginOf whose it is.
// Inlined, each copy would have code of its own.
//
//go:noinline
func (p *Plugin) asRetryAfter() resty.RetryAfterFunc {
	return func(c *resty.Client, resp *resty.Response) (time.Duration, error) {
		if resp == nil {
			return 0, (*owner)(p)
		}
		return retryAfter(c, resp)
	}
}

// An owner is what a plugin's RetryAfter says to pluginOf.
type owner Plugin

func (*owner) Error() string { return "restyretry: no response" }

// retryAfterCode is the code of every plugin's RetryAfter.
var retryAfterCode = codeOf((*Plugin)(nil).asRetryAfter())

// isUntouched reports whether all callbacks of a client are as Install has left
// them, with no condition, pre-request hook or later middleware of anybody else.
func isUntouched(c *resty.Client) bool {
	return touched(c) == "" && len(c.RetryConditions) == 1 &&
		isSame(preRequestField.of(c), preRequest) && isLastMiddleware(c)
}

// touched names the setting of the client that was changed after Install, and
// what to set instead.
func touched(c *resty.Client) string {
	switch {
	case c.RetryCount != maxAttempts:
		return "RetryCount was changed after Install; set Attempts"
	case c.RetryWaitTime != 0:
		return "RetryWaitTime was changed after Install; set Wait"
	case c.RetryMaxWaitTime != math.MaxInt64:
		return "RetryMaxWaitTime was changed after Install; set Wait"
	case c.RetryResetReaders:
		return "RetryResetReaders was changed after Install; there is nothing to set"
	case len(c.RetryConditions) == 0 || !isSame(c.RetryConditions[0], condition):
		return "RetryConditions was changed after Install; set RetryIf"
	case len(c.RetryHooks) == 0 || !isSame(c.RetryHooks[0], retryHook):
		return "RetryHooks was changed after Install; set Hooks"
	default:
		return ""
	}
}
