package otelretry_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

const (
	testURL = "https://user:secret@api.test/things?key=secret"
	// target is what a span says of it; TARGET in the texts below.
	target = `server.address=api.test,server.port=443,url.full=https://REDACTED:REDACTED@api.test/things?key\=REDACTED`
)

// A fate is what may become of a request, and what has to be seen of it.
type fate struct {
	name    string
	answers []any // see answering
	method  string
	option  func(*restyretry.Options)
	client  func(*resty.Client)
	timeout time.Duration // of the caller
	panics  bool
	trace   string
	metrics string
}

var fates = []fate{
	{
		name: "success", answers: []any{200},
		trace: `
			caller internal 0s-100ms {}
			  GET client 0s-100ms {http.request.method=GET,http.response.status_code=200,network.protocol.version=2,restyretry.reason=succeeded,TARGET}
`,
		metrics: `
			http.client.request.duration{http.request.method=GET,http.response.status_code=200,network.protocol.version=2,server.address=api.test,server.port=443} 1: 0.1 s
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=succeeded} 1: 1 {attempt}
`,
	},
	{
		name: "retry", answers: []any{503, 200},
		trace: `
			caller internal 0s-1.2s {}
			  GET client 0s-100ms Error {error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,restyretry.reason=status,TARGET}
			    * restyretry.wait 100ms {restyretry.reason=status,restyretry.wait=1}
			  GET client 1.1s-1.2s {http.request.method=GET,http.request.resend_count=1,http.response.status_code=200,network.protocol.version=2,restyretry.reason=succeeded,TARGET}
`,
		metrics: `
			http.client.request.duration{error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,server.address=api.test,server.port=443} 1: 0.1 s
			http.client.request.duration{http.request.method=GET,http.response.status_code=200,network.protocol.version=2,server.address=api.test,server.port=443} 1: 0.1 s
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=succeeded} 1: 2 {attempt}
			restyretry.retries{http.request.method=GET,restyretry.reason=status} 1 {retry}
			restyretry.retry.wait{http.request.method=GET,restyretry.reason=status} 1: 1 s
`,
	},
	{
		name: "give-up", answers: []any{503},
		trace: `
			caller internal 0s-2.3s {}
			  GET client 0s-100ms Error {error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,restyretry.reason=status,TARGET}
			    * restyretry.wait 100ms {restyretry.reason=status,restyretry.wait=1}
			  GET client 1.1s-1.2s Error {error.type=503,http.request.method=GET,http.request.resend_count=1,http.response.status_code=503,network.protocol.version=2,restyretry.reason=status,TARGET}
			    * restyretry.wait 1.2s {restyretry.reason=status,restyretry.wait=1}
			  GET client 2.2s-2.3s Error {error.type=503,http.request.method=GET,http.request.resend_count=2,http.response.status_code=503,network.protocol.version=2,restyretry.reason=attempts,TARGET}
`,
		metrics: `
			http.client.request.duration{error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,server.address=api.test,server.port=443} 3: 0.3 s
			restyretry.giveups{http.request.method=GET,restyretry.reason=attempts} 1 {request}
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=attempts} 1: 3 {attempt}
			restyretry.retries{http.request.method=GET,restyretry.reason=status} 2 {retry}
			restyretry.retry.wait{http.request.method=GET,restyretry.reason=status} 2: 2 s
`,
	},
	{
		name: "errors", answers: []any{&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}, errTest},
		option: func(o *restyretry.Options) {
			o.Errors = func(err error) bool { return !errors.Is(err, errTest) }
		},
		trace: `
			caller internal 0s-1.2s {}
			  GET client 0s-100ms Error "Get \"https://REDACTED:REDACTED@api.test/things?key=REDACTED\": dial tcp: connection refused" {error.type=*net.OpError,http.request.method=GET,restyretry.reason=error,TARGET}
			    * restyretry.wait 100ms {restyretry.reason=error,restyretry.wait=1}
			  GET client 1.1s-1.2s Error "Get \"https://REDACTED:REDACTED@api.test/things?key=REDACTED\": an error of the test" {error.type=*errors.errorString,http.request.method=GET,http.request.resend_count=1,restyretry.reason=not-retryable,TARGET}
`,
		metrics: `
			http.client.request.duration{error.type=*errors.errorString,http.request.method=GET,server.address=api.test,server.port=443} 1: 0.1 s
			http.client.request.duration{error.type=*net.OpError,http.request.method=GET,server.address=api.test,server.port=443} 1: 0.1 s
			restyretry.giveups{http.request.method=GET,restyretry.reason=not-retryable} 1 {request}
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=not-retryable} 1: 2 {attempt}
			restyretry.retries{http.request.method=GET,restyretry.reason=error} 1 {retry}
			restyretry.retry.wait{http.request.method=GET,restyretry.reason=error} 1: 1 s
`,
	},
	{
		name: "timeout", answers: []any{200}, option: func(o *restyretry.Options) {
			o.AttemptTimeout, o.Attempts = 50*time.Millisecond, 1
		},
		trace: `
			caller internal 0s-50ms {}
			  GET client 0s-50ms Error "Get \"https://REDACTED:REDACTED@api.test/things?key=REDACTED\": context deadline exceeded" {error.type=timeout,http.request.method=GET,restyretry.reason=attempts,TARGET}
`,
		metrics: `
			http.client.request.duration{error.type=timeout,http.request.method=GET,server.address=api.test,server.port=443} 1: 0.05 s
			restyretry.giveups{http.request.method=GET,restyretry.reason=attempts} 1 {request}
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=attempts} 1: 1 {attempt}
`,
	},
	{
		name: "budget", answers: []any{503}, option: func(o *restyretry.Options) { o.Budget = restyretry.NewBudget(0, 0) },
		trace: `
			caller internal 0s-100ms {}
			  GET client 0s-100ms Error {error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,restyretry.reason=budget,TARGET}
`,
		metrics: `
			http.client.request.duration{error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,server.address=api.test,server.port=443} 1: 0.1 s
			restyretry.giveups{http.request.method=GET,restyretry.reason=budget} 1 {request}
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=budget} 1: 1 {attempt}
`,
	},
	{
		name: "condition", answers: []any{200}, option: func(o *restyretry.Options) {
			o.RetryIf = func(a restyretry.Attempt) bool {
				time.Sleep(200 * time.Millisecond) // no part of the attempt
				return a.Number == 1
			}
		},
		trace: `
			caller internal 0s-1.6s {}
			  GET client 0s-100ms {http.request.method=GET,http.response.status_code=200,network.protocol.version=2,restyretry.reason=condition,TARGET}
			    * restyretry.wait 100ms {restyretry.reason=condition,restyretry.wait=1}
			  GET client 1.3s-1.4s {http.request.method=GET,http.request.resend_count=1,http.response.status_code=200,network.protocol.version=2,restyretry.reason=succeeded,TARGET}
`,
		metrics: `
			http.client.request.duration{http.request.method=GET,http.response.status_code=200,network.protocol.version=2,server.address=api.test,server.port=443} 2: 0.2 s
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=succeeded} 1: 2 {attempt}
			restyretry.retries{http.request.method=GET,restyretry.reason=condition} 1 {retry}
			restyretry.retry.wait{http.request.method=GET,restyretry.reason=condition} 1: 1 s
`,
	},
	{
		name: "cancelled while waiting", answers: []any{503}, timeout: 400 * time.Millisecond,
		trace: `
			caller internal 0s-400ms {}
			  * restyretry.end 400ms {restyretry.attempts=1,restyretry.reason=cancelled}
			  GET client 0s-100ms Error {error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,restyretry.reason=status,TARGET}
			    * restyretry.wait 100ms {restyretry.reason=status,restyretry.wait=1}
`,
		metrics: `
			http.client.request.duration{error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,server.address=api.test,server.port=443} 1: 0.1 s
			restyretry.giveups{http.request.method=GET,restyretry.reason=cancelled} 1 {request}
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=cancelled} 1: 1 {attempt}
			restyretry.retries{http.request.method=GET,restyretry.reason=status} 1 {retry}
			restyretry.retry.wait{http.request.method=GET,restyretry.reason=status} 1: 1 s
`,
	},
	{
		name: "cancelled while sending", answers: []any{200}, timeout: 30 * time.Millisecond,
		trace: `
			caller internal 0s-30ms {}
			  GET client 0s-30ms Error "Get \"https://REDACTED:REDACTED@api.test/things?key=REDACTED\": context canceled" {error.type=canceled,http.request.method=GET,restyretry.reason=cancelled,TARGET}
`,
		metrics: `
			http.client.request.duration{error.type=canceled,http.request.method=GET,server.address=api.test,server.port=443} 1: 0.03 s
			restyretry.giveups{http.request.method=GET,restyretry.reason=cancelled} 1 {request}
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=cancelled} 1: 1 {attempt}
`,
	},
	{
		name: "panic", answers: []any{503, "a panic of the test"}, panics: true,
		trace: `
			caller internal 0s-1.2s {}
			  GET client 0s-100ms Error {error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,restyretry.reason=status,TARGET}
			    * restyretry.wait 100ms {restyretry.reason=status,restyretry.wait=1}
			  GET client 1.1s-1.2s Error "panic a panic of the test" {error.type=panic,http.request.method=GET,http.request.resend_count=1,restyretry.reason=panic,TARGET}
`,
		metrics: `
			http.client.request.duration{error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,server.address=api.test,server.port=443} 1: 0.1 s
			http.client.request.duration{error.type=panic,http.request.method=GET,server.address=api.test,server.port=443} 1: 0.1 s
			restyretry.giveups{http.request.method=GET,restyretry.reason=panic} 1 {request}
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=panic} 1: 2 {attempt}
			restyretry.retries{http.request.method=GET,restyretry.reason=status} 1 {retry}
			restyretry.retry.wait{http.request.method=GET,restyretry.reason=status} 1: 1 s
`,
	},
	{
		name: "panic in another hook", answers: []any{200}, panics: true, option: func(o *restyretry.Options) {
			o.Hooks = append(o.Hooks, restyretry.Hooks{OnDone: func(restyretry.Attempt) { panic("a panic of the test") }})
		},
		trace: `
			caller internal 0s-100ms {}
			  GET client 0s-100ms {http.request.method=GET,http.response.status_code=200,network.protocol.version=2,restyretry.reason=succeeded,TARGET}
`,
		metrics: `
			http.client.request.duration{http.request.method=GET,http.response.status_code=200,network.protocol.version=2,server.address=api.test,server.port=443} 1: 0.1 s
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=succeeded} 1: 1 {attempt}
`,
	},
	{
		name: "not sent", client: func(c *resty.Client) {
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return errTest })
		},
		trace: `
			caller internal 0s-0s {}
			  * restyretry.end 0s {restyretry.attempts=0,restyretry.reason=not-sent}
`,
		metrics: `
			restyretry.giveups{http.request.method=GET,restyretry.reason=not-sent} 1 {request}
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=not-sent} 1: 0 {attempt}
`,
	},
	{
		name: "not sent again", answers: []any{503}, client: func(c *resty.Client) {
			c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
				if r.Attempt == 2 {
					return errTest
				}
				return nil
			})
		},
		trace: `
			caller internal 0s-1.1s {}
			  * restyretry.end 1.1s {restyretry.attempts=1,restyretry.reason=not-sent}
			  GET client 0s-100ms Error {error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,restyretry.reason=status,TARGET}
			    * restyretry.wait 100ms {restyretry.reason=status,restyretry.wait=1}
`,
		metrics: `
			http.client.request.duration{error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,server.address=api.test,server.port=443} 1: 0.1 s
			restyretry.giveups{http.request.method=GET,restyretry.reason=not-sent} 1 {request}
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=not-sent} 1: 1 {attempt}
			restyretry.retries{http.request.method=GET,restyretry.reason=status} 1 {retry}
			restyretry.retry.wait{http.request.method=GET,restyretry.reason=status} 1: 1 s
`,
	},
	{
		name: "refused at the last moment", answers: []any{503}, client: func(c *resty.Client) {
			c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
				if r.Attempt == 2 {
					r.URL = "http://api.test"
				}
				return nil
			}).SetAuthToken("secret")
		},
		trace: `
			caller internal 0s-1.1s {}
			  * restyretry.end 1.1s {restyretry.attempts=1,restyretry.reason=not-sent}
			  GET client 0s-100ms Error {error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,restyretry.reason=status,TARGET}
			    * restyretry.wait 100ms {restyretry.reason=status,restyretry.wait=1}
			  GET client 1.1s-1.1s Error "restyretry: a request with credentials would be moved from https to http://api.test" {error.type=*errors.errorString,http.request.method=GET,http.request.resend_count=1,restyretry.reason=not-sent,server.address=api.test,server.port=80,url.full=http://api.test}
`,
		metrics: `
			http.client.request.duration{error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,server.address=api.test,server.port=443} 1: 0.1 s
			restyretry.giveups{http.request.method=GET,restyretry.reason=not-sent} 1 {request}
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=not-sent} 1: 1 {attempt}
			restyretry.retries{http.request.method=GET,restyretry.reason=status} 1 {retry}
			restyretry.retry.wait{http.request.method=GET,restyretry.reason=status} 1: 1 s
`,
	},
	{
		name: "stopped", answers: []any{503}, option: func(o *restyretry.Options) {
			o.Hooks = append(o.Hooks, restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
				if a.Number == 2 {
					return errTest
				}
				return nil
			}})
		},
		trace: `
			caller internal 0s-1.1s {}
			  * restyretry.end 1.1s {restyretry.attempts=1,restyretry.reason=stopped}
			  GET client 0s-100ms Error {error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,restyretry.reason=status,TARGET}
			    * restyretry.wait 100ms {restyretry.reason=status,restyretry.wait=1}
`,
		metrics: `
			http.client.request.duration{error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,server.address=api.test,server.port=443} 1: 0.1 s
			restyretry.giveups{http.request.method=GET,restyretry.reason=stopped} 1 {request}
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=stopped} 1: 1 {attempt}
			restyretry.retries{http.request.method=GET,restyretry.reason=status} 1 {retry}
			restyretry.retry.wait{http.request.method=GET,restyretry.reason=status} 1: 1 s
`,
	},
	{
		name: "held back", answers: []any{503, 200},
		option: coolingFor(2 * time.Second),
		trace: `
			caller internal 0s-3.2s {}
			  GET client 2s-2.1s Error {error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,restyretry.reason=status,TARGET}
			    * restyretry.wait 2.1s {restyretry.reason=status,restyretry.wait=1}
			  GET client 3.1s-3.2s {http.request.method=GET,http.request.resend_count=1,http.response.status_code=200,network.protocol.version=2,restyretry.reason=succeeded,TARGET}
`,
		metrics: `
			http.client.request.duration{error.type=503,http.request.method=GET,http.response.status_code=503,network.protocol.version=2,server.address=api.test,server.port=443} 1: 0.1 s
			http.client.request.duration{http.request.method=GET,http.response.status_code=200,network.protocol.version=2,server.address=api.test,server.port=443} 1: 0.1 s
			restyretry.hold.duration{http.request.method=GET,restyretry.reason=status} 1: 2 s
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=succeeded} 1: 2 {attempt}
			restyretry.retries{http.request.method=GET,restyretry.reason=status} 1 {retry}
			restyretry.retry.wait{http.request.method=GET,restyretry.reason=status} 1: 1 s
`,
	},
	{
		name: "cancelled while it was held back", timeout: time.Second,
		option: coolingFor(2 * time.Second),
		trace: `
			caller internal 0s-1s {}
			  * restyretry.end 1s {restyretry.attempts=0,restyretry.reason=cancelled}
`,
		metrics: `
			restyretry.giveups{http.request.method=GET,restyretry.reason=cancelled} 1 {request}
			restyretry.hold.duration{http.request.method=GET,restyretry.reason=cancelled} 1: 1 s
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=cancelled} 1: 0 {attempt}
`,
	},
	{
		name: "not held for so long",
		option: func(o *restyretry.Options) {
			coolingFor(2 * time.Second)(o)
			o.MaxServerWait = time.Second
		},
		trace: `
			caller internal 0s-0s {}
			  * restyretry.end 0s {restyretry.attempts=0,restyretry.reason=cooldown}
`,
		metrics: `
			restyretry.giveups{http.request.method=GET,restyretry.reason=cooldown} 1 {request}
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=cooldown} 1: 0 {attempt}
`,
	},
	{
		name: "unknown method", answers: []any{503}, method: "BREW",
		trace: `
			caller internal 0s-100ms {}
			  HTTP client 0s-100ms Error {error.type=503,http.request.method=_OTHER,http.request.method_original=BREW,http.response.status_code=503,network.protocol.version=2,restyretry.reason=method,TARGET}
`,
		metrics: `
			http.client.request.duration{error.type=503,http.request.method=_OTHER,http.response.status_code=503,network.protocol.version=2,server.address=api.test,server.port=443} 1: 0.1 s
			restyretry.giveups{http.request.method=_OTHER,restyretry.reason=method} 1 {request}
			restyretry.request.attempts{http.request.method=_OTHER,restyretry.reason=method} 1: 1 {attempt}
`,
	},
}

// coolingFor has the server cool down. It does so for as long as it may, so that
// all may go at its end.
func coolingFor(d time.Duration) func(*restyretry.Options) {
	return func(o *restyretry.Options) {
		o.Cooldown = &restyretry.Cooldown{Max: d}
		o.Cooldown.Hold("https://api.test", time.Hour)
	}
}

func TestEveryFateIsSeen(t *testing.T) {
	for _, f := range fates {
		t.Run(f.name, func(t *testing.T) { synctest.Test(t, f.test) })
	}
}

func (f fate) test(t *testing.T) {
	r := newRecorder()
	option := f.option
	if option == nil {
		option = func(*restyretry.Options) {}
	}
	client := install(t, answering(f.answers...), option, r.option(t))
	if f.client != nil {
		f.client(client)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if f.timeout > 0 {
		time.AfterFunc(f.timeout, cancel)
	}

	ctx, caller := r.caller(ctx)
	f.send(t, client.R().SetContext(ctx))
	caller.End()

	if got, want := r.trace(), trim(f.trace); got != want {
		t.Errorf("got the trace\n%s\nwant\n%s", got, want)
	}
	if got, want := r.metrics(t), trim(f.metrics); got != want {
		t.Errorf("got the metrics\n%s\nwant\n%s", got, want)
	}
}

func (f fate) send(t *testing.T, request *resty.Request) {
	defer func() {
		if got := recover() != nil; got != f.panics {
			t.Errorf("got a panic: %t, want %t", got, f.panics)
		}
	}()
	method := f.method
	if method == "" {
		method = resty.MethodGet
	}
	_, _ = request.Execute(method, testURL)
}

// trim takes the indentation of the test from a text, and puts in the target.
func trim(text string) string {
	return strings.NewReplacer("\t", "", "TARGET", target).Replace(strings.TrimPrefix(text, "\n"))
}
