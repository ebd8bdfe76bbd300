// Package transient tells the errors of an HTTP request that may go away by
// themselves from those that the same request would meet again.
package transient

import (
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/restyretry/restyretry/internal/redact"
)

// Error reports whether the same request may succeed if it is sent again. Every
// error but nil is transient unless it is known that it would come back. The
// comment of restyretry.Transient lists which errors are final.
//
// An error with a method Transient() bool decides for itself and for all errors
// that wrap it. Of several in one tree, the first that errors.As finds counts.
func Error(err error) bool {
	var marked interface{ Transient() bool }
	if errors.As(err, &marked) {
		return marked.Transient()
	}
	return err != nil && !isFinal(err)
}

func isFinal(err error) bool {
	return slices.ContainsFunc(finalErrors, func(final error) bool { return errors.Is(err, final) }) ||
		isFinalStream(err) ||
		within(err, func(err error) bool { return isFinalType(err) || isInnermost(err) && isFinalText(redact.Message(err)) })
}

// finalErrors are the final errors that have a name.
var finalErrors = []error{
	context.Canceled,
	errors.ErrUnsupported,
	http.ErrNoLocation,
	http.ErrSchemeMismatch,
	http.ErrSkipAltProtocol,
	http.ErrUseLastResponse,
	gzip.ErrChecksum, gzip.ErrHeader,
	zlib.ErrChecksum, zlib.ErrDictionary, zlib.ErrHeader,
}

// within reports whether is holds for err or for an error that it wraps.
func within(err error, is func(error) bool) bool {
	if err == nil || is(err) {
		return err != nil
	}
	switch wrapper := err.(type) {
	case interface{ Unwrap() error }:
		return within(wrapper.Unwrap(), is)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(wrapper.Unwrap(), func(e error) bool { return within(e, is) })
	default:
		return false
	}
}

// isInnermost reports whether err wraps nothing. The text of an error that wraps
// another is partly that other's, so texts are compared for innermost errors alone.
func isInnermost(err error) bool {
	switch err.(type) {
	case interface{ Unwrap() error }, interface{ Unwrap() []error }:
		return false
	}
	return true
}

// isFinalType reports whether err itself is final by its type, whatever it wraps.
func isFinalType(err error) bool {
	switch err := err.(type) {
	case *net.DNSError:
		return err.IsNotFound
	case *url.Error:
		return err.Op == "parse"
	case *net.OpError:
		to, ok := err.Addr.(*net.TCPAddr)
		return ok && err.Op == "dial" && to.Port == 0 // as for a proxy of an unknown scheme
	case tls.RecordHeaderError:
		return err.Conn != nil // the very first record is not of TLS
	case *net.AddrError, *net.ParseError, net.InvalidAddrError, net.UnknownNetworkError:
		return true
	case *http.MaxBytesError:
		return true
	}
	return isCertificate(err) || isDecoding(err)
}

func isCertificate(err error) bool {
	switch err.(type) {
	case *tls.CertificateVerificationError, *tls.ECHRejectionError,
		x509.CertificateInvalidError, x509.ConstraintViolationError, x509.HostnameError,
		x509.InsecureAlgorithmError, x509.SystemRootsError, x509.UnhandledCriticalExtension,
		x509.UnknownAuthorityError:
		return true
	}
	return false
}

// isDecoding reports whether err comes from decoding a response or encoding a
// request.
func isDecoding(err error) bool {
	switch err.(type) {
	case *json.InvalidUnmarshalError, *json.MarshalerError, *json.SyntaxError,
		*json.UnmarshalTypeError, *json.UnsupportedTypeError, *json.UnsupportedValueError,
		*xml.SyntaxError, *xml.TagPathError, xml.UnmarshalError, *xml.UnsupportedTypeError,
		base64.CorruptInputError, flate.CorruptInputError, flate.InternalError,
		*strconv.NumError, *time.ParseError:
		return true
	}
	return false
}

// streamError is a target of errors.As for the stream error of net/http's HTTP/2,
// which has no exported type. The As method of that error fills any struct whose
// type and fields have these names.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "HTTP/2 stream error" }

// isFinalStream reports whether err is a stream error that refuses the protocol and
// not the request (RFC 9113, section 7), or whose cause is final. A stream error
// does not unwrap to its cause.
func isFinalStream(err error) bool {
	const inadequateSecurity, http11Required = 0xc, 0xd
	var stream streamError
	if !errors.As(err, &stream) {
		return false
	}
	return stream.Code == inadequateSecurity || stream.Code == http11Required || isFinal(stream.Cause)
}
