package restyretry

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry/internal/restyfields"
)

// A Plugin is a policy that has been installed on a client.
type Plugin struct {
	client   *resty.Client
	found    settings // of the client, at Install
	current  atomic.Pointer[policy]
	stats    counters
	reported atomic.Bool // that another pre-request hook has taken our place
}

// Install attaches a retry policy to client: the defaults of [Options], changed
// by opts. It must be called before the client is used, since it changes the
// client itself.
//
// The client's retry settings belong to the plugin from then on. What the client
// had goes on working: its retry conditions ask for a retry, its retry hooks run
// before each retry, its RetryAfter function is asked for the wait first, then
// the server, then Wait, and its RetryCount and wait times become defaults of the
// options. Changing RetryCount, the wait times, RetryAfter or RetryResetReaders
// later is an error that each request returns before it is sent. Only the values
// that Install sets itself are not noticed, and change nothing: a RetryCount of 101
// and a RetryWaitTime of 0.
//
// A clone of the client keeps the policy. Install on the clone gives it one of its
// own. A second Install on the same client replaces the first with all its options;
// to change some of them, use Update.
//
// The error names the option that is invalid and its value, or says that the
// client has a pre-request hook: pass it as [Options].PreRequest, because Resty
// keeps only one.
func Install(client *resty.Client, opts ...func(*Options)) (*Plugin, error) {
	if client == nil {
		return nil, errors.New("restyretry: the client is nil")
	}
	p := &Plugin{client: client, found: settingsOf(client)}
	made, err := p.policy(p.found.defaults(), opts)
	if err != nil && p.found.count >= maxAttempts {
		err = fmt.Errorf("%w (the client's RetryCount is %d)", err, p.found.count)
	}
	if err != nil {
		return nil, err
	}
	if hook := restyfields.PreRequestHook(client); hook != 0 && hook != preRequestCode && made.PreRequest == nil {
		return nil, errors.New("restyretry: the client has a pre-request hook, and Resty keeps only one: pass it as PreRequest")
	}
	p.current.Store(made)
	p.takeOver(client)
	return p, nil
}

// Update changes the options of the client, and of its clones. It may be called
// while requests run; those keep the options that they began with. It changes
// nothing if it returns an error: an option is invalid, or another Install has
// replaced the plugin on the client.
func (p *Plugin) Update(opts ...func(*Options)) error {
	if pluginOf(p.client) != p {
		return errors.New("restyretry: this plugin is no longer on its client: another Install has replaced it (update the plugin that it returned), or the client's RetryAfter was changed")
	}
	for {
		old := p.current.Load()
		made, err := p.policy(old.Options, opts)
		if err != nil {
			return err
		}
		if p.current.CompareAndSwap(old, made) {
			return nil
		}
	}
}

// settings are what a client had before Install.
type settings struct {
	count      int
	minWait    time.Duration
	maxWait    time.Duration
	conditions []resty.RetryConditionFunc
	hooks      []resty.OnRetryFunc
	retryAfter resty.RetryAfterFunc
}

// settingsOf returns the settings of a client. On one that has a plugin, they
// are what the plugin found, and what was added since.
func settingsOf(c *resty.Client) settings {
	if before := pluginOf(c); before != nil {
		found := before.found
		found.conditions = append(slices.Clip(found.conditions), without(c.RetryConditions, conditionCode)...)
		found.hooks = append(slices.Clip(found.hooks), without(c.RetryHooks, retryHookCode)...)
		return found
	}
	found := settings{
		count: c.RetryCount, minWait: c.RetryWaitTime, maxWait: c.RetryMaxWaitTime,
		conditions: without(c.RetryConditions, conditionCode),
		hooks:      without(c.RetryHooks, retryHookCode),
		retryAfter: c.RetryAfter,
	}
	if isRegistered(c) { // a plugin has set these, whose RetryAfter was replaced since
		found.count, found.minWait, found.maxWait = 0, restyMinWait, restyMaxWait
	}
	if found.maxWait < 0 {
		found.maxWait = math.MaxInt32 // nanoseconds, as Resty has it
	}
	return found
}

// Resty's defaults.
const (
	restyMinWait = 100 * time.Millisecond
	restyMaxWait = 2 * time.Second
)

// without copies a list of functions, but for the one with this code.
func without[F any](list []F, code uintptr) []F {
	return slices.DeleteFunc(slices.Clone(list), func(f F) bool { return restyfields.Code(f) == code })
}

func (s *settings) defaults() Options {
	o := defaults()
	if s.count > 0 {
		o.Attempts = s.count + 1
	}
	if s.minWait != restyMinWait || s.maxWait != restyMaxWait {
		o.Wait = restyWait(s.minWait, s.maxWait)
	}
	return o
}

// restyWait is the back-off of Resty itself: the shortest wait first, then
// twice as long each time, of which the upper half is random.
func restyWait(shortest, longest time.Duration) Strategy {
	upperHalf := EqualJitter(Exponential(shortest, max(shortest, longest)))
	return func(a Attempt) time.Duration { return max(upperHalf(a), shortest) }
}

// asksFor reports whether a condition of the client's asks for a retry.
func (s *settings) asksFor(resp *resty.Response, err error) bool {
	return slices.ContainsFunc(s.conditions, func(f resty.RetryConditionFunc) bool { return f(resp, err) })
}

// takeOver puts our callbacks on the client. They are functions of the package
// that find the plugin in the client they are called with, in its RetryAfter.
// So they are the same for a clone, whose lists share memory with the
// original's, and a second Install has only that one field to change.
func (p *Plugin) takeOver(c *resty.Client) {
	registered := isRegistered(c)
	c.RetryCount = retryCount
	c.RetryWaitTime = 0
	c.RetryMaxWaitTime = math.MaxInt64
	c.RetryResetReaders = false
	c.RetryAfter = p.retryAfter
	c.RetryConditions = []resty.RetryConditionFunc{condition}
	c.RetryHooks = []resty.OnRetryFunc{retryHook}
	if !hasOurHook(c) {
		c.SetPreRequestHook(preRequest)
	}
	if !registered {
		c.OnBeforeRequest(beforeRequest)
		c.OnAfterResponse(afterResponse)
		c.OnSuccess(succeeded)
		c.OnError(failed)
		c.OnPanic(panicked)
	}
}

// pluginOf returns the plugin of a client, or nil.
func pluginOf(c *resty.Client) *Plugin {
	if restyfields.Code(c.RetryAfter) != retryAfterCode {
		return nil
	}
	_, err := c.RetryAfter(c, nil)
	if o, ok := err.(*owner); ok {
		return (*Plugin)(o)
	}
	return nil
}

// An owner is what a plugin's RetryAfter says to pluginOf.
type owner Plugin

func (*owner) Error() string { return "restyretry: no response" }

// touched says which setting of the client was changed after Install, and what to
// set instead.
func touched(c *resty.Client) string {
	switch {
	case c.RetryCount != retryCount:
		return changed("RetryCount", "Attempts")
	case c.RetryWaitTime != 0:
		return changed("RetryWaitTime", "Wait")
	case c.RetryMaxWaitTime != math.MaxInt64:
		return changed("RetryMaxWaitTime", "Wait")
	case c.RetryResetReaders:
		return "RetryResetReaders was changed after Install; leave it out, since bodies are sent again without it"
	case len(c.RetryConditions) == 0 || restyfields.Code(c.RetryConditions[0]) != conditionCode:
		return changed("RetryConditions", "RetryIf")
	case len(c.RetryHooks) == 0 || restyfields.Code(c.RetryHooks[0]) != retryHookCode:
		return changed("RetryHooks", "Hooks")
	default:
		return ""
	}
}

func changed(setting, option string) string {
	return fmt.Sprintf("%s was changed after Install; set %s in the options instead", setting, option)
}
