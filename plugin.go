// Package restyretry gives Resty v2 clients the retries they should have had.
//
// [Install] attaches a policy to a client that already exists; [With] changes
// it for the requests of one context. See [Options] for what can be said, and
// the README for what it replaces in aiohttp_retry and in Resty itself.
package restyretry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
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
	made, err := p.policy(p.kept.defaults(), opts)
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
// begun keep what they have. It changes nothing if it returns an error.
func (p *Plugin) Update(opts ...func(*Options)) error {
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

// inherited is what a client had before Install.
type inherited struct {
	client     *resty.Client
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
		kept.client = c
		kept.conditions = append(slices.Clip(kept.conditions), withoutOurs(c.RetryConditions, condition)...)
		kept.hooks = append(slices.Clip(kept.hooks), withoutOurs(c.RetryHooks, retryHook)...)
		return kept
	}
	kept := inherited{
		client: c, count: c.RetryCount, minWait: c.RetryWaitTime, maxWait: c.RetryMaxWaitTime,
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
	return slices.DeleteFunc(slices.Clone(list), func(f F) bool { return codeOf(f) == codeOf(ours) })
}

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
	c.RetryAfter = p.retryAfter
	c.RetryConditions = []resty.RetryConditionFunc{condition}
	c.RetryHooks = []resty.OnRetryFunc{retryHook}
	if hookOf(c) != ourHook {
		c.SetPreRequestHook(preRequest)
	}
	if registered {
		return
	}
	c.OnBeforeRequest(beforeRequest)
	c.OnAfterResponse(afterResponse)
	c.OnSuccess(succeeded)
	c.OnError(failed)
	c.OnPanic(panicked)
}

// pluginOf returns the plugin of a client, or nil.
func pluginOf(c *resty.Client) *Plugin {
	if c.RetryAfter == nil || codeOf(c.RetryAfter) != retryAfterCode {
		return nil
	}
	_, err := c.RetryAfter(c, nil)
	if o, ok := err.(*owner); ok {
		return (*Plugin)(o)
	}
	return nil
}

// An owner is what a plugin's retryAfter says to pluginOf.
type owner Plugin

func (*owner) Error() string { return "restyretry: no response" }

// retryAfterCode is the code of every plugin's retryAfter.
var retryAfterCode = codeOf((*Plugin)(nil).retryAfter)

// intact returns an error that names the setting of the client that was
// changed after Install.
func intact(c *resty.Client) error {
	changed := ""
	switch {
	case c.RetryCount != maxAttempts:
		changed = "RetryCount was changed after Install; set Attempts"
	case c.RetryWaitTime != 0:
		changed = "RetryWaitTime was changed after Install; set Wait"
	case c.RetryMaxWaitTime != math.MaxInt64:
		changed = "RetryMaxWaitTime was changed after Install; set Wait"
	case c.RetryResetReaders:
		changed = "RetryResetReaders was changed after Install; there is nothing to set"
	case len(c.RetryConditions) == 0 || codeOf(c.RetryConditions[0]) != codeOf(condition):
		changed = "RetryConditions was changed after Install; set RetryIf"
	case len(c.RetryHooks) == 0 || codeOf(c.RetryHooks[0]) != codeOf(retryHook):
		changed = "RetryHooks was changed after Install; set Hooks"
	default:
		return nil
	}
	return fmt.Errorf("restyretry: the client's %s in the options instead", changed)
}

// beforeRequest is Resty's OnBeforeRequest: once per attempt, and for
// GenerateCurlCommand, which is attempt 0.
func beforeRequest(c *resty.Client, r *resty.Request) error {
	if r.Attempt == 0 {
		return nil
	}
	before := lastExecution(r)
	if before != nil && !before.done {
		return before.resume(c)
	}
	p := pluginOf(c)
	if p == nil {
		return errors.New("restyretry: the client's RetryAfter was changed after Install; set Wait in the options instead")
	}
	if err := intact(c); err != nil {
		return err
	}
	policy, err := p.resolve(r.Context())
	if err != nil {
		return err
	}
	hooked := hookOf(c) == ourHook
	if !hooked {
		if err := p.withoutHook(policy); err != nil {
			return err
		}
	}
	if hooked && before == nil && p.isPlain(c, r, policy) {
		return nil
	}
	return policy.newExecution(r).begin(c, before)
}

// isPlain reports whether nothing about a request has to be remembered from
// the first attempt on.
func (p *Plugin) isPlain(c *resty.Client, r *resty.Request, policy *policy) bool {
	return r.Context() == context.Background() && !policy.needsState() && !p.kept.needsState() &&
		len(r.QueryParam)+len(c.QueryParam) == 0 && !hasForeignConditions(c, r) &&
		isLastMiddleware(c) && r.Error == nil && !holds(c, r) && policy.repeats(r.Method)
}

func (i *inherited) needsState() bool { return len(i.conditions) > 0 || i.retryAfter != nil }

// withoutHook notices that another pre-request hook has replaced ours.
func (p *Plugin) withoutHook(policy *policy) error {
	if policy.needsHook() {
		return errHookReplaced
	}
	if p.reported.CompareAndSwap(false, true) {
		logger := policy.Logger
		if logger == nil {
			logger = slog.Default()
		}
		logger.Warn("restyretry: another pre-request hook has replaced the plugin's: " + chainHook)
	}
	return nil
}

const chainHook = "pass it as PreRequest in the options instead of SetPreRequestHook"

var errHookReplaced = errors.New("restyretry: another pre-request hook has replaced the plugin's, which this request needs: " + chainHook)

// preRequest is Resty's pre-request hook: once per attempt, with the raw
// request.
func preRequest(c *resty.Client, hr *http.Request) error {
	e, _ := hr.Context().Value(executionKey{}).(*execution)
	if e == nil || e.done || e.request.RawRequest != hr {
		return preRequestPlain(c, hr)
	}
	e.bind(hr)
	if err := e.putBody(c, hr); err != nil {
		return err
	}
	e.putHeaders(hr)
	if e.policy.PreRequest != nil {
		if err := e.policy.PreRequest(c, hr); err != nil {
			return err
		}
	}
	if err := e.guardRaw(c, hr); err != nil {
		return err
	}
	e.handed = true
	return nil
}

// preRequestPlain marks the first attempt of a request without state. It
// notices where there should be state, and refuses to go on without limits.
func preRequestPlain(c *resty.Client, hr *http.Request) error {
	if !isRegistered(c) {
		return errors.New("restyretry: a clone of this client has taken the plugin's place in the list of middlewares, which they share: install on the clone")
	}
	if !isLastMiddleware(c) {
		return errors.New("restyretry: a middleware has replaced the context of the request: derive the new one from r.Context()")
	}
	if p := pluginOf(c); p != nil {
		*hr = *hr.WithContext(p.current.Load().firstIn(hr.Context()))
	}
	return nil
}

// afterResponse is Resty's OnAfterResponse: once per attempt whose response
// Resty has read.
func afterResponse(c *resty.Client, resp *resty.Response) error {
	takeBackOutput(c, resp)
	e := executionOf(resp.Request)
	if e == nil {
		return nil
	}
	e.parsed = true
	if e.Context.Err() != nil { // Resty will not ask condition any more
		return e.statusError(e.attempt(resp, nil))
	}
	return nil
}

// condition is Resty's retry condition: once per attempt, unless a condition of
// the request's own has already asked for a retry, or the context has ended.
func condition(resp *resty.Response, err error) bool {
	if resp == nil {
		return false // nothing was sent, and nothing will be better next time
	}
	e := executionOf(resp.Request)
	if e == nil {
		policy := policyOf(resp.Request)
		if policy == nil || err == nil && resp.StatusCode() < http.StatusBadRequest && !policy.retriesStatus(resp.StatusCode()) {
			return false
		}
		e = policy.lateExecution(resp.Request)
	}
	e.judge(resp, err, false)
	return e.retrying || e.raising
}

// retryHook is Resty's retry hook. It comes after all conditions and has the
// error, which RetryAfter has not; so it is here that a condition outside this
// package is noticed.
func retryHook(resp *resty.Response, err error) {
	if resp == nil {
		return
	}
	e := executionOf(resp.Request)
	switch {
	case e == nil:
	case !e.judged():
		e.judge(resp, err, true)
	case !e.wanted && !e.raising && e.Context.Err() == nil:
		a := *e.last()
		e.past = e.past[:len(e.past)-1]
		e.settle(a, ReasonCondition)
	}
}

// retryAfter is Resty's RetryAfter: once per retry, before the wait. By then
// all is decided, and the wait is ours.
func (p *Plugin) retryAfter(c *resty.Client, resp *resty.Response) (time.Duration, error) {
	if resp == nil {
		return 0, (*owner)(p)
	}
	e := executionOf(resp.Request)
	if e == nil {
		return 0, errors.New("restyretry: a retry of a request that the plugin has not seen")
	}
	if e.retrying {
		err := e.advance(c, resp)
		if err == nil {
			return 1, nil
		}
		e.final = joined(e.err, err)
	}
	return e.stop()
}

// succeeded is Resty's OnSuccess.
func succeeded(_ *resty.Client, resp *resty.Response) {
	if resp == nil {
		return
	}
	if e := executionOf(resp.Request); e != nil {
		e.finish(resp, nil, false)
	} else if policy := policyOf(resp.Request); policy != nil {
		policy.plugin.stats.addFirst()
		policy.Budget.request(resp.Request.Time)
		forgetNoBody(resp.Request)
		if r := resp.Request; r.Context() != context.Background() { // Resty's, for the trace
			r.SetContext(context.Background())
		}
	}
}

// failed is Resty's OnError.
func failed(r *resty.Request, err error) {
	var resp *resty.Response
	if answered, ok := err.(*resty.ResponseError); ok {
		resp, err = answered.Response, answered.Err
	}
	e := executionOf(r)
	if e == nil && resp != nil {
		if policy := policyOf(r); policy != nil {
			e = policy.lateExecution(r)
		}
	}
	if e != nil {
		e.finish(resp, err, false)
	}
}

// panicked is Resty's OnPanic.
func panicked(r *resty.Request, err error) {
	if e := executionOf(r); e != nil {
		e.finish(nil, err, true)
	}
}

// Stats are counts since Install.
type Stats struct {
	Requests  uint64            // requests that ended; those that were never begun do not count
	Attempts  uint64            // how often they were sent
	Retries   uint64            // attempts after the first
	Recovered uint64            // requests that succeeded after a retry
	GivenUp   map[Reason]uint64 // requests that did not succeed, by the reason of the last attempt
	Waited    time.Duration     // time between the attempts, waits that were cancelled included in full
}

// Stats returns the counts so far. A request may be counted in one figure and
// not yet in the next.
func (p *Plugin) Stats() Stats {
	c := &p.stats
	s := Stats{
		Requests: c.requests.Load(), Attempts: c.attempts.Load(),
		Retries: c.retries.Load(), Recovered: c.recovered.Load(),
		GivenUp: make(map[Reason]uint64), Waited: time.Duration(c.waited.Load()),
	}
	for i, reason := range reasons {
		if n := c.ended[i].Load(); n > 0 && reason != ReasonSucceeded {
			s.GivenUp[reason] = n
		}
	}
	return s
}

type counters struct {
	requests, attempts, retries, recovered atomic.Uint64

	waited atomic.Int64
	ended  [len(reasons)]atomic.Uint64
}

// addFirst counts a request that succeeded at once.
func (c *counters) addFirst() {
	c.requests.Add(1)
	c.attempts.Add(1)
}

func (c *counters) add(past []Attempt) {
	last, sent := past[len(past)-1], uint64(len(past))
	if !last.sent {
		sent--
	}
	c.requests.Add(1)
	c.attempts.Add(sent)
	if sent > 1 {
		c.retries.Add(sent - 1)
	}
	if last.Reason == ReasonSucceeded && last.Number > 1 {
		c.recovered.Add(1)
	}
	c.ended[slices.Index(reasons[:], last.Reason)].Add(1)
}
