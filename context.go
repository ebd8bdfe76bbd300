package restyretry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// A requestContext is the context of the Resty request during a call. It ends
// with the caller's, and not with one that a middleware has made for an attempt,
// whose values it keeps: Resty takes the end of the request's context for the
// caller's wish.
//
// Another one is made over it for each attempt, for Resty to watch. While Resty has the
// attempt under way, its Err is nil even if the caller's context has ended, or Resty
// would return without having asked our condition. Whoever asks for its Done has a use
// for the truth, and gets it from Err from then on. And it ends when stop says so,
// which ends Resty's loop.
type requestContext struct {
	call   *call
	values context.Context // the caller's, or what a middleware has made of it

	hiding  atomic.Bool // Resty has the attempt, and has not asked our condition yet
	stopped atomic.Bool
	final   error // once stopped
}

func (c *requestContext) Deadline() (deadline time.Time, ok bool) { return c.call.ctx.Deadline() }

func (c *requestContext) Done() <-chan struct{} {
	if c.stopped.Load() && !c.call.over.Load() {
		return closed
	}
	c.hiding.Store(false)
	return c.call.ctx.Done()
}

func (c *requestContext) Err() error {
	switch {
	case c.stopped.Load() && !c.call.over.Load():
		return c.final
	case c.hiding.Load():
		return nil
	default:
		return c.call.ctx.Err()
	}
}

func (c *requestContext) Value(key any) any {
	if c.call.over.Load() {
		return c.values.Value(key)
	}
	switch key.(type) {
	case callKey:
		return c.call
	case numberKey:
		return c.call.number()
	default:
		return c.values.Value(key)
	}
}

// stop makes the context end with an error, which may be nil.
func (c *requestContext) stop(final error) {
	c.final = final
	c.stopped.Store(true)
}

// closed is the Done of a requestContext that has been stopped.
var closed = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// watch puts a context for Resty to watch over the one that the middlewares, or Resty's
// trace, have left for the attempt.
func (c *call) watch() *requestContext {
	w := &c.watched
	if w.call != nil { // of an attempt before, or of a curl command of this one
		w = &requestContext{}
	}
	w.call, w.values = c, c.request.Context()
	w.hiding.Store(true)
	c.request.SetContext(w)
	return w
}

// stayInContext makes up for a callback that has replaced the request's context
// instead of deriving from it.
func (c *call) stayInContext() {
	if callIn(c.request.Context()) != c {
		c.request.SetContext(&requestContext{call: c, values: c.request.Context()})
	}
}

type numberKey struct{}

// An attemptContext is the context of the raw request of an attempt.
type attemptContext struct {
	context.Context // what Resty or a middleware has made for the attempt
	call            *call
	number          int32
	expired         atomic.Bool
	wire            *wire       // where it matters whether a server was reached
	timer           *time.Timer // of the AttemptTimeout
	cancel          context.CancelCauseFunc
}

// newAttemptContext makes the context of an attempt from that of its raw request.
func (c *call) newAttemptContext(hr *http.Request) *attemptContext {
	a := &c.first
	if a.call != nil {
		a = &attemptContext{}
	}
	a.Context, a.call, a.number = hr.Context(), c, int32(c.number())
	if own, ok := a.Context.(*requestContext); ok && own.call == c {
		a.Context = own.values
	}
	if !c.policy.repeats(hr.Method) || c.policy.Cooldown != nil && c.hasHosts() {
		a.wire = &wire{}
		a.Context = a.wire.watch(a.Context)
	}
	if limit := c.policy.AttemptTimeout; limit > 0 {
		a.Context, a.cancel = context.WithCancelCause(a.Context)
		a.timer = time.AfterFunc(limit, func() {
			a.expired.Store(true)
			a.cancel(attemptTimeoutError(limit))
		})
	}
	return a
}

// Err says "deadline exceeded" after an AttemptTimeout, to transports that
// return it as it is.
func (a *attemptContext) Err() error {
	if err := a.call.ctx.Err(); err != nil {
		return err
	}
	if err := a.Context.Err(); err == nil || !a.expired.Load() {
		return err
	}
	return context.DeadlineExceeded
}

func (a *attemptContext) Value(key any) any {
	switch key.(type) {
	case callKey:
		return a.call
	case numberKey:
		return int(a.number)
	default:
		return a.Context.Value(key)
	}
}

// attemptTimeoutError is the error of an attempt that took too long. It is a
// timeout, and context.DeadlineExceeded to errors.Is.
type attemptTimeoutError time.Duration

func (e attemptTimeoutError) Error() string {
	return fmt.Sprintf("restyretry: AttemptTimeout of %v exceeded", time.Duration(e))
}
func (attemptTimeoutError) Timeout() bool   { return true }
func (attemptTimeoutError) Temporary() bool { return true }
func (attemptTimeoutError) Unwrap() error   { return context.DeadlineExceeded }

// release ends the AttemptTimeout. A response that the caller streams keeps the
// context until its body is closed.
func (a *attemptContext) release(streamed *http.Response) {
	if a == nil || a.timer == nil {
		return
	}
	a.timer.Stop()
	a.timer = nil
	if streamed == nil || streamed.Body == nil {
		a.cancel(nil)
		return
	}
	body := &releasingBody{ReadCloser: streamed.Body, release: func() { a.cancel(nil) }}
	if w, ok := streamed.Body.(io.Writer); ok { // 101 Switching Protocols
		streamed.Body = &releasingConn{releasingBody: body, Writer: w}
		return
	}
	streamed.Body = body
}

type releasingBody struct {
	io.ReadCloser
	release func()
}

type releasingConn struct {
	*releasingBody
	io.Writer
}

func (b *releasingBody) Close() error {
	err := b.ReadCloser.Close()
	b.release()
	return err
}

// A wire tells what a transport has done with a request: whether it has asked
// for a connection, has begun to make one, and has written the header to one.
type wire struct{ asked, dialed, wrote atomic.Bool }

func (w *wire) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { w.asked.Store(true) },
		DNSStart:     func(httptrace.DNSStartInfo) { w.dialed.Store(true) },
		ConnectStart: func(string, string) { w.dialed.Store(true) },
		// Before the first byte leaves; WroteHeaders comes after the last.
		WroteHeaderField: func(string, []string) { w.wrote.Store(true) },
	})
}
