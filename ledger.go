package restyretry

import (
	"net/http"
	"time"

	"github.com/go-resty/resty/v2"
)

// A ledger remembers the attempts that have ended: the first, if it was
// answered, and a second that succeeded. Whatever else there is to remember is
// in the extras of the execution, with all attempts before it.
type ledger struct {
	first  *resty.Response // of attempt 1
	took   time.Duration   // attempt 1
	waited time.Duration   // after it
	answer *resty.Response // of the last attempt
}

// record adds an attempt that has ended.
func (e *execution) record(a Attempt) {
	e.answer = a.Response
	if !e.fits(a) {
		e.extra().past = append(e.attempts(), a)
	} else if a.Number == 1 {
		e.first, e.took, e.waited, e.reason = a.Response, a.Took, a.Wait, a.Reason.code()
	}
	e.set(judged, true)
}

// succeed records the attempt under way, which has ended with this response
// and leaves nothing to be decided.
func (e *execution) succeed(resp *resty.Response) {
	e.set(wanted|retrying|raising, false)
	switch {
	case e.number() > 2 || e.hasPast() || savesField.of(e.request):
		a := e.attempt(resp, nil)
		a.Reason = ReasonSucceeded
		e.record(a)
	case e.number() == 1:
		e.first, e.took, e.reason = resp, took(resp), ReasonSucceeded.code()
	}
	e.set(judged, true)
}

// unrecord takes the last attempt out again, to judge it anew.
func (e *execution) unrecord() Attempt {
	a := e.last()
	if e.hasPast() {
		e.past = e.past[:len(e.past)-1]
	}
	e.set(judged, false)
	return a
}

func (e *execution) hasPast() bool {
	x := e.known()
	return x != nil && len(x.past) > 0
}

// fits reports whether the ledger has room for an attempt.
func (e *execution) fits(a Attempt) bool {
	if e.hasPast() || a.Err != nil || a.Response == nil || savesField.of(e.request) {
		return false
	}
	return a.Number == 1 && sentFor(a.Response) == e.request.RawRequest || a.Number == 2 && a.Reason == ReasonSucceeded
}

// recorded is how many attempts have been recorded.
func (e *execution) recorded() int {
	if e.is(judged) {
		return e.number()
	}
	return e.number() - 1
}

// attempts returns all attempts that have been recorded.
func (e *execution) attempts() []Attempt {
	if e.hasPast() {
		return e.past
	}
	var all []Attempt
	for n := range e.recorded() {
		all = append(all, e.fromLedger(n+1))
	}
	return all
}

// last returns the last attempt that has been recorded.
func (e *execution) last() Attempt {
	if e.hasPast() {
		return e.past[len(e.past)-1]
	}
	return e.fromLedger(e.recorded())
}

// setReason changes the reason of the last attempt that has been recorded.
func (e *execution) setReason(reason Reason) {
	if e.recorded() == 1 && !e.hasPast() {
		e.reason = reason.code()
		return
	}
	all := e.attempts()
	all[len(all)-1].Reason = reason
	e.extra().past = all
}

// fromLedger makes an attempt from what the ledger knows of it.
func (e *execution) fromLedger(number int) Attempt {
	a := e.blank(number)
	a.sent = true
	raw := e.request.RawRequest
	if number == 1 {
		a.Response, a.Took, a.Wait, a.Reason = e.first, e.took, e.waited, reasons[e.reason]
		if e.number() > 1 {
			raw = sentFor(e.first)
		}
	} else {
		a.Response, a.Took, a.Reason = e.answer, took(e.answer), ReasonSucceeded
	}
	a.Start = a.Response.ReceivedAt().Add(-a.Took)
	a.Method, a.URL = raw.Method, textOf(raw.URL, e.request.URL)
	return a
}

// sentFor returns the raw request that was sent for a response, or nil where
// the transport does not tell. Redirects are followed back to the start.
func sentFor(resp *resty.Response) *http.Request {
	raw := resp.RawResponse
	for raw != nil && raw.Request != nil && raw.Request.Response != nil {
		raw = raw.Request.Response
	}
	if raw == nil {
		return nil
	}
	return raw.Request
}
