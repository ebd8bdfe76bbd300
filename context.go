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

// A plainAttempt is the context of the raw request of a first attempt that has
// no execution.
type plainAttempt struct {
	context.Context
	policy *policy
}

func (a *plainAttempt) Value(key any) any {
	switch key {
	case attemptKey{}:
		return uint8(1)
	case plainKey{}:
		return a.policy
	case hookedKey{}:
		return true
	}
	return a.Context.Value(key)
}

// plainIn returns the context of a plain attempt with the values of ctx, which
// is Resty's for the trace if it is any.
func (p *policy) plainIn(ctx context.Context) *plainAttempt {
	if isBackground(ctx) {
		return &p.plain
	}
	return &plainAttempt{Context: ctx, policy: p}
}

// An attemptContext is the context of the raw request of an attempt.
type attemptContext struct {
	context.Context
	execution *execution
	number    uint8
	timeout   *timeout
	wire      *wire
}

func (a *attemptContext) Value(key any) any {
	return a.execution.valueIn(a.Context, a.number, key)
}

// A firstAttempt and a secondAttempt are an execution as the context of the raw
// request of that attempt. Most requests have no more attempts than these two,
// and so no need for an attemptContext. Neither ends when the execution is
// stopped.
type (
	firstAttempt  execution
	secondAttempt execution
)

func (a *firstAttempt) Value(key any) any  { return (*execution)(a).valueIn(a.Context, 1, key) }
func (a *secondAttempt) Value(key any) any { return (*execution)(a).valueIn(a.Context, 2, key) }

// valueIn is the value of a key in the context of an attempt that has been made
// of parent.
func (e *execution) valueIn(parent context.Context, attempt uint8, key any) any {
	switch key {
	case executionKey{}:
		return e
	case attemptKey{}:
		return attempt
	case hookedKey{}:
		return true
	}
	return parent.Value(key)
}

func (e *execution) Value(key any) any {
	switch key {
	case executionKey{}:
		return e
	case attemptKey{}:
		if e.phase() != done {
			return uint8(e.number())
		}
	case hookedKey{}: // the caller's context may be that of a raw request
		if e.phase() != done {
			return nil
		}
	}
	return e.Context.Value(key)
}

func (e *execution) Done() <-chan struct{} {
	if e.phase() == stopped {
		return closed
	}
	return e.Context.Done()
}

func (e *execution) Err() error {
	if e.phase() == stopped {
		return e.final
	}
	return e.Context.Err()
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// cover makes the request's context end when the caller's does and not with one
// that a middleware has made for the attempt, whose values it keeps. Resty takes
// the end of the request's context for the caller's wish.
func (e *execution) cover() {
	switch ctx := e.request.Context().(type) {
	case *execution:
		if ctx == e {
			return
		}
	case *covered:
		if ctx.execution == e {
			return
		}
	}
	e.request.SetContext(&covered{execution: e, values: e.request.Context()})
}

// stayInContext makes up for a callback that has replaced the request's context
// instead of deriving from it.
func (e *execution) stayInContext() {
	if e.request.Context().Value(executionKey{}) != any(e) {
		e.cover()
	}
}

// A covered context is an execution with the values of another context.
type covered struct {
	*execution
	values context.Context
}

func (c *covered) Value(key any) any {
	if key == (executionKey{}) {
		return c.execution
	}
	return c.values.Value(key)
}

// An unstopped context is an execution that stop has not ended: for the
// callbacks that come after.
type unstopped struct {
	*execution
	values context.Context
}

func (c *unstopped) Done() <-chan struct{} { return c.execution.Context.Done() }
func (c *unstopped) Err() error            { return c.execution.Context.Err() }
func (c *unstopped) Value(key any) any     { return c.values.Value(key) }

// A wire tells what a transport has done with a request: whether it has asked
// for a connection, and whether it has written the header to one.
type wire struct{ asked, wrote atomic.Bool }

func (w *wire) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { w.asked.Store(true) },
		// Before the first byte leaves; WroteHeaders comes after the last.
		WroteHeaderField: func(string, []string) { w.wrote.Store(true) },
	})
}

// A timeout is a context that ends after a time, unless it is disarmed first:
// the body of a raw response may be read for longer than the attempt took.
type timeout struct {
	context.Context
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	expired atomic.Bool
}

func newTimeout(parent context.Context, limit time.Duration) *timeout {
	t := &timeout{}
	t.Context, t.cancel = context.WithCancelCause(parent)
	t.timer = time.AfterFunc(limit, func() {
		t.expired.Store(true)
		t.cancel(attemptTimeoutError(limit))
	})
	return t
}

// Err says "deadline exceeded" to transports that return it as it is.
func (t *timeout) Err() error {
	if err := t.Context.Err(); err == nil || !t.expired.Load() {
		return err
	}
	return context.DeadlineExceeded
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

// release ends what an attempt holds. A response that the caller streams holds
// it until its body is closed.
func (a *attemptContext) release(streamed *http.Response) {
	if a == nil || a.timeout == nil {
		return
	}
	t := a.timeout
	a.timeout = nil
	t.timer.Stop()
	if streamed == nil || streamed.Body == nil {
		t.cancel(nil)
		return
	}
	body := &releasingBody{ReadCloser: streamed.Body, release: func() { t.cancel(nil) }}
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
