package restyretry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	client  *resty.Client
	late    bool // Resty still looks at the context that the request had before

	course  // where it goes: urls.go
	sending // what it sends: body.go

	initial *snapshot // the request before the first OnAttempt, if there is one
	results *results  // before the first attempt, if there are any
	key     string    // of the IdempotencyHeader

	// The attempt under way, or the one to come.
	number      int
	begun       int   // Resty's count of it
	ready       bool  // it may be sent
	inOnAttempt bool  // which may call GenerateCurlCommand
	refusal     error // why it cannot be sent
	bound       *attemptContext
	handed      bool // Resty has got its raw request from us
	parsed      bool // Resty has read its response

	// The last attempt that has ended, and what follows.
	answer   *resty.Response
	err      error  // as Resty has it
	told     string // what the server says of a retry: "true", "false" or nothing
	wanted   bool   // it asks for another
	retrying bool   // and will get it
	raising  bool   // Resty is to return final, which is not err
	past     []Attempt
	done     bool

	// Once stopped is set, Resty's loop ends with the error final. See stop.
	stopped atomic.Bool
	final   error
}

type (
	executionKey struct{}
	attemptKey   struct{}
)

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
	if r.RawRequest == nil || r.Attempt == 0 {
		return nil
	}
	if a, ok := r.RawRequest.Context().Value(attemptKey{}).(*attemptContext); ok {
		return a.policy
	}
	return nil
}

func (p *policy) newExecution(r *resty.Request) *execution {
	e := &execution{Context: r.Context(), policy: p, request: r, number: 1, begun: r.Attempt}
	e.given = r.URL
	r.SetContext(e)
	return e
}

// lateExecution is newExecution for a request that began without, and so had
// no context of its own. What it has now is Resty's, for the trace.
func (p *policy) lateExecution(r *resty.Request) *execution {
	ctx := r.Context()
	r.SetContext(context.Background())
	forgetNoBody(r)
	e := p.newExecution(r)
	e.late = true
	if ctx != context.Background() {
		r.SetContext(&covered{execution: e, values: ctx})
	}
	return e
}

// begin prepares the first attempt.
func (e *execution) begin(c *resty.Client, before *execution) error {
	r := e.request
	if before != nil && r.URL == before.sent {
		// Send on a request that was used before: Resty left in r.URL what it
		// made of it, and would add the query parameters once more.
		r.URL, e.resent = before.given, true
	}
	e.given = r.URL
	e.parts = partsOf(r)
	e.secure = schemeOf(c, r.URL) == "https"
	if rotation, ok := e.policy.URL.(*rotation); ok {
		e.turn = rotation.turn()
	}
	if slices.ContainsFunc(e.policy.Hooks, func(h Hooks) bool { return h.OnAttempt != nil }) {
		e.initial = takeSnapshot(r)
	}
	if before != nil && before.results != nil && r.Error == nil {
		r.Error = before.results.failure // Resty has forgotten it
	}
	if r.Result != nil || r.Error != nil {
		e.results = takeResults(r, e.policy.retriesSuccess() || len(e.policy.plugin.kept.conditions) > 0 || hasForeignConditions(c, r))
	}
	for _, step := range []func(*resty.Client) error{e.guardList, e.direct} {
		if e.refusal = step(c); e.refusal != nil {
			return e.refusal
		}
	}
	e.refusal = e.takeBody(c, before)
	return e.refusal
}

// resume lets Resty go on with the attempt that advance has prepared.
func (e *execution) resume(c *resty.Client) error {
	r := e.request
	if e.inOnAttempt { // GenerateCurlCommand
		showBody(c, r)
		return nil
	}
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
	e.stayInContext()
	e.refusal = e.takeBody(c, nil)
	return e.refusal
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
	if !e.policy.repeats(hr.Method) {
		a.wire = &wire{}
		a.Context = a.wire.watch(a.Context)
	}
	e.bound = a
	*hr = *hr.WithContext(a)
	e.cover()
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
	if resp == nil && !e.handed { // never sent
		a := e.upcoming()
		a.Err = redactError(err)
		return a
	}
	r := e.request
	return Attempt{
		Number: e.number, Max: e.policy.Attempts, Method: r.RawRequest.Method, URL: redactURL(r.RawRequest.URL),
		Request: r, Response: resp, Err: redactError(err), Start: r.Time, Took: time.Since(r.Time),
		rand: e.policy.Rand, turn: e.turn, sent: true,
	}
}

// judge decides what follows an attempt, and records it. A condition outside
// this package may have asked for a retry already.
func (e *execution) judge(resp *resty.Response, err error, asked bool) {
	e.answer, e.err = resp, err
	e.bound.release(e.streams(resp, err))
	e.unhide()
	e.sent = e.request.URL
	e.told = ""
	if resp.RawResponse != nil {
		e.told = shouldRetry(resp.StatusCode(), resp.Header())
	}
	if e.number == 1 {
		e.noAccept = e.request.RawRequest.Header.Get("Accept") == ""
	}
	if !e.parsed {
		takeBackOutput(e.client, resp)
	}
	if err != nil && resp.RawResponse != nil {
		_ = resp.RawResponse.Body.Close() // SetOutput leaves it open
	}
	a := e.attempt(resp, err)
	if a.Number == 1 {
		e.policy.Budget.request(a.Start.Add(a.Took))
	}
	cause := e.cause(a)
	if cause == "" && asked {
		cause = ReasonCondition
	}
	e.settle(a, cause)
}

// settle decides whether a cause leads to a retry.
func (e *execution) settle(a Attempt, cause Reason) {
	e.wanted, e.retrying, e.raising, e.final = cause != "", false, false, e.err
	switch {
	case e.Context.Err() != nil && (e.wanted || !succeededWith(a)):
		a.Reason = e.endedBy()
	case e.wanted:
		a.Reason = e.limit(&a)
		e.retrying = a.Reason == ""
		a.Reason = cmp.Or(a.Reason, cause)
	case succeededWith(a):
		a.Reason = ReasonSucceeded
	case errors.Is(e.err, errBodyLost): // a redirect, or net/http itself, wanted to send it again
		a.Reason = ReasonBody
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

// succeededWith reports whether an attempt is what its caller wanted.
func succeededWith(a Attempt) bool { return a.Err == nil && a.StatusCode() < http.StatusBadRequest }

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
	e.keepBody()
	e.number++
	e.retrying, e.handed, e.parsed, e.bound, e.answer = false, false, false, nil, nil
	e.initial.restore(e.request)
	e.results.restore(e.request)
	e.request.URL = e.given
	e.request.SetContext(e)
	if err := e.direct(c); err != nil {
		e.number--
		e.last().Reason = ReasonStopped
		return err
	}
	if err := ended(e.Context); err != nil { // OnAttempt may take its time
		e.number--
		e.last().Reason = e.endedBy()
		return fmt.Errorf("restyretry: before attempt %d: %w", e.number+1, err)
	}
	e.next, e.ready = "", true
	if e.request.URL != e.given || e.resent {
		e.next = e.request.URL
	}
	return nil
}

// stop makes Resty end its loop now, with the last response and e.final. An
// error returned to Resty instead would be dropped where the attempt itself
// had one, and could not be nil. So the request's context ends, and Resty,
// which is about to wait, returns the context's error.
//
// resty is the context that Resty looks at; the request's own does not end.
func (e *execution) stop(resty context.Context) (time.Duration, error) {
	if e.late {
		resty = context.Background()
	}
	e.stopped.Store(true)
	e.request.SetContext(&running{execution: e, values: e.request.Context()})
	select {
	case <-resty.Done():
		return time.Hour, nil // does not begin
	default: // without our pre-request hook, a middleware may have put a context of its own before ours
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
	streamed := e.streams(resp, err)
	e.bound.release(streamed)
	if panicked && e.answer != nil && e.answer.RawResponse != nil {
		_ = e.answer.RawResponse.Body.Close() // nobody gets it
	}
	e.putBack(streamed != nil)
	a := *e.last()
	e.policy.plugin.stats.add(e.past)
	e.onDone(a)
}

// conclude makes sure that the last attempt is recorded with the reason why it
// was the last.
func (e *execution) conclude(resp *resty.Response, err error, panicked bool) {
	switch {
	case e.ready: // ended in the last nanosecond of the wait
		e.number--
		e.last().Reason = e.endedBy()
	case !e.judged():
		e.recordUnjudged(resp, err, panicked)
	}
	last := e.last()
	switch {
	case panicked:
		last.Reason = ReasonPanic
	case e.retrying && last.Number == e.number: // Resty's wait was cancelled
		last.Reason = ReasonCancelled
	}
}

// recordUnjudged records an attempt after which Resty did not ask for a
// decision.
func (e *execution) recordUnjudged(resp *resty.Response, err error, panicked bool) {
	if panicked {
		resp = e.answer
	}
	a := e.attempt(resp, err)
	switch {
	case resp == nil && e.refusal != nil:
		a.Reason = ReasonStopped
	case resp == nil:
		a.Reason = ReasonNotSent
	case succeededWith(a):
		a.Reason = ReasonSucceeded
	case e.Context.Err() != nil:
		a.Reason = e.endedBy()
	default: // a context that a middleware put before ours
		a.Reason = ReasonCancelled
	}
	if a.Number == 1 && a.sent {
		e.policy.Budget.request(a.Start.Add(a.Took))
	}
	if resp != nil && !e.parsed {
		takeBackOutput(e.client, resp)
	}
	e.past = append(e.past, a)
}

// putBack leaves the request as the caller made it, but for its URL, which
// tells where the last attempt went.
func (e *execution) putBack(streaming bool) {
	r := e.request
	e.sent = r.URL
	e.unhide()
	for _, b := range e.held {
		b.finish(streaming)
	}
	e.initial.restore(r)
	r.SetContext(e.Context)
	if r.RawRequest == nil {
		r.RawRequest = &http.Request{Method: r.Method, URL: &url.URL{}, Header: http.Header{}} // never made
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
	return ended(ctx)
}

// ended is how a context ended, with the cause if it has one of its own.
func ended(ctx context.Context) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != err {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}
