package restyretry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry/internal/redact"
	"github.com/restyretry/restyretry/internal/replay"
	"github.com/restyretry/restyretry/internal/restyfields"
)

// A call is one Execute with all its attempts. It begins with the first
// attempt, is found through the context of the request or of the raw request,
// and is over when Execute is.
//
// Resty's callbacks drive it: begin and start prepare the first attempt, build makes
// its raw request, report records how it ended and decides, advance waits and prepares
// the next one, which resume starts, and finish ends the call.
type call struct {
	request *resty.Request
	client  *resty.Client
	policy  *policy
	ctx     context.Context // the caller's
	own     requestContext  // the request's for the time of the call

	original string    // the URL as the caller gave it
	left     string    // the URL as Resty left it at the end
	initial  *snapshot // the request before its first OnAttempt, if there is one
	results  *results  // before the first attempt, if there are any
	payload  *payload  // what the request sends, if its method sends a body
	key      string    // of the IdempotencyHeader

	earlier *payload // of the call before this one, while this one lasts
	noted   *noted   // bodies to be closed at the end, whether they were sent or not

	attempts []Attempt  // that have ended
	only     [1]Attempt // room for the one that most calls have
	first    attemptContext
	watched  requestContext  // by Resty, in the first attempt
	seen     context.Context // the request's, which Resty has when an attempt is over
	current  underWay
	next     *choice // if it has been made before the wait

	resent  bool   // Resty was given what an earlier call had left
	secure  bool   // the request, its Target or OnAttempt has said https
	covered bool   // a raw request was https, whoever made it so
	counted int32  // Resty's count of the attempt under way
	turn    uint32 // of a Rotate

	// Contexts are asked from other goroutines.
	before atomic.Int32 // how many attempts came before the one under way
	over   atomic.Bool
}

// number is that of the attempt under way.
func (c *call) number() int { return int(c.before.Load()) + 1 }

// underWay is what is known of the attempt under way, or of the last one. It is
// replaced as a whole when the next one is prepared.
type underWay struct {
	context  *attemptContext
	watched  *requestContext // by Resty
	response *resty.Response
	err      error  // as Resty has it
	final    error  // what Resty is to return instead, if anything
	refusal  error  // why it cannot be sent
	url      string // where it goes

	pass     *pass // of the Cooldown
	held     time.Duration
	stay     *stay // what holds if OnAttempt does not send the next one elsewhere
	stage    stage
	chosen   bool // the url is not what Resty would take
	read     bool // Resty has read the response
	wanted   bool // something asks for another attempt
	retrying bool // which will follow
}

// A stage is how far an attempt has come.
type stage int8

const (
	preparing stage = iota // Target and OnAttempt say where it goes
	ready                  // Resty has not begun it
	begun                  // Resty makes the raw request
	built                  // Resty has got the raw request from us
	reported               // it is over, and in the history
)

type callKey struct{}

// callOf returns the call that r is in, or nil.
func callOf(r *resty.Request) *call {
	if c := lastCall(r); c != nil && !c.over.Load() {
		return c
	}
	return nil
}

// lastCall returns the call that r is in or was in last, or nil. The raw request
// still knows when a middleware has replaced the context.
func lastCall(r *resty.Request) *call {
	if c := callIn(r.Context()); c != nil && c.request == r {
		return c
	}
	if r.RawRequest == nil {
		return nil
	}
	if c := callIn(r.RawRequest.Context()); c != nil && c.request == r {
		return c
	}
	return nil
}

// callIn returns the call that a context belongs to, or nil.
func callIn(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// begin begins the call of a request, and prepares its first attempt. earlier is
// its call before this one, if it is used again.
func begin(client *resty.Client, r *resty.Request, earlier *call) error {
	p := pluginOf(client)
	if p == nil {
		return errors.New("restyretry: the client's RetryAfter was changed after Install; set Wait in the options instead")
	}
	policy, err := p.current.Load().within(r.Context())
	if err == nil {
		err = p.inspect(client, policy)
	}
	if err != nil {
		closeBody(client, r)
		return err
	}
	c := &call{request: r, client: client, policy: policy, ctx: r.Context(), original: r.URL, counted: int32(r.Attempt)}
	c.attempts = c.only[:0]
	c.own.call, c.own.values = c, c.ctx
	r.SetContext(&c.own)
	c.remember(earlier)
	if err := c.chooseTarget(); err != nil {
		c.current.stage, c.current.refusal = begun, err
		return err
	}
	c.noteURL(r.URL)
	if c.mustWait() {
		return c.holdFirst()
	}
	return c.start()
}

// start makes the request ready for the attempt that has been prepared, which Resty
// then begins, or returns why it must not.
func (c *call) start() error {
	r := c.request
	c.counted, c.current.stage = int32(r.Attempt), begun
	if c.current.refusal != nil {
		return c.current.refusal
	}
	if c.current.chosen {
		r.URL = c.current.url
	}
	c.current.refusal = c.takeBody()
	return c.current.refusal
}

// remember keeps what the coming attempts need of the request as it is now.
// earlier is its call before this one, if it is used again.
func (c *call) remember(earlier *call) {
	r := c.request
	c.earlier = earlier.sent()
	if earlier != nil && r.URL == earlier.left && r.URL != earlier.original {
		// Send on a request that was used before: Resty left in r.URL what it had
		// made of it, and would add the query parameters once more.
		r.URL, c.original, c.resent = earlier.original, earlier.original, true
	}
	if c.policy.onAttempt {
		c.initial = takeSnapshot(r)
	}
	if earlier != nil && earlier.results != nil && r.Error == nil {
		r.Error = earlier.results.failure // Resty has forgotten it
	}
	if r.Result != nil || r.Error != nil {
		c.results = takeResults(r, c.policy.retriesSuccess || c.hasLaterConditions())
	}
	if rotation, ok := c.policy.URL.(*rotation); ok {
		c.turn = rotation.turn()
	}
	c.secure = c.schemeOf(r.URL) == "https"
}

// resume lets Resty go on with the attempt that advance has prepared.
func (c *call) resume() error {
	r := c.request
	switch {
	case c.current.stage == preparing: // GenerateCurlCommand in OnAttempt
		showBody(c.client, r)
		return nil
	case c.counted == int32(r.Attempt): // the middleware runs twice for one attempt
		return nil
	}
	if c.current.stage != ready {
		// A condition outside this package repeats a request that could not be
		// sent. Resty neither waits nor looks at the context in that case.
		c.counted = int32(r.Attempt)
		return cmp.Or(c.current.refusal, errNotRepeated)
	}
	c.stayInContext()
	return c.start()
}

var errNotRepeated = errors.New("restyretry: not repeated, the attempt before could not be sent")

// build completes the raw request of an attempt.
func (c *call) build(hr *http.Request) error {
	c.current.context = c.newAttemptContext(hr)
	*hr = *hr.WithContext(c.current.context)
	if err := c.putBody(hr); err != nil {
		return err
	}
	c.putHeaders(hr)
	if c.policy.PreRequest != nil {
		if err := c.policy.PreRequest(c.client, hr); err != nil {
			return err
		}
	}
	if err := c.guardRaw(hr); err != nil {
		return err
	}
	c.current.stage, c.current.watched = built, c.watch()
	return nil
}

// upcoming is the attempt that is about to be sent.
func (c *call) upcoming() Attempt {
	a := c.blank()
	a.Method, a.URL, a.Start = c.request.Method, redact.Text(c.request.URL), time.Now()
	return a
}

// blank returns an Attempt with what all attempts of the call have in common.
func (c *call) blank() Attempt {
	return Attempt{
		Number: c.number(), Max: c.policy.Attempts, Request: c.request,
		rand: c.policy.Rand, turn: c.turn,
	}
}

// report takes in an attempt that has ended, and decides what follows. asked says
// that a condition outside this package asks for a retry.
func (c *call) report(resp *resty.Response, err error, asked bool) {
	c.endAttempt(resp, err)
	if c.policy.Cooldown != nil {
		c.tellCooldown()
	}
	c.record(resp, err, false)
	c.follow(c.decide(asked))
}

// record puts the attempt that has just ended into the history. Without a response it
// was not sent, unless a callback has panicked afterwards.
func (c *call) record(resp *resty.Response, err error, panicked bool) {
	if resp == nil && (c.current.stage < built || !panicked) {
		c.attempts = append(c.attempts, c.upcoming())
	} else {
		c.attempts = append(c.attempts, c.blank())
		c.last().sent = true
	}
	a := c.last()
	a.Response, a.Err, a.Held = resp, redact.Error(err), c.current.held
	if a.sent {
		a.Method, a.URL = c.request.RawRequest.Method, redact.Parsed(c.request.RawRequest.URL, c.request.URL)
		a.Start, a.Took = c.request.Time, c.took(resp, err)
	}
	c.current.stage = reported
	if a.Number == 1 && a.sent && c.policy.Budget != nil {
		c.policy.Budget.Request(a.Start.Add(a.Took))
	}
}

// took is how long the attempt has taken that has just ended.
func (c *call) took(resp *resty.Response, err error) time.Duration {
	if resp == nil || c.isSaved(resp, err) { // a callback panicked; or Resty saves to a file after ReceivedAt
		return time.Since(c.request.Time)
	}
	return resp.ReceivedAt().Sub(c.request.Time)
}

// decide is the verdict on the last attempt in the history.
func (c *call) decide(asked bool) verdict {
	if a := c.last(); !asked && a.Err == nil && a.StatusCode() < 300 && !c.policy.retriesSuccess {
		return verdict{reason: ReasonSucceeded} // nothing is left to ask
	}
	o := c.outcome(asked)
	v := c.policy.decide(o)
	if v.retry && c.next != nil && c.next.err != nil {
		v = c.policy.stopped(&o, ReasonStopped, c.next.err)
	}
	if v.retry && !c.policy.Budget.Retry(time.Now()) {
		v = c.policy.refuse(&o, ReasonBudget)
	}
	if !v.retry {
		c.dropChoice()
	}
	return v
}

// follow notes a verdict on the last attempt, for Resty's next callbacks to act on.
func (c *call) follow(v verdict) {
	c.last().Reason, c.last().Wait = v.reason, v.wait
	c.current.wanted, c.current.retrying, c.current.final, c.current.stay = v.wanted, v.retry, v.err, v.stay
}

// outcome is what is known of the last attempt in the history.
func (c *call) outcome(asked bool) outcome {
	a := c.last()
	err := c.current.err
	o := outcome{
		Attempt: *a, err: err, asked: asked, partial: !c.current.read && isPartial(a.Response, err),
		bodyLost: errors.Is(err, replay.ErrLost), replayable: c.isReplayable(),
		client: c.client, ctx: c.ctx, began: c.began(), clock: time.Now,
	}
	if o.open = c.policy.onAttempt; !o.open && c.policy.URL != nil {
		o.elsewhere = c.goesElsewhere
	}
	if !c.policy.repeats(a.Method) {
		o.keyed, o.unsent = c.policy.hasKey(c.request.RawRequest.Header), c.isUnsent()
	}
	return o
}

// began is when the first attempt was sent, or began to be held back.
func (c *call) began() time.Time {
	if len(c.attempts) == 0 {
		return time.Now()
	}
	return c.attempts[0].Start.Add(-c.attempts[0].Held)
}

// isUnsent reports whether no server can have seen the attempt's request: its
// header was not written to any connection, nor that of a request that was
// redirected to it. A transport that does not say what it writes has to fail with
// an error that comes before: the name was not resolved, or the connection not
// made.
func (c *call) isUnsent() bool {
	if c.current.err == nil || c.current.context == nil || c.current.context.wire == nil {
		return false
	}
	wire := c.current.context.wire
	return !wire.wrote.Load() && (wire.asked.Load() || isUnsentError(c.current.err, c.request.RawRequest.URL))
}

// isReplayable reports whether the body of the attempt can be sent once more.
// Without our pre-request hook, multipart data cannot: Resty has read its parts.
func (c *call) isReplayable() bool {
	if p := c.payload; p != nil && !p.body.isReplayable() {
		return false
	}
	return c.current.context != nil || !restyfields.IsMultipart(c.request)
}

// endAttempt ends what lasts only as long as an attempt: its time limit, and what the
// plugin has put into the request for it.
func (c *call) endAttempt(resp *resty.Response, err error) {
	c.seen = c.request.Context()
	if c.current.watched == nil { // without our pre-request hook
		c.current.watched, _ = c.seen.(*requestContext)
		if resp != nil { // it was sent all the same
			c.policy.warnOfHook()
		}
	}
	if c.current.watched != nil {
		c.current.watched.hiding.Store(false)
	}
	c.current.response, c.current.err = resp, err
	c.current.context.release(c.streamed())
	c.putBodyBack()
	if resp == nil || c.current.read {
		return
	}
	c.takeBackOutput(resp, false)
	if err != nil {
		closeRaw(resp) // Resty leaves it open where it failed before reading
	}
}

// last is the last attempt in the history.
func (c *call) last() *Attempt { return &c.attempts[len(c.attempts)-1] }

// breakOff makes the last attempt the final one, although a retry was decided on. why
// is the error to return; nil leaves the outcome of the attempt.
func (c *call) breakOff(reason Reason, why error) {
	c.current.retrying = false
	c.last().Reason = reason
	o := outcome{Attempt: *c.last(), err: c.current.err}
	v := c.policy.end(&o, reason)
	if why != nil {
		v = c.policy.stopped(&o, reason, why)
	}
	c.current.final = v.err
}

// advance goes from a failed attempt to the next: it lets go of the response,
// waits, and prepares the request.
func (c *call) advance() {
	if c.current.stay == nil { // otherwise the response may still be the last
		discard(c.ctx, c.current.response, c.current.read)
	}
	c.initial.restore(c.request)
	c.onRetry()
	if c.initial != nil {
		c.initial = takeSnapshot(c.request) // what OnRetry has changed stays
	}
	if c.current.stay != nil && !c.decideStay() {
		return
	}
	wait := c.last().Wait
	elapsed := time.Since(c.began()) + wait // at the next attempt, if nothing else takes time
	if c.isLate(elapsed) {
		c.dropChoice()
		c.last().Wait = 0
		c.breakOff(ReasonElapsed, nil)
		return
	}
	c.policy.plugin.stats.wait(wait)
	// Resty waits the last nanosecond: it takes no 0 for an answer.
	if sleep(c.ctx, wait-1); c.ctx.Err() != nil {
		c.dropChoice()
		c.breakOff(endedBy(c.ctx), contextError(c.ctx))
		return
	}
	woken := time.Now()
	next := c.takeChoice()
	last := c.current
	err := next.err
	if err == nil {
		c.current = next.underWay
		c.before.Add(1)
		if err = c.lostBody(); err == nil {
			err = c.hold()
		}
	}
	elapsed += time.Since(woken)
	if err == nil && c.ctx.Err() == nil && !c.isLate(elapsed) {
		c.results.restore(c.request)
		c.current.stage = ready
		return
	}
	if next.err == nil {
		c.current.pass.done(false)
		c.before.Add(-1)
	}
	c.current, c.request.URL = last, next.before
	switch {
	case next.err != nil:
		c.breakOff(ReasonStopped, err)
	case c.ctx.Err() != nil: // in OnAttempt, or while it was held back
		c.breakOff(endedBy(c.ctx), contextError(c.ctx))
	case errors.As(err, new(*CooldownError)):
		c.breakOff(ReasonCooldown, nil)
	case err == nil: // OnAttempt or the Target took long
		c.breakOff(ReasonElapsed, nil)
	default:
		c.breakOff(ReasonBody, err)
	}
}

// isLate reports whether no attempt may start so long after the first one.
func (c *call) isLate(elapsed time.Duration) bool {
	return c.policy.MaxElapsed > 0 && elapsed > c.policy.MaxElapsed
}

// stop makes Resty end its loop now, with the last response and the error of the
// call. An error returned to Resty instead would be dropped where the attempt
// itself had one, and could not be nil. So the context that Resty looks at ends,
// and Resty, which is about to wait, returns the context's error.
func (c *call) stop() (time.Duration, error) {
	final := c.current.final
	if final == nil {
		final = c.current.err
	}
	if watched := c.current.watched; watched != nil {
		watched.stop(final)
		if c.seen.Done() == closed { // otherwise a callback has put one before ours that ends by itself
			c.request.SetContext(&requestContext{call: c, values: watched.values})
			return time.Hour, nil // does not begin
		}
	}
	if final == nil {
		final = errors.New("restyretry: a condition outside the plugin asked for a retry that is not allowed")
	}
	return 0, final
}

// finish ends the call: it puts the request back as it was and tells everyone.
// It does nothing the second time.
func (c *call) finish(resp *resty.Response, err error, panicked bool) {
	if c.over.Load() {
		return
	}
	c.conclude(resp, err, panicked)
	if c.current.pass != nil { // and has not been told
		c.current.pass.done(false)
	}
	c.over.Store(true)
	if panicked {
		c.closeResponses() // nobody gets them
	}
	c.putBack()
	c.policy.plugin.stats.count(c.attempts)
	c.onDone()
}

func (c *call) closeResponses() {
	for _, a := range c.attempts {
		closeRaw(a.Response)
	}
}

// conclude makes sure that the last attempt is in the history, with the reason
// why it was the last.
func (c *call) conclude(resp *resty.Response, err error, panicked bool) {
	switch {
	case panicked && len(c.attempts) > 0 && c.last().Reason == "": // while it was decided
		c.before.Store(int32(c.last().Number) - 1)
		c.last().Reason = ReasonPanic
	case c.current.stage == ready && resp != nil: // ended in the last nanosecond of the wait
		c.before.Add(-1)
		c.last().Reason = endedBy(c.ctx)
	case c.current.stage != reported:
		c.reportLate(resp, err, panicked)
	case panicked:
		c.last().Reason = ReasonPanic
	case c.current.retrying: // Resty's wait was cancelled
		c.last().Reason = ReasonCancelled
	}
}

// reportLate reports an attempt after which Resty did not ask for a decision.
func (c *call) reportLate(resp *resty.Response, err error, panicked bool) {
	if panicked && c.current.response != nil { // it has been ended
		resp = c.current.response
	} else {
		c.endAttempt(resp, err)
	}
	if c.policy.Cooldown != nil && !panicked {
		c.tellCooldown()
	}
	c.record(resp, err, panicked)
	v := verdict{reason: ReasonCancelled, wanted: c.current.wanted} // by a context that a middleware put before ours
	switch {
	case panicked:
		v.reason = ReasonPanic
	case errors.As(c.current.refusal, new(*CooldownError)):
		v.reason = ReasonCooldown
	case errors.As(c.current.refusal, new(brokenOff)):
		v.reason = endedBy(c.ctx)
	case resp == nil && c.current.refusal != nil:
		v.reason = ReasonStopped
	case resp == nil:
		v.reason = ReasonNotSent
	case succeededWith(*c.last()):
		v.reason = ReasonSucceeded
	case c.ctx.Err() != nil:
		v.reason = endedBy(c.ctx)
	}
	c.follow(v)
}

// putBack undoes what OnAttempt and we have done to the request, but for its
// URL, which tells where the last attempt went. Without OnAttempt the header
// fields stay that Resty has added.
func (c *call) putBack() {
	r := c.request
	c.left, c.earlier = r.URL, nil
	c.closeBodies()
	c.payload.putContentBack(r)
	if c.initial != nil {
		c.initial.restore(r)
	}
	r.SetContext(c.ctx)
	if r.RawRequest == nil {
		r.RawRequest = &http.Request{Method: r.Method, URL: &url.URL{}, Header: http.Header{}} // never made
	}
	if callIn(r.RawRequest.Context()) != c {
		// For History. The transport may still be reading the request itself.
		r.RawRequest = r.RawRequest.WithContext(&attemptContext{Context: c.ctx, call: c, number: int32(c.number())})
	}
}

// streamed returns the response whose body the caller will read from the
// connection, or nil: Resty has read the body, or has failed.
func (c *call) streamed() *http.Response {
	if c.current.response == nil || c.current.err != nil || c.current.read {
		return nil
	}
	return c.current.response.RawResponse
}

// sleep waits until d has passed or the context has ended.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// contextError is the error of a context that has ended, with the cause if it has one
// of its own.
func contextError(ctx context.Context) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != err {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// endedBy is how a context ended, as a Reason.
func endedBy(ctx context.Context) Reason {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ReasonDeadline
	}
	return ReasonCancelled
}
