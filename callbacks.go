package restyretry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-resty/resty/v2"
)

// What Resty calls, in this order: beforeRequest, preRequest and afterResponse
// for every attempt; condition after it; retryHook and retryAfter before a
// retry; and one of succeeded, failed and panicked at the end. Each finds the
// execution of the request, or the plugin in the client, and hands over.

// beforeRequest is Resty's OnBeforeRequest: once per attempt, and for
// GenerateCurlCommand, which is attempt 0.
func beforeRequest(c *resty.Client, r *resty.Request) error {
	if r.Attempt == 0 {
		showBody(c, r)
		return nil
	}
	hideShown(r)
	background := isBackground(r.Context())
	var before *execution // that lastExecution finds; mostly it need not be asked
	if r.RawRequest != nil || !background || underWay(r.Method) != nil {
		if before = lastExecution(r); before != nil && before.phase() != done {
			return before.resume(c)
		}
	}
	p := pluginOf(c)
	if p == nil {
		return errors.New("restyretry: the client's RetryAfter was changed after Install; set Wait in the options instead")
	}
	policy := p.current.Load()
	if !background {
		var err error
		if policy, err = policy.within(r.Context()); err != nil {
			return err
		}
	}
	untouched := isUntouched(c)
	if !untouched {
		if err := p.inspect(c, policy); err != nil {
			return err
		}
	}
	switch {
	case !untouched || before != nil || !policy.isLight(c, r):
		return policy.newExecution(r, whole).begin(c, before)
	case rewritesURL(c, r):
		return policy.newExecution(r, max(policy.shape, guided)).beginLight(c)
	case policy.stateful || !background:
		return policy.newExecution(r, policy.shape).beginLight(c)
	default:
		return nil
	}
}

// inspect returns an error if the plugin cannot live with what was changed on
// the client since Install, and warns of another pre-request hook.
func (p *Plugin) inspect(c *resty.Client, policy *policy) error {
	if changed := touched(c); changed != "" {
		return fmt.Errorf("restyretry: the client's %s in the options instead", changed)
	}
	if hookOf(c) != ourHook {
		return p.withoutHook(policy)
	}
	return nil
}

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
	if isBackground(hr.Context()) && underWay(hr.Method) == nil {
		return preRequestPlain(c, hr)
	}
	e := arriving(hr)
	direct := e != nil
	if e == nil {
		e = executionIn(hr.Context())
		direct = hr.Context() == context.Context(e)
	}
	if e == nil || e.phase() == done || e.request.RawRequest != hr {
		return preRequestPlain(c, hr)
	}
	if e.is(inOnAttempt) {
		return nil
	}
	e.bind(hr, direct)
	if e.known() == nil {
		forgetNoBody(e.request)
		forgetEmpty(hr)
	} else {
		if err := e.putBody(c, hr); err != nil {
			return err
		}
		if e.body == nil {
			e.body = madeByResty(hr, e.request)
		}
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
	e.set(handed, true)
	return nil
}

// preRequestPlain marks the first attempt of a request without state. It
// notices where there should be state, and refuses to go on without limits.
func preRequestPlain(c *resty.Client, hr *http.Request) error {
	switch {
	case isLastMiddleware(c):
	case isRegistered(c):
		return errors.New("restyretry: a middleware has replaced the context of the request: derive the new one from r.Context()")
	default:
		return errors.New("restyretry: a clone of this client has taken the plugin's place in the list of middlewares, which they share: install on the clone")
	}
	forgetEmpty(hr)
	if p := pluginOf(c); p != nil {
		setContext(hr, p.current.Load().lastPlain.plainIn(hr.Context()))
	}
	return nil
}

// afterResponse is Resty's OnAfterResponse: once per attempt whose response
// Resty has read.
func afterResponse(_ *resty.Client, resp *resty.Response) error {
	if a, plain := resp.Request.RawRequest.Context().(*plainAttempt); plain { // and no execution has begun yet
		if resp.Size() == 0 && !isBodyless(resp) { // which says nothing of whether it was read
			a.policy.lateExecution(resp.Request).set(parsed, true)
		}
		return nil
	}
	takeBackOutput(resp)
	e := executionOf(resp.Request)
	if e == nil {
		return nil
	}
	e.set(parsed, true)
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
	e, policy := stateOf(resp.Request)
	if e == nil {
		if policy == nil || err == nil && policy.asksNothing(resp) {
			return false
		}
		e = policy.lateExecution(resp.Request)
	}
	e.judge(resp, err, false)
	return e.is(retrying | raising)
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
	case !e.is(judged):
		e.judge(resp, err, true)
	case !e.is(wanted|raising) && e.Context.Err() == nil:
		e.settle(e.unrecord(), ReasonCondition)
	}
}

// retryAfter is what Resty's RetryAfter does (see asRetryAfter): once per retry,
// before the wait. By then all is decided, and the wait is ours.
func retryAfter(c *resty.Client, resp *resty.Response) (time.Duration, error) {
	e := executionOf(resp.Request)
	if e == nil {
		return 0, errors.New("restyretry: a retry of a request that the plugin has not seen")
	}
	waiting := resp.Request.Context()
	if e.is(retrying) {
		err := e.advance(c, resp)
		if err == nil {
			return 1, nil
		}
		e.raise(joined(e.lastError(), err))
	}
	return e.stop(waiting)
}

// succeeded is Resty's OnSuccess.
func succeeded(_ *resty.Client, resp *resty.Response) {
	if resp == nil {
		return
	}
	r := resp.Request
	if e, policy := stateOf(r); e != nil {
		e.finish(resp, nil, false)
	} else if policy != nil {
		policy.plugin.stats.firsts.Add(1)
		policy.Budget.request(resp.ReceivedAt())
		forgetNoBody(r)
		if r.RawRequest.Context() != context.Context(&policy.plain) { // Resty's, for the trace
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
		if policy := plainPolicy(r); policy != nil {
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
