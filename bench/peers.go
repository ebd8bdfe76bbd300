package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/PuerkitoBio/rehttp"
	"github.com/cenkalti/backoff/v5"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/go-resty/resty/v2"
	"github.com/gojek/heimdall/v7"
	"github.com/gojek/heimdall/v7/httpclient"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/restyretry/restyretry"
	resty3 "resty.dev/v3"
)

// attempts is how often every peer that retries may send a request.
const attempts = 3

// A job is one request, said in the same words to every peer.
type job struct {
	method, url string
	body        any // nil, []byte or an io.Reader, which is good for one job
}

// reader is the body for those peers that only take a reader.
func (j *job) reader() io.Reader {
	if b, ok := j.body.([]byte); ok {
		return bytes.NewReader(b)
	}
	r, _ := j.body.(io.Reader)
	return r
}

// An answer is what came back: the status, and how long the body was that could
// be read.
type answer struct{ status, length int }

// A sender is a peer's client, ready to send.
type sender func(*job) (answer, error)

// A feature is something that a scenario asks for beyond a plain request.
type feature int

const (
	plain        feature = iota
	optionsEach          // options of one request, made for each
	optionsOnce          // options of one request, made once and used for all; only ours is asked
	urlList              // attempt n goes to the nth URL
	hooks                // a callback at each place where the peer has one
	raw                  // the response's body is left to the caller
	userContext          // a context that can be cancelled
	featureCount = iota
)

// A setup is what a peer's client has to be made for.
type setup struct {
	transport http.RoundTripper
	wait      time.Duration // between attempts; 0 or the least the peer allows
	feature   feature
	urls      []string      // of urlList
	called    *atomic.Int64 // by every hook
}

func (s setup) hook() { s.called.Add(1) }

// A peer is one way to send requests.
type peer struct {
	name    string
	retries bool
	module  string
	parses  bool                 // reads responses itself, unless told to leave them raw
	lacks   [featureCount]string // why it cannot do a feature
	rewinds bool                 // seeks back in a reader that the transport may still be reading
	connect func(setup) sender
	// hooked is how often its hooks are called for a request of two attempts.
	hooked int64
}

// Names of the peers that others are compared with.
const (
	bareName = "Resty v2"
	ownName  = "Resty v2's own retries"
	ourName  = "restyretry"
)

const (
	noOptions = "no per-request options"
	noList    = "no URL list"
	noHooks   = "no hooks"
)

// peers are all that is compared, in the order of the tables.
var peers = []peer{
	{name: "net/http", connect: connectHTTP},
	{name: bareName, module: "github.com/go-resty/resty/v2", parses: true, connect: connectResty},
	{
		name: ownName, retries: true, parses: true, connect: connectOwn, hooked: 4,
		lacks: [featureCount]string{optionsEach: noOptions, urlList: "SRV records only"},
	},
	{name: ourName, retries: true, parses: true, connect: connectOurs, hooked: 4},
	{
		name: "go-retryablehttp", module: "github.com/hashicorp/go-retryablehttp", retries: true, rewinds: true, connect: connectRetryable, hooked: 5,
		lacks: [featureCount]string{optionsEach: noOptions, urlList: noList},
	},
	{
		name: "failsafe-go", module: "github.com/failsafe-go/failsafe-go", retries: true, rewinds: true, connect: connectFailsafe, hooked: 3,
		lacks: [featureCount]string{urlList: noList},
	},
	{
		name: "rehttp", module: "github.com/PuerkitoBio/rehttp", retries: true, rewinds: true, connect: connectRehttp,
		lacks: [featureCount]string{optionsEach: noOptions, urlList: noList, hooks: noHooks},
	},
	{
		name: "heimdall", module: "github.com/gojek/heimdall/v7", retries: true, rewinds: true, connect: connectHeimdall, hooked: 4,
		lacks: [featureCount]string{optionsEach: noOptions, urlList: noList},
	},
	{
		name: "Resty v3", module: "resty.dev/v3", retries: true, parses: true, rewinds: true, connect: connectResty3, hooked: 4,
	},
	{
		name: "backoff + Resty v2", module: "github.com/cenkalti/backoff/v5", retries: true, parses: true, connect: connectBackoff, hooked: 1,
		lacks: [featureCount]string{urlList: noList},
	},
}

// peerNamed finds a peer.
func peerNamed(name string) peer {
	return peers[slices.IndexFunc(peers, func(p peer) bool { return p.name == name })]
}

// doer is what the clients around net/http have in common.
type doer func(*http.Request) (*http.Response, error)

// send makes a request for d and reads the whole response into memory, as
// Resty does.
func (d doer) send(j *job) (answer, error) {
	r, err := http.NewRequestWithContext(context.Background(), j.method, j.url, j.reader())
	if err != nil {
		return answer{}, err
	}
	return readAll(d(r))
}

func readAll(resp *http.Response, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, len(all)}, err
}

func connectHTTP(s setup) sender {
	return doer((&http.Client{Transport: s.transport}).Do).send
}

// restyRequest prepares a request of Resty v2.
func restyRequest(c *resty.Client, s setup, j *job) *resty.Request {
	return c.R().SetBody(j.body).SetDoNotParseResponse(s.feature == raw)
}

func restyAnswer(s setup, resp *resty.Response, err error) (answer, error) {
	switch {
	case err != nil:
		return answer{}, err
	case s.feature == raw:
		return readAll(resp.RawResponse, nil)
	default:
		return answer{resp.StatusCode(), len(resp.Body())}, nil
	}
}

func restyClient(s setup) *resty.Client {
	return resty.New().SetTransport(s.transport).SetLogger(silent{})
}

// silent is a logger of Resty's: it logs every failed attempt otherwise.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}

// restySender sends with a client of Resty v2 as it is, with the context ctx
// if there is one.
func restySender(c *resty.Client, s setup, ctx func() context.Context) sender {
	return func(j *job) (answer, error) {
		r := restyRequest(c, s, j)
		if ctx != nil {
			r.SetContext(ctx())
		}
		resp, err := r.Execute(j.method, j.url)
		return restyAnswer(s, resp, err)
	}
}

func connectResty(s setup) sender { return restySender(restyClient(s), s, s.context()) }

// context is the context that the userContext feature sends requests with.
func (s setup) context() func() context.Context {
	if s.feature != userContext {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	_ = cancel // for as long as the process runs
	return func() context.Context { return ctx }
}

// connectOwn is Resty's own loop, which retries statuses only by a condition.
func connectOwn(s setup) sender {
	c := restyClient(s).SetRetryCount(attempts - 1).SetRetryWaitTime(s.wait).SetRetryMaxWaitTime(s.wait)
	c.AddRetryCondition(func(resp *resty.Response, err error) bool {
		return err != nil || resp.StatusCode() >= http.StatusInternalServerError
	})
	if s.wait > 0 {
		c.SetRetryAfter(func(*resty.Client, *resty.Response) (time.Duration, error) { return s.wait, nil })
	}
	if s.feature == hooks {
		c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { s.hook(); return nil })
		c.AddRetryHook(func(*resty.Response, error) { s.hook() })
		c.OnSuccess(func(*resty.Client, *resty.Response) { s.hook() })
	}
	return restySender(c, s, s.context())
}

func connectOurs(s setup) sender {
	c := restyClient(s)
	if _, err := restyretry.Install(c, func(o *restyretry.Options) {
		o.Attempts = attempts
		o.Methods = append(o.Methods, http.MethodPost)
		o.Wait = restyretry.Constant(s.wait)
		switch s.feature {
		case urlList:
			o.URL = restyretry.URLs(s.urls...)
		case hooks:
			o.Hooks = append(o.Hooks, ourHooks(s))
		}
	}); err != nil {
		panic(err)
	}
	return restySender(c, s, ourContext(s))
}

func ourHooks(s setup) restyretry.Hooks {
	return restyretry.Hooks{
		OnAttempt: func(restyretry.Attempt) error { s.hook(); return nil },
		OnRetry:   func(restyretry.Attempt) { s.hook() },
		OnDone:    func(restyretry.Attempt) { s.hook() },
	}
}

// ourContext carries the options of one request.
func ourContext(s setup) func() context.Context {
	with := func() context.Context {
		return restyretry.With(context.Background(), func(o *restyretry.Options) { o.Attempts = attempts + 1 })
	}
	switch s.feature {
	case optionsEach:
		return with
	case optionsOnce:
		once := with()
		return func() context.Context { return once }
	default:
		return s.context()
	}
}

func connectRetryable(s setup) sender {
	c := retryablehttp.NewClient()
	c.HTTPClient = &http.Client{Transport: s.transport}
	c.Logger = nil
	c.RetryMax = attempts - 1
	c.RetryWaitMin, c.RetryWaitMax = s.wait, s.wait
	if s.feature == hooks {
		c.RequestLogHook = func(retryablehttp.Logger, *http.Request, int) { s.hook() }
		c.ResponseLogHook = func(retryablehttp.Logger, *http.Response) { s.hook() }
		c.PrepareRetry = func(*http.Request) error { s.hook(); return nil }
	}
	return func(j *job) (answer, error) {
		r, err := retryablehttp.NewRequest(j.method, j.url, j.body)
		if err != nil {
			return answer{}, err
		}
		return readAll(c.Do(r))
	}
}

func connectFailsafe(s setup) sender {
	policy := func() retrypolicy.RetryPolicy[*http.Response] {
		b := failsafehttp.NewRetryPolicyBuilder().WithMaxRetries(attempts - 1).WithDelay(s.wait)
		if s.feature == hooks {
			b.OnRetryScheduled(func(failsafe.ExecutionScheduledEvent[*http.Response]) { s.hook() })
			b.OnRetry(func(failsafe.ExecutionEvent[*http.Response]) { s.hook() })
			b.OnSuccess(func(failsafe.ExecutionEvent[*http.Response]) { s.hook() })
		}
		return b.Build()
	}
	c := &http.Client{Transport: s.transport}
	if s.feature == optionsEach {
		return doer(func(r *http.Request) (*http.Response, error) {
			return failsafehttp.NewRequest(r, c, policy()).Do()
		}).send
	}
	c.Transport = failsafehttp.NewRoundTripper(s.transport, policy())
	return doer(c.Do).send
}

func connectRehttp(s setup) sender {
	again := rehttp.RetryAll(
		rehttp.RetryMaxRetries(attempts-1),
		rehttp.RetryAny(rehttp.RetryTimeoutErr(), rehttp.RetryStatusInterval(500, 600)),
	)
	c := &http.Client{Transport: rehttp.NewTransport(s.transport, again, rehttp.ConstDelay(s.wait))}
	return doer(c.Do).send
}

func connectHeimdall(s setup) sender {
	c := httpclient.NewClient(
		httpclient.WithHTTPClient(&http.Client{Transport: s.transport}),
		httpclient.WithRetryCount(attempts-1),
		httpclient.WithRetrier(heimdall.NewRetrier(heimdall.NewConstantBackoff(s.wait, 0))),
	)
	if s.feature == hooks {
		c.AddPlugin(heimdallHooks{s})
	}
	return doer(c.Do).send
}

type heimdallHooks struct{ setup }

func (h heimdallHooks) OnRequestStart(*http.Request)               { h.hook() }
func (h heimdallHooks) OnRequestEnd(*http.Request, *http.Response) { h.hook() }
func (h heimdallHooks) OnError(*http.Request, error)               { h.hook() }

func connectResty3(s setup) sender {
	c := resty3.New().SetTransport(s.transport).SetLogger(silent{}).
		SetRetryCount(attempts - 1).SetRetryWaitTime(s.wait).SetRetryMaxWaitTime(s.wait).
		SetRetryAllowNonIdempotent(true).AddRetryConditions(resty3.RetryConditionStatus5XX)
	if s.wait > 0 {
		c.SetRetryDelayStrategy(resty3.RetryConstantDelayStrategy(s.wait))
	}
	path := ""
	switch s.feature {
	case urlList:
		c, path = balanced(c, s.urls)
	case hooks:
		c.AddRequestMiddleware(func(*resty3.Client, *resty3.Request) error { s.hook(); return nil })
		c.AddRetryHooks(func(*resty3.Response, error) { s.hook() })
		c.OnSuccess(func(*resty3.Client, *resty3.Response) { s.hook() })
	}
	return func(j *job) (answer, error) {
		r := c.R().SetBody(j.body).SetResponseDoNotParse(s.feature == raw)
		if s.feature == optionsEach {
			r.SetRetryCount(attempts)
		}
		resp, err := r.Execute(j.method, cmp.Or(path, j.url))
		switch {
		case err != nil:
			return answer{}, err
		case s.feature == raw:
			return readAll(resp.RawResponse, nil)
		default:
			return answer{resp.StatusCode(), len(resp.Bytes())}, nil
		}
	}
}

// balanced gives Resty v3 a list of base URLs, which it goes through attempt by
// attempt.
func balanced(c *resty3.Client, urls []string) (*resty3.Client, string) {
	const path = "/work"
	bases := make([]string, len(urls))
	for i, u := range urls {
		bases[i] = u[:len(u)-len(path)]
	}
	balancer, err := resty3.NewRoundRobin(bases...)
	if err != nil {
		panic(err)
	}
	return c.SetLoadBalancer(balancer), path
}

var errServer = errors.New("server error")

// connectBackoff is what one writes around Resty v2 by hand.
func connectBackoff(s setup) sender {
	c := restyClient(s)
	options := func() []backoff.RetryOption {
		o := []backoff.RetryOption{
			backoff.WithBackOff(backoff.NewConstantBackOff(s.wait)),
			backoff.WithMaxTries(attempts), backoff.WithMaxElapsedTime(0),
		}
		if s.feature == hooks {
			o = append(o, backoff.WithNotify(func(error, time.Duration) { s.hook() }))
		}
		return o
	}
	once := options()
	return func(j *job) (answer, error) {
		with := once
		if s.feature == optionsEach {
			with = options()
		}
		resp, err := backoff.Retry(context.Background(), func() (*resty.Response, error) {
			resp, err := restyRequest(c, s, j).Execute(j.method, j.url)
			if err == nil && resp.StatusCode() >= http.StatusInternalServerError {
				err = errServer
			}
			return resp, err
		}, with...)
		return restyAnswer(s, resp, err)
	}
}
