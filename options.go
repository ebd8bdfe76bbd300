package restyretry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-resty/resty/v2"
)

// maxAttempts bounds Options.Attempts. It is also the number of turns after
// which Resty's own loop ends whatever a condition outside this package says.
const maxAttempts = 100

// Options is a retry policy. It is changed by plain functions, the same at
// [Install] and for one request through [With]: a later function wins,
// assignment replaces, append adds, and an explicit zero is a value.
//
// What is said of a retry holds for all reasons to retry alike: the limits
// (Attempts, Methods, Unless, MaxElapsed, the deadline of the request's
// context) apply whoever asked for it.
type Options struct {
	// Attempts is how often a request is sent at the most, the first time
	// included: 1 to 100. Default 3, or RetryCount+1 where the client had a
	// RetryCount when the plugin was installed.
	Attempts int

	// Methods are the methods that may be sent again, in any case of letters.
	// Default GET, HEAD, OPTIONS, TRACE, PUT, DELETE and QUERY, the idempotent
	// methods of RFC 9110, section 9.2.2, and of the QUERY draft. Any method
	// may be sent again when the server has refused the request (Refused), when
	// it carries an Idempotency-Key header (or that of IdempotencyHeader), when
	// the error proves that nothing of it was sent (the name was not resolved,
	// the connection or its TLS not made), or when the server says so
	// (x-should-retry: true).
	Methods []string

	// Refused are the statuses by which a server says that it has not acted on
	// the request, 100 to 599: any method may be sent again after them, if
	// something asks for a retry. They ask for none themselves; see Statuses and
	// RetryIf. Default 401, 407, 421, 425 and 429.
	Refused []int

	// Statuses are retried, 100 to 599. Default 408, 425 and 429. They are
	// added to those of ServerErrors.
	Statuses []int

	// ServerErrors retries every 5xx status but 501. Default true.
	ServerErrors bool

	// Errors says which errors of sending the request and receiving the
	// response are retried. Default [Transient]; nil retries none. It is not
	// asked about the caller's own cancellation, about a request that was never
	// sent, or about what failed after the response had been received in full
	// (decoding, OnAfterResponse); RetryIf is asked about the last of these.
	Errors func(error) bool

	// RetryIf retries an attempt that nothing else would retry, such as a 200
	// that says "pending". Default nil. It takes the place of
	// evaluate_response_callback in aiohttp_retry, with the opposite sense: true
	// means again.
	RetryIf func(Attempt) bool

	// Unless prevents a retry that would otherwise happen. Default nil.
	Unless func(Attempt) bool

	// Wait is the time from a failed attempt to the next. Default
	// FullJitter(Exponential(500ms, 30s)), or Resty's own back-off with the
	// client's wait settings where they had been changed from Resty's defaults
	// when the plugin was installed.
	Wait Strategy

	// MaxServerWait is the longest wait that a server may ask for: by
	// Retry-After and its relatives, see the README. A shorter one takes the place
	// of Wait, with up to a tenth (at most a second) added at random; a longer
	// one ends the retrying. Default 1 minute; 0 ignores what servers ask for.
	MaxServerWait time.Duration

	// Cooldown keeps requests, first attempts included, from a host that has told
	// one of them to wait. Default nil: each request finds out for itself.
	Cooldown *Cooldown

	// Budget bounds the retries of all requests together. Default nil: no bound.
	Budget *Budget

	// AttemptTimeout is the time an attempt may take until its response has
	// been read, or its header in case of SetDoNotParseResponse. A timed-out
	// attempt is retried like any other timeout. Default 0: no limit.
	AttemptTimeout time.Duration

	// MaxElapsed is the time since the start of the first attempt after which
	// no attempt is begun any more. A wait that would pass it is not begun
	// either, and an attempt under way is not cut short. Default 0: no limit.
	MaxElapsed time.Duration

	// URL says where each attempt goes: see [URLs], [BaseURLs], [Rotate] and
	// [TargetFunc]. Default nil: where the request says.
	URL Target

	// MaxReplay is how many bytes of a body that can be read only once (an
	// io.Reader that is not a file, a buffer or the like) are kept while it is
	// sent, so that it can be sent again. A longer one is sent once, in full, and
	// not retried. Default 1 MiB.
	MaxReplay int64

	// IdempotencyHeader is the name of a header field, such as Idempotency-Key,
	// that gets a random key in requests whose method is not idempotent, unless
	// they have one. The key is the same in every attempt, and makes the method
	// one that may be sent again. Set it only for servers that honour it. Default
	// "": none.
	IdempotencyHeader string

	// AttemptHeader is the name of a header field that tells the server the
	// number of the attempt, from 1. Default "": none.
	AttemptHeader string

	// RaiseForStatus turns a last response whose status is 400 or more into a
	// [*StatusError]; the response is returned as well. Default false.
	RaiseForStatus bool

	// Hooks are told of every attempt, in order. Default none.
	Hooks []Hooks

	// Logger is told of every retry (debug) and of every request that is given
	// up although it could have been retried (warn). Default nil: silent.
	Logger *slog.Logger

	// PreRequest takes the place of Resty's SetPreRequestHook, of which there
	// is one per client and which this package needs: it is called for every
	// attempt, right before it is sent. Default nil.
	PreRequest resty.PreRequestHook

	// Rand gives the strategies their random numbers, from 0 up to but not
	// including 1. It must be safe for concurrent use. Default nil: the
	// generator of math/rand/v2.
	Rand func() float64
}

// Off is an option that allows no retries.
func Off(o *Options) { o.Attempts = 1 }

// AiohttpRetry is an option with the defaults that Python's aiohttp_retry 2.9.1
// describes: 3 attempts, every method it knows, every 5xx, every transport
// error, waits of 0.1 s doubling to 30 s without jitter. (What it really does by
// default is to retry no error at all, and to wait 0.2 s first.) 501 is in
// Statuses, as ServerErrors leaves it out. It repeats requests that are not
// idempotent: an order may be placed twice.
func AiohttpRetry(o *Options) {
	o.Attempts = 3
	o.Methods = []string{
		http.MethodHead, http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodOptions,
		http.MethodTrace, http.MethodPost, http.MethodConnect, http.MethodPatch,
	}
	o.Statuses = []int{http.StatusNotImplemented}
	o.ServerErrors = true
	o.MaxServerWait = 0
	o.Errors = func(error) bool { return true }
	o.Wait = Exponential(100*time.Millisecond, 30*time.Second)
}

func defaults() Options {
	return Options{
		Attempts: 3,
		Methods:  slices.Clone(idempotentMethods),
		Refused: []int{
			http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusMisdirectedRequest,
			http.StatusTooEarly, http.StatusTooManyRequests,
		},
		Statuses:      []int{http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests},
		ServerErrors:  true,
		Errors:        Transient,
		Wait:          FullJitter(Exponential(500*time.Millisecond, 30*time.Second)),
		MaxServerWait: time.Minute,
		MaxReplay:     1 << 20,
	}
}

// with returns a copy of o after the changes. It shares no slice with o, nor
// with anything that the functions know of.
func (o Options) with(changes []func(*Options)) (Options, error) {
	o = o.clone()
	for i, change := range changes {
		if change == nil {
			return o, fmt.Errorf("restyretry: option %d is nil", i+1)
		}
		change(&o)
	}
	own := o.clone()
	return own, own.validate()
}

func (o Options) clone() Options {
	o.Methods = slices.Clone(o.Methods)
	o.Refused = slices.Clone(o.Refused)
	o.Statuses = slices.Clone(o.Statuses)
	o.Hooks = slices.Clone(o.Hooks)
	return o
}

func (o *Options) validate() error {
	if o.Attempts < 1 || o.Attempts > maxAttempts {
		return fmt.Errorf("restyretry: Attempts is %d, not from 1 to %d", o.Attempts, maxAttempts)
	}
	for _, method := range o.Methods {
		if !isToken(method) {
			return fmt.Errorf("restyretry: Methods has %q, which is not a method", method)
		}
	}
	if err := validateStatuses("Refused", o.Refused); err != nil {
		return err
	}
	if err := validateStatuses("Statuses", o.Statuses); err != nil {
		return err
	}
	if o.Wait == nil {
		return errors.New("restyretry: Wait is nil; for no wait use Constant(0)")
	}
	if o.MaxServerWait < 0 {
		return fmt.Errorf("restyretry: MaxServerWait is %v, less than 0", o.MaxServerWait)
	}
	if o.Cooldown != nil && o.Cooldown.Max < 0 {
		return fmt.Errorf("restyretry: Cooldown: Max is %v, less than 0", o.Cooldown.Max)
	}
	if err := o.Budget.validate(); err != nil {
		return fmt.Errorf("restyretry: Budget: %w", err)
	}
	if err := validateHeader("IdempotencyHeader", o.IdempotencyHeader); err != nil {
		return err
	}
	if err := validateHeader("AttemptHeader", o.AttemptHeader); err != nil {
		return err
	}
	if o.AttemptTimeout < 0 {
		return fmt.Errorf("restyretry: AttemptTimeout is %v, less than 0", o.AttemptTimeout)
	}
	if o.MaxElapsed < 0 {
		return fmt.Errorf("restyretry: MaxElapsed is %v, less than 0", o.MaxElapsed)
	}
	if o.MaxReplay < 0 {
		return fmt.Errorf("restyretry: MaxReplay is %d, less than 0", o.MaxReplay)
	}
	if list, ok := o.URL.(validator); ok {
		if err := list.validate(); err != nil {
			return fmt.Errorf("restyretry: URL: %w", err)
		}
	}
	return nil
}

func validateStatuses(option string, statuses []int) error {
	for _, status := range statuses {
		if status < 100 || status > 599 {
			return fmt.Errorf("restyretry: %s has %d, not from 100 to 599", option, status)
		}
	}
	return nil
}

// fieldsOfOthers are header fields that net/http, Resty or the connection give a
// meaning of their own (RFC 9110, sections 7.6.1 and 8; RFC 9112, section 6).
var fieldsOfOthers = []string{
	"Accept-Encoding", "Authorization", "Connection", "Content-Encoding", "Content-Length", "Content-Type",
	"Cookie", "Expect", "Host", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer",
	"Transfer-Encoding", "Upgrade", "User-Agent",
}

func validateHeader(option, name string) error {
	switch {
	case name == "":
		return nil
	case !isToken(name):
		return fmt.Errorf("restyretry: %s is %q, which is not the name of a header field", option, name)
	case slices.ContainsFunc(fieldsOfOthers, func(f string) bool { return strings.EqualFold(f, name) }):
		return fmt.Errorf("restyretry: %s is %q, which has a meaning of its own", option, name)
	default:
		return nil
	}
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case slices.Contains([]byte("!#$%&'*+-.^_`|~"), c):
		default:
			return false
		}
	}
	return s != ""
}

// retriesSuccess reports whether a response that Resty decodes into the
// request's result may be followed by another.
func (o *Options) retriesSuccess() bool {
	return o.RetryIf != nil || slices.ContainsFunc(o.Statuses, func(s int) bool { return s < 300 })
}

// needsHook reports whether o asks for something that only Resty's pre-request
// hook can do.
func (o *Options) needsHook() bool {
	return o.AttemptTimeout > 0 || o.PreRequest != nil || o.IdempotencyHeader != "" || o.AttemptHeader != ""
}

// A policy is one set of options of one plugin. It is never changed.
type policy struct {
	Options
	plugin    *Plugin
	onAttempt bool // one of the hooks has one
}

// policy makes a policy of changed options.
func (p *Plugin) policy(base Options, changes []func(*Options)) (*policy, error) {
	o, err := base.with(changes)
	if err != nil {
		return nil, err
	}
	onAttempt := slices.ContainsFunc(o.Hooks, func(h Hooks) bool { return h.OnAttempt != nil })
	return &policy{Options: o, plugin: p, onAttempt: onAttempt}, nil
}

// With returns a context that changes the options of the requests made with
// it. Nested calls add up, the innermost last. The functions need not run for
// each request anew: what they made is kept for the next one on the same
// client. What they make invalid is the error of the request, before anything
// is sent.
func With(ctx context.Context, opts ...func(*Options)) context.Context {
	if outer, ok := ctx.Value(overridesKey{}).(*overrides); ok {
		opts = append(slices.Clip(outer.changes), opts...)
	}
	return &overrides{Context: ctx, changes: slices.Clone(opts)}
}

type overridesKey struct{}

// overrides is the context that With makes. It keeps the last policy that was
// made from it, because a context is often used for many requests.
type overrides struct {
	context.Context
	changes []func(*Options)
	cached  atomic.Pointer[resolved]
}

type resolved struct {
	base, policy *policy
	err          error
}

func (o *overrides) Value(key any) any {
	if key == (overridesKey{}) {
		return o
	}
	return o.Context.Value(key)
}

// within returns what a policy becomes for a request with this context.
func (p *policy) within(ctx context.Context) (*policy, error) {
	o, ok := ctx.Value(overridesKey{}).(*overrides)
	if !ok {
		return p, nil
	}
	r := o.cached.Load()
	if r == nil || r.base != p {
		r = &resolved{base: p}
		r.policy, r.err = p.plugin.policy(p.Options, o.changes)
		o.cached.Store(r)
	}
	return r.policy, r.err
}

// idempotentMethods are those of RFC 9110, section 9.2.2, and QUERY of
// draft-ietf-httpbis-safe-method-w-body.
var idempotentMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace,
	http.MethodPut, http.MethodDelete, "QUERY",
}
