package restyretry

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry/internal/restyfields"
)

// What Resty calls, in this order: beforeRequest, preRequest and afterResponse
// for every attempt; condition after it; retryHook and retryAfter before a
// retry; and one of succeeded, failed and panicked at the end. Each finds the
// call of the request, or begins it, and hands over.

// beforeRequest is Resty's OnBeforeRequest: once per attempt, and for
// GenerateCurlCommand, which is attempt 0.
func beforeRequest(client *resty.Client, r *resty.Request) error {
	if r.Attempt == 0 {
		showBody(client, r)
		return nil
	}
	hideShown(r)
	last := lastCall(r)
	if last != nil && !last.over.Load() {
		return last.resume()
	}
	return begin(client, r, last)
}

// preRequest is Resty's pre-request hook: once per attempt, with the raw
// request.
func preRequest(client *resty.Client, hr *http.Request) error {
	c := callIn(hr.Context())
	switch {
	case c == nil || c.over.Load() || c.request.RawRequest != hr:
		hideMade(hr)
		return withoutCall(client)
	case c.current.stage == preparing: // GenerateCurlCommand in OnAttempt
		hideMade(hr)
		return nil
	default:
		return c.build(hr)
	}
}

// withoutCall says why a raw request has come without a call, and so without
// limits. GenerateCurlCommand makes one too, and takes no notice of errors.
func withoutCall(client *resty.Client) error {
	switch {
	case isLastMiddleware(client):
		return nil
	case isRegistered(client):
		return errors.New("restyretry: a middleware has replaced the context of the request: derive the new one from r.Context()")
	default:
		return errors.New("restyretry: a clone of this client has taken the plugin's place in the list of middlewares, which they share: install on the clone")
	}
}

// afterResponse is Resty's OnAfterResponse: once per attempt whose response
// Resty has read.
func afterResponse(client *resty.Client, resp *resty.Response) error {
	if c := callOf(resp.Request); c != nil {
		c.takeBackOutput(resp, true)
		c.current.read = true
	} else if p := pluginOf(client); p != nil && !hasOurHook(client) {
		p.current.Load().warnOfHook() // ours would have refused the replaced context
	}
	return nil
}

// condition is Resty's retry condition: once per attempt, unless a condition of
// the request's own has already asked for a retry. What could not be sent will not
// be better next time, unless it was only held back.
func condition(resp *resty.Response, err error) bool {
	if resp == nil {
		var held *heldError
		return errors.As(err, &held) && held.call.awaitFirst()
	}
	c := callOf(resp.Request)
	if c == nil {
		return false
	}
	c.report(resp, err, false)
	return c.current.retrying || c.current.final != nil
}

// retryHook is Resty's retry hook. It comes after all conditions and has the
// error, which RetryAfter has not; so it is here that a condition outside this
// package is noticed.
func retryHook(resp *resty.Response, err error) {
	if resp == nil {
		return
	}
	c := callOf(resp.Request)
	switch {
	case c == nil:
	case c.current.stage != reported:
		c.report(resp, unmarked(err), true)
	case c.current.wanted: // by us
	case c.current.final == nil, c.asksLater(): // not by us, or not only for an error to return
		c.follow(c.decide(true))
	}
}

// unmarked returns an error as conditions get it. Hooks get the one that Resty has
// wrapped if it came after the response, and only Resty's Backoff can unwrap it.
func unmarked(marked error) (err error) {
	_ = resty.Backoff(func() (*resty.Response, error) { return nil, marked }, resty.Retries(0),
		resty.RetryConditions([]resty.RetryConditionFunc{
			func(_ *resty.Response, given error) bool { err = given; return false },
		}))
	return err
}

// asksLater reports whether a condition asks for a retry that was added after
// Install. Resty has asked none of them if ours has made it come here.
func (c *call) asksLater() bool {
	later := without(c.client.RetryConditions, conditionCode)
	return slices.ContainsFunc(later, func(f resty.RetryConditionFunc) bool {
		return f(c.current.response, c.current.err)
	})
}

// retryAfter is the client's RetryAfter: once per retry, before the wait. By
// then all is decided, and the wait is ours.
func (p *Plugin) retryAfter(_ *resty.Client, resp *resty.Response) (time.Duration, error) {
	if resp == nil { // pluginOf asks
		return 0, (*owner)(p)
	}
	c := callOf(resp.Request)
	if c == nil {
		return 0, errors.New("restyretry: a retry of a request that the plugin has not seen")
	}
	if c.current.retrying {
		c.advance()
	}
	if c.current.stage == ready {
		return 1, nil
	}
	return c.stop()
}

// succeeded is Resty's OnSuccess.
func succeeded(_ *resty.Client, resp *resty.Response) {
	if resp == nil {
		return
	}
	if c := callOf(resp.Request); c != nil {
		c.finish(resp, nil, false)
	}
}

// failed is Resty's OnError.
func failed(r *resty.Request, err error) {
	var resp *resty.Response
	if answered, ok := err.(*resty.ResponseError); ok {
		resp, err = answered.Response, answered.Err
	}
	if c := callOf(r); c != nil {
		c.finish(resp, err, false)
	}
}

// panicked is Resty's OnPanic.
func panicked(r *resty.Request, err error) {
	if c := callOf(r); c != nil {
		c.finish(nil, err, true)
	}
}

// The codes of the callbacks, by which they are known again on a client. They
// are set by init, since the callbacks themselves ask for them.
var beforeRequestCode, preRequestCode, conditionCode, retryHookCode, retryAfterCode uintptr

func init() {
	beforeRequestCode = restyfields.Code(beforeRequest)
	preRequestCode = restyfields.Code(preRequest)
	conditionCode = restyfields.Code(condition)
	retryHookCode = restyfields.Code(retryHook)
	retryAfterCode = restyfields.Code((*Plugin)(nil).retryAfter)
}

// isRegistered reports whether our callbacks are on the client.
func isRegistered(c *resty.Client) bool { return restyfields.HasMiddleware(c, beforeRequestCode) }

// isLastMiddleware reports whether no OnBeforeRequest comes after ours.
func isLastMiddleware(c *resty.Client) bool {
	return restyfields.LastMiddleware(c) == beforeRequestCode
}

// hasOurHook reports whether the client's pre-request hook is ours.
func hasOurHook(c *resty.Client) bool { return restyfields.PreRequestHook(c) == preRequestCode }

// hasLaterConditions reports whether a condition that was not there at Install may ask
// for a retry: one of the request's own, or one that was added to the client since.
func (c *call) hasLaterConditions() bool {
	return len(c.client.RetryConditions) > 1 || restyfields.HasConditions(c.request)
}

// inspect returns an error if the plugin cannot live with what was changed on
// the client since Install.
func (p *Plugin) inspect(client *resty.Client, policy *policy) error {
	if changed := touched(client); changed != "" {
		return errors.New("restyretry: the client's " + changed)
	}
	if policy.needsHook() && !hasOurHook(client) {
		return errHookReplaced
	}
	return nil
}

// warnOfHook says once that another pre-request hook has replaced ours, which did
// not see an attempt.
func (p *policy) warnOfHook() {
	if !p.plugin.reported.CompareAndSwap(false, true) {
		return
	}
	logger := p.Logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.Warn("restyretry: another pre-request hook has replaced the plugin's: " + chainHook)
}

const chainHook = "pass it as PreRequest in the options instead of SetPreRequestHook"

var errHookReplaced = errors.New("restyretry: another pre-request hook has replaced the plugin's, which this request needs: " + chainHook)
