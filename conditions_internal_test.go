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

var errDecode = errors.New("decoding failed")

// answered is an outcome of a GET that was answered with this status.
func answered(status int, changes ...func(*outcome)) outcome {
	resp := &resty.Response{
		Request:     &resty.Request{Method: http.MethodGet},
		RawResponse: &http.Response{StatusCode: status, Header: make(http.Header)},
	}
	o := outcome{
		Attempt:    Attempt{Number: 1, Max: 3, Method: http.MethodGet, Response: resp, Request: resp.Request, sent: true},
		replayable: true, ctx: context.Background(), clock: func() time.Time { return time.Unix(1000, 0) }, began: time.Unix(999, 0),
	}
	for _, change := range changes {
		change(&o)
	}
	return o
}

// broken is an outcome of a GET that got no response.
func broken(err error, changes ...func(*outcome)) outcome {
	return answered(0, append([]func(*outcome){func(o *outcome) {
		o.Response.RawResponse = nil
		o.err, o.Err, o.partial = err, err, true
	}}, changes...)...)
}

func header(name, value string) func(*outcome) {
	return func(o *outcome) { o.Response.RawResponse.Header.Set(name, value) }
}

func post(o *outcome) { o.Method = http.MethodPost }

func elsewhere(o *outcome) { o.elsewhere = func() bool { return true } }

func open(o *outcome) { o.open = true }

func number(n int) func(*outcome) { return func(o *outcome) { o.Number = n } }

func within(ctx context.Context) func(*outcome) { return func(o *outcome) { o.ctx = ctx } }

// The rows stand in the order in which the rules apply.
func TestDecide(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	until := func(second int64) func(*outcome) {
		ctx, cancel := context.WithDeadline(t.Context(), time.Unix(second, 0))
		t.Cleanup(cancel)
		return within(deadlineOnly{ctx, time.Unix(second, 0)})
	}
	yes := func(Attempt) bool { return true }
	retry := func(reason Reason, wait time.Duration) verdict {
		return verdict{retry: true, wanted: true, reason: reason, wait: wait}
	}
	refused := func(reason Reason) verdict { return verdict{wanted: true, reason: reason} }
	over := func(reason Reason) verdict { return verdict{reason: reason} }
	const wait = 2 * time.Second
	tests := []struct {
		name    string
		outcome outcome
		option  func(*Options)
		want    verdict
	}{
		// Does anything ask for a retry?
		{"200", answered(200), nil, over(ReasonSucceeded)},
		{"404", answered(404), nil, over(ReasonNotRetryable)},
		{"501", answered(501), nil, over(ReasonNotRetryable)},
		{"503", answered(503), nil, retry(ReasonStatus, wait)},
		{"429", answered(429), nil, retry(ReasonStatus, wait)},
		{"status of the options", answered(404), func(o *Options) { o.Statuses = []int{404} }, retry(ReasonStatus, wait)},
		{"no server errors", answered(503), func(o *Options) { o.ServerErrors = false }, over(ReasonNotRetryable)},
		{"the server says yes", answered(409, header("X-Should-Retry", "true")), nil, retry(ReasonServer, wait)},
		{"the server says yes of a 200", answered(200, header("X-Should-Retry", "true")), nil, over(ReasonSucceeded)},
		{"transient error", broken(io.EOF), nil, retry(ReasonError, wait)},
		{"final error", broken(context.Canceled), nil, over(ReasonNotRetryable)},
		{"Errors is nil", broken(io.EOF), func(o *Options) { o.Errors = nil }, over(ReasonNotRetryable)},
		{"error after the response", answered(200, func(o *outcome) { o.err, o.Err = errDecode, errDecode }), nil, over(ReasonNotRetryable)},
		{"a body that is lost", broken(context.Canceled, func(o *outcome) { o.bodyLost = true }), nil, verdict{reason: ReasonBody, err: errBodyLost}},
		{"RetryIf", answered(200), func(o *Options) { o.RetryIf = yes }, retry(ReasonCondition, wait)},
		{"a condition outside", answered(200, func(o *outcome) { o.asked = true }), nil, retry(ReasonCondition, wait)},
		{"status before condition", answered(503, func(o *outcome) { o.asked = true }), nil, retry(ReasonStatus, wait)},

		// Does anything stand against it?
		{"cancelled, 503", answered(503, within(cancelled)), nil, verdict{wanted: true, reason: ReasonCancelled, err: context.Canceled}},
		{"cancelled, 200", answered(200, within(cancelled)), nil, over(ReasonSucceeded)},
		{"cancelled, 404", answered(404, within(cancelled)), nil, over(ReasonCancelled)},
		{"cancelled, its own error", broken(context.Canceled, within(cancelled)), nil, over(ReasonCancelled)},
		{"cancelled before Unless", answered(503, within(cancelled)), func(o *Options) { o.Unless = yes }, verdict{wanted: true, reason: ReasonCancelled, err: context.Canceled}},
		{"Unless", answered(503), func(o *Options) { o.Unless = yes }, refused(ReasonUnless)},
		{"Unless before the server", answered(503, header("X-Should-Retry", "false")), func(o *Options) { o.Unless = yes }, refused(ReasonUnless)},
		{"the server says no", answered(503, header("X-Should-Retry", "false")), nil, refused(ReasonServer)},
		{"the server before the method", answered(503, post, header("X-Should-Retry", "false")), nil, refused(ReasonServer)},
		{"POST", answered(503, post), nil, refused(ReasonMethod)},
		{"POST with a key", answered(503, post, func(o *outcome) { o.keyed = true }), nil, retry(ReasonStatus, wait)},
		{"POST that was refused", answered(429, post), nil, retry(ReasonStatus, wait)},
		{"POST that was refused, but not by these options", answered(429, post), func(o *Options) { o.Refused = nil }, refused(ReasonMethod)},
		{"POST that was not sent", broken(io.EOF, post, func(o *outcome) { o.unsent = true }), nil, retry(ReasonError, wait)},
		{"POST of which the server says yes", answered(503, post, header("X-Should-Retry", "true")), nil, retry(ReasonServer, wait)},
		{"POST in Methods", answered(503, post), func(o *Options) { o.Methods = []string{"post"} }, retry(ReasonStatus, wait)},
		{"method before attempts", answered(503, post, number(3)), nil, refused(ReasonMethod)},
		{"last attempt", answered(503, number(3)), nil, refused(ReasonAttempts)},
		{"attempts before body", answered(503, number(3), func(o *outcome) { o.replayable = false }), nil, refused(ReasonAttempts)},
		{"a body that cannot be sent again", answered(503, func(o *outcome) { o.replayable = false }), nil, refused(ReasonBody)},
		{"body before server-wait", answered(503, header("Retry-After", "61"), func(o *outcome) { o.replayable = false }), nil, refused(ReasonBody)},
		{"Retry-After", answered(503, header("Retry-After", "3")), nil, retry(ReasonStatus, 3*time.Second)},
		{"Retry-After of MaxServerWait", answered(503, header("Retry-After", "60")), nil, retry(ReasonStatus, 60*time.Second)},
		{"Retry-After above MaxServerWait", answered(503, header("Retry-After", "61")), nil, refused(ReasonServerWait)},
		{"Retry-After is not asked for", answered(503, header("Retry-After", "61")), func(o *Options) { o.MaxServerWait = 0 }, retry(ReasonStatus, wait)},
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
		{"deadline before elapsed", answered(503, until(1002)), func(o *Options) { o.MaxElapsed = time.Second }, refused(ReasonDeadline)},
		{"elapsed", answered(503), func(o *Options) { o.MaxElapsed = 3*time.Second - 1 }, refused(ReasonElapsed)},
		{"elapsed after the wait", answered(503), func(o *Options) { o.MaxElapsed = 3 * time.Second }, retry(ReasonStatus, wait)},
		{"a negative wait", answered(503), func(o *Options) { o.Wait = func(Attempt) time.Duration { return -1 } }, retry(ReasonStatus, 0)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := &policy{Options: defaults(), plugin: &Plugin{}}
			p.Wait = Constant(wait)
			p.Rand = func() float64 { return 0 }
			test.outcome.rand = p.Rand
			if test.option != nil {
				test.option(&p.Options)
			}
			got := p.decide(test.outcome)
			if !errors.Is(got.err, test.want.err) || got.err != nil && test.want.err == nil {
				t.Errorf("err: got %v, want %v", got.err, test.want.err)
			}
			got.err, test.want.err = nil, nil
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
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
func (deadlineOnly) Err() error                    { return nil }

func TestDecideAsksTheRetryAfterOfTheClient(t *testing.T) {
	errStop := errors.New("stop")
	for _, test := range []struct {
		name string
		wait time.Duration
		err  error
		want verdict
	}{
		{"a wait", 7 * time.Second, nil, verdict{retry: true, wanted: true, reason: ReasonStatus, wait: 7 * time.Second}},
		{"nothing", 0, nil, verdict{retry: true, wanted: true, reason: ReasonStatus, wait: 3 * time.Second}},
		{"the longest", -1, nil, verdict{retry: true, wanted: true, reason: ReasonStatus, wait: 9 * time.Second}},
		{"an error", 0, errStop, verdict{wanted: true, reason: ReasonStopped, err: errStop}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &policy{Options: defaults(), plugin: &Plugin{found: settings{
				maxWait:    9 * time.Second,
				retryAfter: func(*resty.Client, *resty.Response) (time.Duration, error) { return test.wait, test.err },
			}}}
			o := answered(503, header("Retry-After", "3"))
			o.rand = func() float64 { return 0 }
			got := p.decide(o)
			if !errors.Is(got.err, test.want.err) {
				t.Errorf("err: got %v, want %v", got.err, test.want.err)
			}
			got.err, test.want.err = nil, nil
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestDecideSeesAPredicateThatCancels(t *testing.T) {
	for name, option := range map[string]func(*Options, context.CancelFunc){
		"RetryIf": func(o *Options, cancel context.CancelFunc) {
			o.RetryIf = func(Attempt) bool { cancel(); return true }
		},
		"Unless": func(o *Options, cancel context.CancelFunc) {
			o.Statuses, o.Unless = []int{200}, func(Attempt) bool { cancel(); return false }
		},
		"Wait": func(o *Options, cancel context.CancelFunc) {
			o.Statuses, o.Wait = []int{200}, func(Attempt) time.Duration { cancel(); return 0 }
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			p := &policy{Options: defaults(), plugin: &Plugin{}}
			option(&p.Options, cancel)
			got := p.decide(answered(200, within(ctx)))
			if got.retry || got.reason != ReasonCancelled || !errors.Is(got.err, context.Canceled) {
				t.Errorf("got %+v, want cancelled", got)
			}
		})
	}
}
