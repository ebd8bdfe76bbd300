package restyretry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

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
	streamed.Body = &releasingBody{ReadCloser: streamed.Body, release: func() { t.cancel(nil) }}
}

type releasingBody struct {
	io.ReadCloser
	release func()
}

func (b *releasingBody) Close() error {
	err := b.ReadCloser.Close()
	b.release()
	return err
}
