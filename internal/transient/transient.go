package transient

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
)

func Error(err error) bool {
	if dns, ok := find[*net.DNSError](err); ok {
		return !dns.IsNotFound && (dns.IsTemporary || dns.IsTimeout)
	}
	if anyError(err, isTimeout) {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		anyError(err, isTransientErrno) || transientHTTP2(err)
}

// isTimeout asks one error. A *url.Error does not know of a timeout further
// down.
func isTimeout(err error) bool {
	timeout, ok := err.(interface{ Timeout() bool })
	return ok && timeout.Timeout()
}

// find returns the first error of type E that err is or wraps. It is errors.As
// without memory of its own.
func find[E error](err error) (found E, ok bool) {
	ok = anyError(err, func(err error) bool {
		found, ok = err.(E)
		return ok
	})
	return found, ok
}

// anyError reports whether err or one that it wraps is such an error.
func anyError(err error, is func(error) bool) bool {
	if err == nil || is(err) {
		return err != nil
	}
	switch wrapping := err.(type) {
	case interface{ Unwrap() error }:
		return anyError(wrapping.Unwrap(), is)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(wrapping.Unwrap(), func(e error) bool { return anyError(e, is) })
	default:
		return false
	}
}

// http2StreamError takes the stream error of the HTTP/2 that net/http bundles,
// whose As method goes by the names of the fields.
type http2StreamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e http2StreamError) Error() string {
	return fmt.Sprintf("stream %d: code %d", e.StreamID, e.Code)
}

// transientHTTP2 knows the errors of RFC 9113, section 7, after which the same
// request may succeed. The other errors of the bundled HTTP/2 have unexported
// types and no As method, so that their text is all that tells them.
func transientHTTP2(err error) bool {
	const protocolError, internalError, refusedStream, cancel, enhanceYourCalm = 0x1, 0x2, 0x7, 0x8, 0xb
	var stream http2StreamError
	if errors.As(err, &stream) {
		return slices.Contains([]uint32{protocolError, internalError, refusedStream, cancel, enhanceYourCalm}, stream.Code)
	}
	return anyError(err, func(err error) bool {
		text := err.Error()
		return strings.HasPrefix(text, "http2: server sent GOAWAY") || text == "http2: client connection lost" ||
			text == "http: server closed idle connection"
	})
}

func isTransientErrno(err error) bool {
	errno, ok := err.(syscall.Errno)
	return ok && slices.Contains([]syscall.Errno{
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
		syscall.ENETUNREACH, syscall.ENETDOWN, syscall.ENETRESET, syscall.EHOSTUNREACH, syscall.EHOSTDOWN,
	}, errno)
}
