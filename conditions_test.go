package restyretry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"
)

// The rows stand in the order in which the rules apply. It is 1000 s after 1970, a
// second after the first attempt, and nothing is random.
func TestAVerdictFollowsTheRulesInTheirOrder(t *testing.T) {
	const wait = 2 * time.Second
	errDecode, errStop := errors.New("decoding failed"), errors.New("stop")

	// What became of the attempt.
	type change = func(*outcome)
	answered := func(status int, changes ...change) outcome {
		resp := &resty.Response{
			Request:     &resty.Request{Method: http.MethodGet},
			RawResponse: &http.Response{StatusCode: status, Header: make(http.Header)},
		}
		o := outcome{
			Attempt:    Attempt{Number: 1, Max: 3, Method: http.MethodGet, Response: resp, Request: resp.Request, sent: true},
			replayable: true, ctx: context.Background(), clock: func() time.Time { return time.Unix(1000, 0) }, began: time.Unix(999, 0),
		}
		o.rand = func() float64 { return 0 }
		for _, change := range changes {
			change(&o)
		}
		return o
	}
	broken := func(err error, changes ...change) outcome {
		return answered(0, append([]change{func(o *outcome) {
			o.Response.RawResponse = nil
			o.err, o.Err, o.partial = err, err, true
		}}, changes...)...)
	}
	header := func(name, value string) change {
		return func(o *outcome) { o.Response.RawResponse.Header.Set(name, value) }
	}
	post := func(o *outcome) { o.Method = http.MethodPost }
	last := func(o *outcome) { o.Number = 3 }
	bodyLost := func(o *outcome) { o.bodyLost = true }
	notReplayable := func(o *outcome) { o.replayable = false }
	outside := func(o *outcome) { o.asked = true }
	elsewhere := func(o *outcome) { o.elsewhere = func() bool { return true } }
	open := func(o *outcome) { o.open = true }
	cancellable := func(o *outcome) {
		ctx, cancel := context.WithCancel(t.Context())
		o.ctx, o.Request.Body = ctx, cancel
	}
	cancel := func(a Attempt) bool { a.Request.Body.(context.CancelFunc)(); return true }
	cancelled := func(o *outcome) { cancellable(o); cancel(o.Attempt) }
	until := func(second int64) change {
		return func(o *outcome) { o.ctx = deadlineOnly{t.Context(), time.Unix(second, 0)} }
	}

	// What the options say.
	yes := func(Attempt) bool { return true }
	statuses := func(list ...int) func(*policy) { return func(p *policy) { p.Statuses = list } }
	unless := func(p *policy) { p.Unless = yes }
	elapsed := func(d time.Duration) func(*policy) { return func(p *policy) { p.MaxElapsed = d } }
	retryAfter := func(d time.Duration, err error) func(*policy) {
		return func(p *policy) {
			p.plugin.found.maxWait = 9 * time.Second
			p.plugin.found.retryAfter = func(*resty.Client, *resty.Response) (time.Duration, error) { return d, err }
		}
	}

	retry := func(reason Reason, wait time.Duration) verdict {
		return verdict{retry: true, wanted: true, reason: reason, wait: wait}
	}
	refused := func(reason Reason) verdict { return verdict{wanted: true, reason: reason} }
	over := func(reason Reason) verdict { return verdict{reason: reason} }
	stopped := verdict{wanted: true, reason: ReasonCancelled, err: context.Canceled}

	for _, tt := range []struct {
		name    string
		outcome outcome
		options func(*policy)
		want    verdict
	}{
		// Does anything ask for a retry?
		{"200", answered(200), nil, over(ReasonSucceeded)},
		{"404", answered(404), nil, over(ReasonNotRetryable)},
		{"501", answered(501), nil, over(ReasonNotRetryable)},
		{"503", answered(503), nil, retry(ReasonStatus, wait)},
		{"429", answered(429), nil, retry(ReasonStatus, wait)},
		{"status of the options", answered(404), statuses(404), retry(ReasonStatus, wait)},
		{"no server errors", answered(503), func(p *policy) { p.ServerErrors = false }, over(ReasonNotRetryable)},
		{"the server says yes", answered(409, header("X-Should-Retry", "true")), nil, retry(ReasonServer, wait)},
		{"the server says yes of a 200", answered(200, header("X-Should-Retry", "true")), nil, over(ReasonSucceeded)},
		{"transient error", broken(io.EOF), nil, retry(ReasonError, wait)},
		{"final error", broken(context.Canceled), nil, over(ReasonNotRetryable)},
		{"Errors is nil", broken(io.EOF), func(p *policy) { p.Errors = nil }, over(ReasonNotRetryable)},
		{"error after the response", answered(200, func(o *outcome) { o.err, o.Err = errDecode, errDecode }), nil, over(ReasonNotRetryable)},
		{"a body that is lost", broken(context.Canceled, bodyLost), nil, verdict{reason: ReasonBody, err: errBodyLost}},
		{"RetryIf", answered(200), func(p *policy) { p.RetryIf = yes }, retry(ReasonCondition, wait)},
		{"a condition outside", answered(200, outside), nil, retry(ReasonCondition, wait)},
		{"status before condition", answered(503, outside), nil, retry(ReasonStatus, wait)},

		// Does anything stand against it?
		{"cancelled, 503", answered(503, cancelled), nil, stopped},
		{"cancelled, 200", answered(200, cancelled), nil, over(ReasonSucceeded)},
		{"cancelled, 404", answered(404, cancelled), nil, over(ReasonCancelled)},
		{"cancelled, its own error", broken(context.Canceled, cancelled), nil, over(ReasonCancelled)},
		{"cancelled before Unless", answered(503, cancelled), unless, stopped},
		{"cancelled by RetryIf", answered(200, cancellable), func(p *policy) { p.RetryIf = cancel }, stopped},
		{"cancelled by Unless", answered(503, cancellable), func(p *policy) { p.Unless = func(a Attempt) bool { return !cancel(a) } }, stopped},
		{"cancelled by Wait", answered(503, cancellable), func(p *policy) { p.Wait = func(a Attempt) time.Duration { cancel(a); return 0 } }, stopped},
		{"Unless", answered(503), unless, refused(ReasonUnless)},
		{"Unless before the server", answered(503, header("X-Should-Retry", "false")), unless, refused(ReasonUnless)},
		{"the server says no", answered(503, header("X-Should-Retry", "false")), nil, refused(ReasonServer)},
		{"the server says no of a 200 that is retried", answered(200, header("X-Should-Retry", "false")), statuses(200), refused(ReasonServer)},
		{"the server says no, and nothing asks", answered(404, header("X-Should-Retry", "false")), nil, over(ReasonNotRetryable)},
		{"the server before the method", answered(503, post, header("X-Should-Retry", "false")), nil, refused(ReasonServer)},
		{"POST", answered(503, post), nil, refused(ReasonMethod)},
		{"POST with a key", answered(503, post, func(o *outcome) { o.keyed = true }), nil, retry(ReasonStatus, wait)},
		{"POST that was refused", answered(429, post), nil, retry(ReasonStatus, wait)},
		{"POST that was refused, but not by these options", answered(429, post), func(p *policy) { p.Refused = nil }, refused(ReasonMethod)},
		{"POST that was not sent", broken(io.EOF, post, func(o *outcome) { o.unsent = true }), nil, retry(ReasonError, wait)},
		{"POST of which the server says yes", answered(503, post, header("X-Should-Retry", "true")), nil, retry(ReasonServer, wait)},
		{"POST in Methods", answered(503, post), func(p *policy) { p.Methods = []string{"post"} }, retry(ReasonStatus, wait)},
		{"method before attempts", answered(503, post, last), nil, refused(ReasonMethod)},
		{"last attempt", answered(503, last), nil, refused(ReasonAttempts)},
		{"attempts before body", answered(503, last, notReplayable), nil, refused(ReasonAttempts)},
		{"a body that cannot be sent again", answered(503, notReplayable), nil, refused(ReasonBody)},
		{"body before RetryAfter", answered(503, notReplayable), retryAfter(0, errStop), refused(ReasonBody)},

		// How long is the wait, and does it fit in?
		{"RetryAfter of the client", answered(503, header("Retry-After", "3")), retryAfter(7*time.Second, nil), retry(ReasonStatus, 7*time.Second)},
		{"RetryAfter without an opinion", answered(503, header("Retry-After", "3")), retryAfter(0, nil), retry(ReasonStatus, 3*time.Second)},
		{"RetryAfter of the longest wait", answered(503), retryAfter(-1, nil), retry(ReasonStatus, 9*time.Second)},
		{"RetryAfter with an error", answered(503, header("Retry-After", "61")), retryAfter(0, errStop), verdict{wanted: true, reason: ReasonStopped, err: errStop}},
		{"Retry-After", answered(503, header("Retry-After", "3")), nil, retry(ReasonStatus, 3*time.Second)},
		{"Retry-After of MaxServerWait", answered(503, header("Retry-After", "60")), nil, retry(ReasonStatus, 60*time.Second)},
		{"Retry-After above MaxServerWait", answered(503, header("Retry-After", "61")), nil, refused(ReasonServerWait)},
		{"Retry-After is not asked for", answered(503, header("Retry-After", "61")), func(p *policy) { p.MaxServerWait = 0 }, retry(ReasonStatus, wait)},
		{"Retry-After binds no other host", answered(503, header("Retry-After", "61"), elsewhere), nil, retry(ReasonStatus, wait)},
		{
			"Retry-After, only OnAttempt knows the host", answered(503, header("Retry-After", "3"), open), nil,
			verdict{retry: true, wanted: true, reason: ReasonStatus, wait: 3 * time.Second, stay: &stay{elsewhere: wait}},
		},
		{
			"Retry-After above MaxServerWait, only OnAttempt knows the host", answered(503, header("Retry-After", "61"), open), nil,
			verdict{retry: true, wanted: true, reason: ReasonStatus, wait: wait, stay: &stay{reason: ReasonServerWait, elsewhere: wait}},
		},
		{"deadline before either wait", answered(503, header("Retry-After", "61"), open, until(1002)), nil, refused(ReasonDeadline)},
		{"server-wait before deadline", answered(503, header("Retry-After", "61"), until(1001)), nil, refused(ReasonServerWait)},
		{"deadline", answered(503, until(1002)), nil, refused(ReasonDeadline)},
		{"deadline after the wait", answered(503, until(1003)), nil, retry(ReasonStatus, wait)},
		{"deadline before elapsed", answered(503, until(1002)), elapsed(time.Second), refused(ReasonDeadline)},
		{"elapsed", answered(503), elapsed(3*time.Second - 1), refused(ReasonElapsed)},
		{"elapsed after the wait", answered(503), elapsed(3 * time.Second), retry(ReasonStatus, wait)},
		{"a negative wait", answered(503), func(p *policy) { p.Wait = Constant(-1) }, retry(ReasonStatus, 0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &policy{Options: defaults(), plugin: &Plugin{}}
			p.Wait = Constant(wait)
			if tt.options != nil {
				tt.options(p)
			}
			got := p.decide(tt.outcome)
			if !errors.Is(got.err, tt.want.err) || got.err != nil && tt.want.err == nil {
				t.Errorf("got the error %v, want %v", got.err, tt.want.err)
			}
			got.err, tt.want.err = nil, nil
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// deadlineOnly has a deadline and does not end.
type deadlineOnly struct {
	context.Context
	at time.Time
}

func (d deadlineOnly) Deadline() (time.Time, bool) { return d.at, true }

func TestAStatusErrorSaysWhatHappened(t *testing.T) {
	p := &policy{Options: defaults(), plugin: &Plugin{}}
	p.RaiseForStatus = true
	resp := &resty.Response{RawResponse: &http.Response{StatusCode: 503}}
	o := outcome{
		Attempt: Attempt{Number: 3, Max: 3, Method: "GET", URL: "http://api.test/x?token=REDACTED", Response: resp},
		ctx:     context.Background(), clock: time.Now, replayable: true,
	}
	err := p.decide(o).err
	if want := (StatusError{503, "GET", o.URL, 3, 3, ReasonAttempts}); err == nil || *err.(*StatusError) != want {
		t.Fatalf("got %#v, want %#v", err, want)
	}
	const want = "restyretry: GET http://api.test/x?token=REDACTED: 503 Service Unavailable after 3 of 3 attempts (attempts)"
	if got := err.Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
