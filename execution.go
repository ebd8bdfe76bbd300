package restyretry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-resty/resty/v2"
)

// An execution is the state of one request from its first attempt to its end.
// It is the context of the Resty request for that time, and belongs to that
// request alone: a request made with the same context begins its own.
//
// A request of which nothing has to be remembered beforehand (see isUntouched,
// isLight and policy) gets an execution only when its first attempt fails. Most
// others need no more than these 80 bytes, which also serve as the contexts of
// the raw requests and as the memory of the attempts.
type execution struct {
	context.Context // the caller's

	policy   *policy
	request  *resty.Request
	*details // nil where nothing of it is needed
	ledger   // of the attempts that have ended

	stage       // how far it has come
	reason code // the ledger's, of attempt 1
	shape  shape
	flags  flags
}

// A shape is how much memory an execution is made with. It may get more later.
type shape uint8

const (
	bare   shape = iota // the execution alone
	guided              // and details
	whole               // and extras
)

// details are what only some requests have to remember.
type details struct {
	given string // the URL as the caller gave it, if the shape is more than bare
	left  uint64 // a hash of what Resty made of it for the last attempt
	*extras
}

// extras are what few requests have to remember. They may be nil: known and
// extra look after that.
type extras struct {
	course  // where the request goes: urls.go
	sending // what it sends: body.go

	initial *snapshot // the request before the first OnAttempt
	results *results  // before the first attempt, if there are any
	key     string    // of the IdempotencyHeader

	refusal error           // why the attempt under way cannot be sent
	bound   *attemptContext // of the attempt under way, where the execution cannot be its context
	err     error           // of the last attempt that has ended, as Resty has it
	final   error           // what Resty is to return instead
	past    []Attempt       // what has no room in the ledger
}

// A stage is how far an execution has come. It is in one word, since other
// goroutines may ask for it: from the lowest bits on the phase (8), the number
// of the attempt under way or to come (8), and Resty's count of it (16).
type stage struct{ word atomic.Uint32 }

// The phases of an execution.
const (
	running = iota
	stopped // Resty's loop ends with the error final, see stop
	done
)

func (s *stage) phase() int  { return int(s.word.Load() & 0xff) }
func (s *stage) number() int { return int(s.word.Load() >> 8 & 0xff) }

// isCounted reports whether Resty's count is that of the attempt under way.
func (s *stage) isCounted(attempt int) bool { return uint16(s.word.Load()>>16) == uint16(attempt) }

func (s *stage) setPhase(phase uint32)  { s.word.Store(s.word.Load()&^0xff | phase) }
func (s *stage) setNumber(number int)   { s.word.Store(s.word.Load()&^0xff00 | uint32(number)<<8) }
func (s *stage) setCounted(attempt int) { s.word.Store(s.word.Load()&0xffff | uint32(attempt)<<16) }

// flags are what is known of an execution, and of its attempt under way or last
// one.
type flags uint16

const (
	late        flags = 1 << iota // it began when the first attempt had ended, for which Resty looks at another context
	secure                        // a URL of the request was https
	pristine                      // nothing has changed it, and its maps were empty
	ready                         // the attempt may be sent
	inOnAttempt                   // which may call GenerateCurlCommand
	handed                        // Resty has got the raw request from us
	parsed                        // Resty has read the response
	judged                        // the attempt has ended, and is recorded
	wanted                        // it asks for another
	retrying                      // and will get it
	raising                       // Resty is to return final, which is not the attempt's own error
)

func (e *execution) is(f flags) bool { return e.flags&f != 0 }

func (e *execution) set(f flags, on bool) {
	if e.flags &^= f; on {
		e.flags |= f
	}
}

type (
	executionKey struct{}
	attemptKey   struct{} // the number of the attempt
	plainKey     struct{} // the policy of a plain attempt
	hookedKey    struct{} // whether it is the context of a raw request that we have had
)

// stateOf returns the execution that r is in. Where there is none it returns the
// policy of the plain attempt that was sent, or nil if the plugin has not seen
// one.
func stateOf(r *resty.Request) (*execution, *policy) {
	if r.RawRequest != nil && isBackground(r.Context()) {
		if a, ok := r.RawRequest.Context().(*plainAttempt); ok { // as it mostly is
			return nil, a.policy
		}
	}
	if e := executionOf(r); e != nil {
		return e, nil
	}
	return nil, plainPolicy(r)
}

// plainPolicy returns the policy of a request's last attempt if that was a
// plain one, or nil.
func plainPolicy(r *resty.Request) *policy {
	if r.RawRequest == nil || r.Attempt == 0 {
		return nil
	}
	p, _ := r.RawRequest.Context().Value(plainKey{}).(*policy)
	return p
}

// executionOf returns the execution that r is in, or nil.
func executionOf(r *resty.Request) *execution {
	if e := lastExecution(r); e != nil && e.phase() != done {
		return e
	}
	return nil
}

// lastExecution returns the execution that r is in or was in last, or nil. The
// raw request still knows when a middleware has replaced the context.
func lastExecution(r *resty.Request) *execution {
	if e := executionIn(r.Context()); e != nil && e.request == r {
		return e
	}
	if e := underWay(r.Method); e != nil && e.request == r {
		return e
	}
	if r.RawRequest == nil {
		return nil
	}
	if e := executionIn(r.RawRequest.Context()); e != nil && e.request == r {
		return e
	}
	return nil
}

// executionIn returns the execution that a context belongs to, or nil.
func executionIn(ctx context.Context) *execution {
	switch ctx := ctx.(type) { // as it mostly is, and Value takes longer
	case *execution:
		return ctx
	case *firstAttempt:
		return (*execution)(ctx)
	case *secondAttempt:
		return (*execution)(ctx)
	default:
		e, _ := ctx.Value(executionKey{}).(*execution)
		return e
	}
}

// newExecution makes an execution with all the memory of its shape at once.
func (p *policy) newExecution(r *resty.Request, s shape) *execution {
	var e *execution
	switch s {
	case whole:
		made := &struct {
			execution execution
			details   details
			extras    extras
		}{}
		e = &made.execution
		e.details, made.details.extras = &made.details, &made.extras
	case guided:
		made := &struct {
			execution execution
			details   details
		}{}
		e = &made.execution
		e.details = &made.details
	default:
		e = &execution{}
	}
	e.Context, e.policy, e.request, e.shape = r.Context(), p, r, s
	e.setNumber(1)
	e.setCounted(r.Attempt)
	if s != bare {
		e.given = r.URL
	}
	r.SetContext(e)
	return e
}

// lateExecution is newExecution for a request that began without, and so had
// no context of its own. What it has now is Resty's, for the trace.
func (p *policy) lateExecution(r *resty.Request) *execution {
	ctx := r.Context()
	r.SetContext(context.Background())
	e := p.newExecution(r, bare)
	e.set(late, true)
	e.set(secure, r.RawRequest.URL.Scheme == "https")
	if !isBackground(ctx) {
		r.SetContext(&covered{execution: e, values: ctx})
	}
	return e
}

// known returns the extras, or nil where there are none.
func (e *execution) known() *extras {
	if e == nil || e.details == nil {
		return nil
	}
	return e.extras
}

// extra returns the extras, which are made if there are none.
func (e *execution) extra() *extras {
	switch {
	case e.details == nil:
		made := &struct {
			details details
			extras  extras
		}{}
		e.details, made.details.extras = &made.details, &made.extras
	case e.extras == nil:
		e.extras = &extras{}
	}
	return e.extras
}

// isLight reports whether begin would find nothing to put into the extras for r,
// which has no execution of an earlier use, on a client that isUntouched.
func (p *policy) isLight(c *resty.Client, r *resty.Request) bool {
	switch {
	case p.shape == whole, r.Error != nil, r.Result != nil && (p.onAttempt || p.retriesSuccess()),
		hasConditions(r), savesField.of(r), isMultipart(r), r.Body == http.NoBody, holds(c, r):
		return false
	}
	return p.repeats(r.Method)
}

// rewritesURL reports whether the URL that was given has to be remembered in
// case the request is used again: Resty would add its query once more, and not
// see its path parameters.
func rewritesURL(c *resty.Client, r *resty.Request) bool {
	return len(r.QueryParam)+len(c.QueryParam) > 0 ||
		len(r.PathParams)+len(r.RawPathParams)+len(c.PathParams)+len(c.RawPathParams) > 0 && strings.Contains(r.URL, "{")
}

// beginLight prepares the first attempt of a light request.
func (e *execution) beginLight(c *resty.Client) error {
	var err error
	if e.policy.URL != nil || e.policy.onAttempt {
		err = e.setOff(c)
	}
	if err == nil && e.known() != nil { // OnAttempt or the Target has changed the request
		err = e.takeBody(c, nil)
	}
	return e.dispatch(c, err)
}

// begin prepares the first attempt of a request that is not light. earlier is
// its last execution, if it is used again.
func (e *execution) begin(c *resty.Client, earlier *execution) error {
	r, before := e.request, earlier.known()
	if earlier != nil && earlier.shape != bare && earlier.left == hashOf(r.URL) {
		// Send on a request that was used before: Resty left in r.URL what it
		// made of it, and would add the query parameters once more.
		r.URL, e.given, e.resent = earlier.given, earlier.given, true
	}
	e.parts = partsOf(r)
	if e.policy.onAttempt {
		initial := takeSnapshot(r)
		e.initial = &initial
	}
	if before != nil && before.results != nil && r.Error == nil {
		r.Error = before.results.failure // Resty has forgotten it
	}
	if r.Result != nil || r.Error != nil {
		e.results = takeResults(r, e.policy.retriesSuccess() || len(e.policy.plugin.kept.conditions) > 0 || hasForeignConditions(c, r))
	}
	if rotation, ok := e.policy.URL.(*rotation); ok {
		e.turn = rotation.turn()
	}
	err := e.setOff(c)
	if err == nil {
		err = e.takeBody(c, before)
	}
	return e.dispatch(c, err)
}

// setOff sets where the first attempt goes.
func (e *execution) setOff(c *resty.Client) error {
	e.set(secure, schemeOf(c, e.request.URL) == "https")
	if err := e.policy.guardList(c, e.request); err != nil {
		return err
	}
	return e.direct(c)
}

// dispatch lets Resty make the raw request, or remembers why it cannot.
func (e *execution) dispatch(c *resty.Client, err error) error {
	if err != nil {
		e.extra().refusal = err
		return err
	}
	e.handOver(c)
	return nil
}

// resume lets Resty go on with the attempt that advance has prepared.
func (e *execution) resume(c *resty.Client) error {
	r := e.request
	if e.is(inOnAttempt) { // GenerateCurlCommand
		showBody(c, r)
		return nil
	}
	if e.isCounted(r.Attempt) { // called twice for one attempt
		return nil
	}
	e.setCounted(r.Attempt)
	x := e.known()
	if !e.is(ready) {
		// A condition outside this package repeats a request that could not be
		// sent. Resty neither waits nor looks at the context in that case.
		err := errors.New("restyretry: not repeated, the attempt before could not be sent")
		if x != nil {
			err = cmp.Or(x.refusal, err)
		}
		return err
	}
	e.set(ready, false)
	if list := e.policy.list; list != nil {
		r.URL = list.at(e.number())
	}
	if x != nil && x.next != "" {
		r.URL = x.next
	}
	e.stayInContext()
	var err error
	if x != nil {
		err = e.takeBody(c, nil)
	}
	return e.dispatch(c, err)
}

// bind gives the raw request of an attempt its context and its time limit. The
// context that it has is none or e itself (direct), or else what Resty or a
// middleware has made of e.
func (e *execution) bind(hr *http.Request, direct bool) {
	parent := hr.Context()
	if direct {
		parent = e.Context
	}
	limit, watch := e.policy.AttemptTimeout, !e.policy.repeats(hr.Method)
	var ctx context.Context
	switch {
	case direct && limit == 0 && !watch && e.number() == 1:
		ctx = (*firstAttempt)(e)
	case direct && limit == 0 && !watch && e.number() == 2:
		ctx = (*secondAttempt)(e)
	default:
		a := &attemptContext{Context: parent, execution: e, number: uint8(e.number())}
		if limit > 0 {
			a.timeout = newTimeout(parent, limit)
			a.Context = a.timeout
		}
		if watch {
			a.wire = &wire{}
			a.Context = a.wire.watch(a.Context)
		}
		e.extra().bound = a
		ctx = a
	}
	setContext(hr, ctx)
	e.cover()
}

// upcoming is the attempt that is about to be sent.
func (e *execution) upcoming() Attempt {
	a := e.blank(e.number())
	a.Method, a.URL, a.Start = e.request.Method, redactText(e.request.URL), time.Now()
	return a
}

// noteAccept remembers whether Resty had an Accept header for attempt 1.
func (e *execution) noteAccept() {
	if e.number() == 1 {
		e.noAccept = e.request.RawRequest.Header.Get("Accept") == ""
	}
}

// attempt is the attempt that has just ended.
func (e *execution) attempt(resp *resty.Response, err error) Attempt {
	if resp == nil && !e.is(handed) { // never sent
		a := e.upcoming()
		a.Err = redactError(err)
		return a
	}
	r := e.request
	a := e.blank(e.number())
	a.Method, a.URL = r.RawRequest.Method, textOf(r.RawRequest.URL, r.URL)
	a.Response, a.Err, a.Start, a.sent = resp, redactError(err), r.Time, true
	if resp == nil { // a callback panicked
		a.Took = time.Since(r.Time)
	} else {
		a.Took = took(resp)
	}
	return a
}

// blank is what is the same for all attempts.
func (e *execution) blank(number int) Attempt {
	a := Attempt{Number: number, Max: e.policy.Attempts, Request: e.request, rand: e.policy.Rand}
	if x := e.known(); x != nil {
		a.turn = x.turn
	}
	return a
}

// took is how long the attempt took that has just ended with this response.
// Resty saves to a file after the time that it gives for the response.
func took(resp *resty.Response) time.Duration {
	if savesField.of(resp.Request) {
		return time.Since(resp.Request.Time)
	}
	return resp.ReceivedAt().Sub(resp.Request.Time)
}

// judge decides what follows an attempt, and records it. A condition outside
// this package may have asked for a retry already.
func (e *execution) judge(resp *resty.Response, err error, asked bool) {
	e.answer = resp
	e.complete(resp, err)
	if e.number() == 1 {
		e.policy.Budget.request(resp.ReceivedAt())
	}
	if err == nil && !asked && e.policy.asksNothing(resp) {
		e.succeed(resp)
		return
	}
	a := e.attempt(resp, err)
	cause := e.cause(a)
	if cause == "" && asked {
		cause = ReasonCondition
	}
	e.settle(a, cause)
}

// complete ends what lasts as long as an attempt.
func (e *execution) complete(resp *resty.Response, err error) {
	if err != nil {
		e.extra()
	}
	x := e.known()
	if x == nil {
		return
	}
	x.err = err
	x.bound.release(e.streams(resp, err))
	e.unhide()
	e.noteAccept()
	if !e.is(parsed) {
		takeBackOutput(resp)
	}
	if err != nil && resp.RawResponse != nil {
		_ = resp.RawResponse.Body.Close() // SetOutput leaves it open
	}
}

// settle decides whether a cause leads to a retry.
func (e *execution) settle(a Attempt, cause Reason) {
	e.set(wanted, cause != "")
	e.set(retrying|raising, false)
	switch {
	case e.Context.Err() != nil && (e.is(wanted) || !succeededWith(a)):
		a.Reason = e.endedBy()
	case e.is(wanted):
		a.Reason = e.limit(&a)
		e.set(retrying, a.Reason == "")
		a.Reason = cmp.Or(a.Reason, cause)
	case succeededWith(a):
		a.Reason = ReasonSucceeded
	case errors.Is(e.lastError(), errBodyLost): // a redirect, or net/http itself, wanted to send it again
		a.Reason = ReasonBody
	default:
		a.Reason = ReasonNotRetryable
	}
	if !e.is(retrying) {
		a.Wait = 0
		if err := e.statusError(a); err != nil && !e.is(raising) {
			e.raise(err)
		}
	}
	e.record(a)
}

// succeededWith reports whether an attempt is what its caller wanted.
func succeededWith(a Attempt) bool { return a.Err == nil && a.StatusCode() < http.StatusBadRequest }

// lastError is the error of the last attempt that has ended, as Resty has it.
func (e *execution) lastError() error {
	if x := e.known(); x != nil {
		return x.err
	}
	return nil
}

// raise makes err the error of the request.
func (e *execution) raise(err error) {
	e.extra().final = err
	e.set(raising, true)
}

// joined adds why a request cannot go on to the error it failed with, if any.
func joined(err, why error) error {
	if err == nil {
		return why
	}
	return fmt.Errorf("%w (%w)", err, why)
}

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
	discard(resp, e.is(parsed))
	wait := e.onRetry()
	e.policy.plugin.stats.waited.Add(int64(wait))
	// Resty waits the last nanosecond: it takes no 0 for an answer.
	if err := sleep(e.Context, wait-1); err != nil {
		e.set(retrying, false)
		e.setReason(e.endedBy())
		return fmt.Errorf("restyretry: while waiting for attempt %d: %w", e.number()+1, err)
	}
	if sendsBody(c, e.request) {
		e.extra()
		e.noteAccept()
		e.keepBody()
	}
	e.next()
	if err := e.prepare(c); err != nil {
		e.back()
		e.setReason(ReasonStopped)
		return err
	}
	if err := ended(e.Context); err != nil { // OnAttempt may take its time
		e.back()
		e.setReason(e.endedBy())
		return fmt.Errorf("restyretry: before attempt %d: %w", e.number()+1, err)
	}
	e.set(ready, true)
	return nil
}

// next makes the coming attempt the one under way, and back undoes this.
func (e *execution) next() {
	e.setNumber(e.number() + 1)
	e.answer = nil
	e.set(judged|retrying|handed|parsed, false)
	if x := e.known(); x != nil {
		x.bound, x.next = nil, ""
	}
}

func (e *execution) back() {
	e.setNumber(e.number() - 1)
	e.set(judged, true)
}

// prepare makes the request what it was before the first attempt, and sets where
// it goes.
func (e *execution) prepare(c *resty.Client) error {
	r := e.request
	e.restore()
	var before *results
	if x := e.known(); x != nil {
		before = x.results
	}
	before.restore(r)
	if e.shape != bare {
		r.URL = e.given
	}
	r.SetContext(e)
	if err := e.direct(c); err != nil {
		return err
	}
	ours := e.policy.list == nil || e.policy.onAttempt // else resume takes it from the list
	if ours && e.shape != bare && (r.URL != e.given || e.known() != nil && e.resent) {
		e.extra().next = r.URL
	}
	return nil
}

// restore undoes what OnAttempt and Resty have done to the request.
func (e *execution) restore() {
	r := e.request
	if x := e.known(); x != nil && x.initial != nil {
		x.initial.restore(r)
	} else if e.is(pristine) {
		clear(r.Header)
		clear(r.QueryParam)
		clear(r.FormData)
	}
	if e.shape != whole {
		forgetNoBody(r)
	}
}

// stop makes Resty end its loop now, with the last response and the error of
// the request. An error returned to Resty instead would be dropped where the
// attempt itself had one, and could not be nil. So the request's context ends,
// and Resty, which is about to wait, returns the context's error.
//
// watched is the context that Resty looks at; the request's own does not end.
func (e *execution) stop(watched context.Context) (time.Duration, error) {
	if e.is(late) && e.number() == 1 {
		watched = context.Background()
	}
	x := e.extra()
	if !e.is(raising) {
		x.final = x.err
	}
	e.setPhase(stopped)
	e.request.SetContext(&unstopped{execution: e, values: e.request.Context()})
	select {
	case <-watched.Done():
		return time.Hour, nil // does not begin
	default: // without our pre-request hook, a middleware may have put a context of its own before ours
		return 0, cmp.Or(x.final, errors.New("restyretry: a condition outside the plugin asked for a retry that is not allowed"))
	}
}

// finish ends the execution: it puts the request back as it was and tells
// everyone. It does nothing the second time.
func (e *execution) finish(resp *resty.Response, err error, panicked bool) {
	if e.phase() == done {
		return
	}
	e.arrive()
	e.conclude(resp, err, panicked)
	e.setPhase(done)
	streamed := e.streams(resp, err)
	if x := e.known(); x != nil {
		x.bound.release(streamed)
	}
	if panicked && e.answer != nil && e.answer.RawResponse != nil {
		_ = e.answer.RawResponse.Body.Close() // nobody gets it
	}
	e.putBack(streamed != nil)
	e.count()
	e.onDone()
}

// conclude makes sure that the last attempt is recorded with the reason why it
// was the last.
func (e *execution) conclude(resp *resty.Response, err error, panicked bool) {
	switch {
	case e.is(ready) && resp != nil: // ended in the last nanosecond of the wait
		e.back()
		e.setReason(e.endedBy())
	case !e.is(judged):
		e.recordUnjudged(resp, err, panicked)
	}
	switch {
	case panicked:
		e.setReason(ReasonPanic)
	case e.is(retrying): // Resty's wait was cancelled
		e.setReason(ReasonCancelled)
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
	case resp == nil && e.known() != nil && e.refusal != nil:
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
	if resp != nil && !e.is(parsed) {
		takeBackOutput(resp)
	}
	e.record(a)
}

// putBack undoes what OnAttempt and we have done to the request, but for its
// URL, which tells where the last attempt went. Without OnAttempt the header
// fields stay that Resty has added.
func (e *execution) putBack(streaming bool) {
	r := e.request
	if e.shape != bare {
		e.left = hashOf(r.URL)
	}
	if x := e.known(); x != nil {
		e.unhide()
		for _, b := range x.held {
			b.finish(streaming)
		}
	}
	e.restore()
	r.SetContext(e.Context)
	if r.RawRequest == nil {
		r.RawRequest = &http.Request{Method: r.Method, URL: &url.URL{}, Header: http.Header{}} // never made
	}
	if executionIn(r.RawRequest.Context()) != e {
		// For History. The transport may still be reading the request itself.
		r.RawRequest = r.RawRequest.WithContext(
			&attemptContext{Context: r.RawRequest.Context(), execution: e, number: uint8(e.number())})
	}
}

// streams reports whether the caller will read the body of this response from
// the connection: Resty has neither read it nor failed to.
func (e *execution) streams(resp *resty.Response, err error) *http.Response {
	if resp == nil || err != nil || e.is(parsed) {
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
