package restyretry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-resty/resty/v2"
)

// An execution is the state of one request from its first attempt to its end.
// It is the context of the Resty request for that time, and belongs to that
// request alone: a request made with the same context begins its own.
//
// A request that asks for nothing special and has no context of its own gets
// an execution only when its first attempt fails.
type execution struct {
	context.Context // the caller's

	policy  *policy
	request *resty.Request
	given   string    // the URL as it was given
	sent    string    // the URL that Resty made of it for the last attempt
	initial *snapshot // the request before the first OnAttempt, if there is one
	turn    uint64    // of a Rotate

	number   int    // the attempt under way, or the one to come
	begun    int    // Resty's count of the attempt under way
	next     string // the URL of the next attempt, where it is not Resty's choice
	ready    bool   // the next attempt may be sent
	secure   bool   // a URL of this request was https
	bound    *attemptContext
	parsed   bool // Resty has read the response of this attempt
	refusal  error
	done     bool
	past     []Attempt
	err      error // of the last attempt, as Resty has it
	wanted   bool  // the last attempt asked for another
	retrying bool  // and will get it
	raising  bool  // Resty is to return final, which is not err

	// Once stopped is set, Resty's loop ends with the error final. See stop.
	stopped atomic.Bool
	final   error
}

type (
	executionKey struct{}
	attemptKey   struct{}
)

// An attemptContext is the context of one attempt's raw request.
type attemptContext struct {
	context.Context
	policy    *policy
	execution *execution // nil for a first attempt without state
	number    int
	timeout   *timeout
}

func (a *attemptContext) Value(key any) any {
	switch key {
	case attemptKey{}:
		return a
	case executionKey{}:
		if a.execution != nil {
			return a.execution
		}
	}
	return a.Context.Value(key)
}

func (e *execution) Value(key any) any {
	switch key {
	case executionKey{}:
		return e
	case attemptKey{}:
		if !e.done {
			return e
		}
	}
	return e.Context.Value(key)
}

func (e *execution) Done() <-chan struct{} {
	if e.stopped.Load() {
		return closed
	}
	return e.Context.Done()
}

func (e *execution) Err() error {
	if e.stopped.Load() {
		return e.final
	}
	return e.Context.Err()
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// executionOf returns the execution that r is in, or nil.
func executionOf(r *resty.Request) *execution {
	if e := lastExecution(r); e != nil && !e.done {
		return e
	}
	return nil
}

// lastExecution returns the execution that r is in or was in last, or nil. The
// raw request still knows when a middleware has replaced the context.
func lastExecution(r *resty.Request) *execution {
	if e, ok := r.Context().Value(executionKey{}).(*execution); ok && e.request == r {
		return e
	}
	if r.RawRequest == nil {
		return nil
	}
	if e, ok := r.RawRequest.Context().Value(executionKey{}).(*execution); ok && e.request == r {
		return e
	}
	return nil
}

// policyOf returns the policy of a request that has no execution, or nil where
// the plugin has not seen it sent.
func policyOf(r *resty.Request) *policy {
	if r.RawRequest == nil {
		return nil
	}
	if a, ok := r.RawRequest.Context().Value(attemptKey{}).(*attemptContext); ok {
		return a.policy
	}
	return nil
}

func (p *policy) newExecution(r *resty.Request) *execution {
	e := &execution{Context: r.Context(), policy: p, request: r, number: 1, begun: r.Attempt, given: r.URL}
	r.SetContext(e)
	return e
}

// begin prepares the first attempt.
func (e *execution) begin(c *resty.Client, before *execution) error {
	r := e.request
	if before != nil && r.URL == before.sent {
		// Send on a request that was used before: Resty left in r.URL what it
		// made of it, and would add the query parameters once more.
		r.URL = before.given
	}
	e.given = r.URL
	e.secure = schemeOf(c, r.URL) == "https"
	if rotation, ok := e.policy.URL.(*rotation); ok {
		e.turn = rotation.turn()
	}
	if slices.ContainsFunc(e.policy.Hooks, func(h Hooks) bool { return h.OnAttempt != nil }) {
		e.initial = takeSnapshot(r)
	}
	if err := cmp.Or(e.guardList(c), e.direct(c)); err != nil {
		e.refusal = err
		return err
	}
	return nil
}

// resume lets Resty go on with the attempt that advance has prepared.
func (e *execution) resume() error {
	r := e.request
	if e.begun == r.Attempt { // called twice for one attempt
		return nil
	}
	e.begun = r.Attempt
	if !e.ready {
		// A condition outside this package repeats a request that could not be
		// sent. Resty neither waits nor looks at the context in that case.
		return cmp.Or(e.refusal, errors.New("restyretry: not repeated, the attempt before could not be sent"))
	}
	e.ready = false
	if e.next != "" {
		r.URL = e.next
	}
	r.SetContext(e)
	return nil
}

// bind gives the raw request of an attempt its context and its time limit.
func (e *execution) bind(hr *http.Request) {
	parent := hr.Context()
	if parent == context.Context(e) {
		parent = e.Context
	}
	a := &attemptContext{Context: parent, policy: e.policy, execution: e, number: e.number}
	if limit := e.policy.AttemptTimeout; limit > 0 {
		a.timeout = newTimeout(parent, limit)
		a.Context = a.timeout
	}
	e.bound = a
	*hr = *hr.WithContext(a)
}

// upcoming is the attempt that is about to be sent.
func (e *execution) upcoming() Attempt {
	r := e.request
	return Attempt{
		Number: e.number, Max: e.policy.Attempts, Method: r.Method, URL: redactText(r.URL), Request: r,
		Start: time.Now(), rand: e.policy.Rand, turn: e.turn,
	}
}

// attempt is the attempt that has just ended.
func (e *execution) attempt(resp *resty.Response, err error) Attempt {
	a := e.upcoming()
	a.Response, a.Err = resp, redactError(err)
	if resp == nil {
		return a // never sent
	}
	raw := e.request.RawRequest
	a.Method, a.URL = raw.Method, redactURL(raw.URL)
	a.Start, a.Took = e.request.Time, time.Since(e.request.Time)
	return a
}

// judge decides what follows an attempt, and records it. A condition outside
// this package may have asked for a retry already.
func (e *execution) judge(resp *resty.Response, err error, asked bool) {
	e.bound.release(e.streams(resp, err))
	e.sent = e.request.URL
	a := e.attempt(resp, err)
	e.err = err
	cause := e.policy.cause(a, err)
	if cause == "" && asked {
		cause = ReasonCondition
	}
	e.settle(a, cause)
}

// settle decides whether a cause leads to a retry.
func (e *execution) settle(a Attempt, cause Reason) {
	e.wanted, e.retrying, e.raising, e.final = cause != "", false, false, e.err
	switch {
	case e.Context.Err() != nil:
		a.Reason = e.endedBy()
	case e.wanted:
		a.Reason = e.limit(&a)
		e.retrying = a.Reason == ""
		a.Reason = cmp.Or(a.Reason, cause)
	case a.Err == nil && a.StatusCode() < http.StatusBadRequest:
		a.Reason = ReasonSucceeded
	default:
		a.Reason = ReasonNotRetryable
	}
	if !e.retrying {
		a.Wait = 0
		if err := e.statusError(a); err != nil && !e.raising {
			e.raise(err)
		}
	}
	e.past = append(e.past, a)
}

// raise makes err the error of the request.
func (e *execution) raise(err error) { e.final, e.raising = err, true }

// joined adds why a request cannot go on to the error it failed with, if any.
func joined(err, why error) error {
	if err == nil {
		return why
	}
	return fmt.Errorf("%w (%w)", err, why)
}

// judged reports whether the attempt under way has been recorded.
func (e *execution) judged() bool { return len(e.past) == e.number }

func (e *execution) last() *Attempt { return &e.past[len(e.past)-1] }

// endedBy says how the caller's context ended.
func (e *execution) endedBy() Reason {
	if errors.Is(e.Context.Err(), context.DeadlineExceeded) {
		return ReasonDeadline
	}
	return ReasonCancelled
}

// advance goes from a failed attempt to the next: it lets go of the response,
// waits, and prepares the request. Its error is why the next attempt cannot
// be sent.
func (e *execution) advance(c *resty.Client, resp *resty.Response) error {
	discard(resp)
	a := *e.last()
	e.onRetry(a)
	e.policy.plugin.stats.waited.Add(int64(a.Wait))
	// Resty waits the last nanosecond: it takes no 0 for an answer.
	if err := sleep(e.Context, a.Wait-1); err != nil {
		e.retrying = false
		e.last().Reason = e.endedBy()
		return fmt.Errorf("restyretry: while waiting for attempt %d: %w", e.number+1, err)
	}
	e.number++
	e.retrying, e.parsed, e.bound = false, false, nil
	e.initial.restore(e.request)
	e.request.URL = e.given
	if err := e.direct(c); err != nil {
		e.number--
		e.last().Reason = ReasonStopped
		return err
	}
	e.next, e.ready = "", true
	if e.request.URL != e.given {
		e.next = e.request.URL
	}
	return nil
}

// stop makes Resty end its loop now, with the last response and e.final. An
// error returned to Resty instead would be dropped where the attempt itself
// had one, and could not be nil. So the request's context ends, and Resty,
// which is about to wait, returns the context's error.
func (e *execution) stop() (time.Duration, error) {
	e.stopped.Store(true)
	select {
	case <-e.request.Context().Done():
		return time.Hour, nil // does not begin
	default: // a middleware has put a context of its own before ours
		return 0, cmp.Or(e.final, errors.New("restyretry: a condition outside the plugin asked for a retry that is not allowed"))
	}
}

// finish ends the execution: it puts the request back as it was and tells
// everyone. It does nothing the second time.
func (e *execution) finish(resp *resty.Response, err error, panicked bool) {
	if e.done {
		return
	}
	e.conclude(resp, err, panicked)
	e.done = true
	e.stopped.Store(false)
	e.bound.release(e.streams(resp, err))
	e.putBack()
	a := *e.last()
	e.policy.plugin.stats.add(e.past)
	e.onDone(a)
}

// conclude makes sure that the last attempt is recorded with the reason why it
// was the last.
func (e *execution) conclude(resp *resty.Response, err error, panicked bool) {
	if !e.judged() {
		a := e.attempt(resp, err)
		switch {
		case resp == nil && e.refusal != nil:
			a.Reason = ReasonStopped
		case resp == nil:
			a.Reason = ReasonNotSent
		case e.Context.Err() != nil:
			a.Reason = e.endedBy()
		default: // a context that a middleware put before ours
			a.Reason = ReasonCancelled
		}
		e.past = append(e.past, a)
	}
	last := e.last()
	switch {
	case panicked:
		last.Reason = ReasonPanic
	case e.retrying && last.Number == e.number: // Resty's wait was cancelled
		last.Reason = ReasonCancelled
	}
}

// putBack leaves the request as the caller made it, but for its URL, which
// tells where the last attempt went.
func (e *execution) putBack() {
	r := e.request
	e.sent = r.URL
	e.initial.restore(r)
	r.SetContext(e.Context)
	if r.RawRequest == nil {
		return
	}
	if known, _ := r.RawRequest.Context().Value(executionKey{}).(*execution); known != e {
		// For History. The transport may still be reading the request itself.
		r.RawRequest = r.RawRequest.WithContext(
			&attemptContext{Context: r.RawRequest.Context(), policy: e.policy, execution: e, number: e.number})
	}
}

// streams reports whether the caller will read the body of this response from
// the connection: Resty has neither read it nor failed to.
func (e *execution) streams(resp *resty.Response, err error) *http.Response {
	if resp == nil || err != nil || e.parsed {
		return nil
	}
	return resp.RawResponse
}

// sleep waits until d has passed or the context has ended.
func sleep(ctx context.Context, d time.Duration) error {
	if ctx.Done() == nil {
		time.Sleep(d)
		return nil
	}
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// A snapshot is what OnAttempt may change of a request.
type snapshot struct {
	method, token, authScheme string
	userInfo                  *resty.User
	cookies                   []*http.Cookie
	body                      any
	header                    http.Header
	query, form               url.Values
	path, rawPath             map[string]string
}

func takeSnapshot(r *resty.Request) *snapshot {
	return &snapshot{
		method: r.Method, token: r.Token, authScheme: r.AuthScheme, userInfo: r.UserInfo,
		cookies: slices.Clone(r.Cookies), body: r.Body, header: r.Header.Clone(),
		query: cloneValues(r.QueryParam), form: cloneValues(r.FormData),
		path: maps.Clone(r.PathParams), rawPath: maps.Clone(r.RawPathParams),
	}
}

// restore does nothing to r without a snapshot.
func (s *snapshot) restore(r *resty.Request) {
	if s == nil {
		return
	}
	r.Method, r.Token, r.AuthScheme, r.UserInfo = s.method, s.token, s.authScheme, s.userInfo
	r.Cookies, r.Body, r.Header = slices.Clone(s.cookies), s.body, s.header.Clone()
	r.QueryParam, r.FormData = cloneValues(s.query), cloneValues(s.form)
	r.PathParams, r.RawPathParams = maps.Clone(s.path), maps.Clone(s.rawPath)
}

func cloneValues(v url.Values) url.Values { return url.Values(http.Header(v).Clone()) }
