package transient_test

import (
	"compress/flate"
	"compress/zlib"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry/internal/transient"
)

func inURL(err error) error { return &url.Error{Op: "Get", URL: "http://api.test/", Err: err} }

func inOp(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }

func inCall(name string, errno syscall.Errno) error { return os.NewSyscallError(name, errno) }

// forms are the ways in which an error arrives.
func forms(err error) map[string]error {
	if err == nil {
		return map[string]error{"as it is": nil}
	}
	return map[string]error{
		"as it is":            err,
		"wrapped":             fmt.Errorf("outside: %w", err),
		"in a URL error":      inURL(fmt.Errorf("tunnel: %w", err)),
		"joined":              errors.Join(errors.New("more"), err),
		"wrapped with others": fmt.Errorf("%w (%w)", err, errors.New("more")),
	}
}

func TestError(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"no error", nil, false},
		{"unknown", errors.New("unknown"), true},
		{"unknown in a dial", inOp("dial", errors.New("unknown")), true},
		{"no text", errors.New(""), true},

		{"refused", inOp("dial", inCall("connect", syscall.ECONNREFUSED)), true},
		{"reset", inOp("read", inCall("read", syscall.ECONNRESET)), true},
		{"broken pipe", inOp("write", inCall("write", syscall.EPIPE)), true},
		{"timed out", inOp("dial", inCall("connect", syscall.ETIMEDOUT)), true},
		{"no network", inOp("dial", inCall("connect", syscall.ENETUNREACH)), true},
		{"no route", inOp("dial", inCall("connect", syscall.EHOSTUNREACH)), true},
		{"no local address", inOp("dial", inCall("bind", syscall.EADDRNOTAVAIL)), true},
		{"no Unix socket", inOp("dial", inCall("connect", syscall.ENOENT)), true},
		{"not permitted", inOp("dial", inCall("connect", syscall.EACCES)), true},
		{"too many open files", inOp("dial", inCall("socket", syscall.EMFILE)), true},
		{"port 0", &net.OpError{Op: "dial", Addr: &net.TCPAddr{}, Err: syscall.ECONNREFUSED}, false},
		{"port 0, connected", &net.OpError{Op: "read", Addr: &net.TCPAddr{}, Err: syscall.ECONNRESET}, true},

		{"EOF", io.EOF, true},
		{"unexpected EOF", io.ErrUnexpectedEOF, true},
		{"closed", inOp("read", net.ErrClosed), true},
		{"closed pipe", io.ErrClosedPipe, true},

		{"deadline of the context", context.DeadlineExceeded, true},
		{"deadline of the connection", inOp("read", os.ErrDeadlineExceeded), true},
		{"cancelled", context.Canceled, false},
		{"cancelled at a deadline", errors.Join(context.DeadlineExceeded, context.Canceled), false},

		{"no such host", inOp("dial", &net.DNSError{IsNotFound: true}), false},
		{"no such host, perhaps", &net.DNSError{IsNotFound: true, IsTemporary: true}, false},
		{"name server fails", inOp("dial", &net.DNSError{IsTemporary: true}), true},
		{"name server is silent", &net.DNSError{IsTimeout: true}, true},
		{"name server refuses", &net.DNSError{Err: "refused"}, true},
		{"address", &net.AddrError{Err: "missing port in address"}, false},
		{"network", net.UnknownNetworkError("tcp5"), false},

		{"certificate", &tls.CertificateVerificationError{Err: errors.New("any")}, false},
		{"unknown authority", x509.UnknownAuthorityError{}, false},
		{"wrong host", x509.HostnameError{Host: "a.test", Certificate: new(x509.Certificate)}, false},
		{"expired", x509.CertificateInvalidError{Reason: x509.Expired}, false},
		{"no system roots", x509.SystemRootsError{}, false},
		{"ECH rejected", new(tls.ECHRejectionError), false},
		{"alert about a certificate", tls.AlertError(42), false},
		{"alert about the versions", inOp("remote error", tls.AlertError(70)), false},
		{"alert about an internal error", inOp("remote error", tls.AlertError(80)), true},
		{"alert about a damaged record", inOp("local error", tls.AlertError(20)), true},
		{"damaged record", tls.RecordHeaderError{Msg: "received record with version 0 when expecting version 303"}, true},

		{"URL", &url.Error{Op: "parse", URL: ":", Err: errors.New("missing protocol scheme")}, false},
		{"method PARSE", &url.Error{Op: "Parse", URL: "/", Err: io.EOF}, true},
		{"feature not supported", http.ErrNotSupported, false},
		{"alternate protocol skipped", http.ErrSkipAltProtocol, false},
		{"last response wanted", http.ErrUseLastResponse, false},
		{"body over a limit", &http.MaxBytesError{Limit: 1}, false},

		{"JSON", new(json.SyntaxError), false},
		{"JSON that cannot be written", &json.MarshalerError{Type: reflect.TypeFor[int](), Err: io.EOF}, false},
		{"XML", new(xml.SyntaxError), false},
		{"base64", base64.CorruptInputError(1), false},
		{"deflate", flate.CorruptInputError(1), false},
		{"zlib", zlib.ErrHeader, false},
		{"time", new(time.ParseError), false},

		{"HTTP/2 NO_ERROR", streamError(0x0), true},
		{"HTTP/2 STREAM_CLOSED", streamError(0x5), true},
		{"HTTP/2 INADEQUATE_SECURITY", streamError(0xc), false},
		{"HTTP/2 HTTP_1_1_REQUIRED", streamError(0xd), false},
		{"HTTP/2 connection lost", errors.New("http2: client connection lost"), true},
		{"idle connection closed", errors.New("http: server closed idle connection"), true},

		{"text that begins otherwise", errors.New("not stopped after 10 redirects"), true},
		{"text of a wrapper", fmt.Errorf("stopped after an hour: %w", io.EOF), true},
		{"more than a phrase", errors.New("Forbidden planet"), true},
		{"more than an alert", errors.New("tls: bad certificate cache"), true},
		{"GOAWAY with a debug text", errors.New(`http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug="INADEQUATE_SECURITY"`), true},

		{"httpmock without a responder", httpmock.NoResponderFound, true}, // it has no type of its own
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for form, err := range forms(test.err) {
				if got := transient.Error(err); got != test.want {
					t.Errorf("%s: got %t, want %t for %v", form, got, test.want, err)
				}
			}
		})
	}
}

// streamError looks to errors.As like the stream error of net/http's HTTP/2.
type streamError uint32

func (e streamError) Error() string { return fmt.Sprintf("stream error %d", uint32(e)) }

func (e streamError) As(target any) bool {
	v := reflect.ValueOf(target).Elem()
	if v.Kind() != reflect.Struct || v.NumField() != 3 || !v.FieldByName("Code").IsValid() {
		return false
	}
	v.FieldByName("Code").SetUint(uint64(e))
	return true
}

// A mark decides for the error that it wraps.
type mark struct {
	error
	transient bool
}

func (m mark) Transient() bool { return m.transient }

func (m mark) Unwrap() error { return m.error }

func TestAMarkDecides(t *testing.T) {
	yes := func(err error) error { return mark{err, true} }
	no := func(err error) error { return mark{err, false} }
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"what would be transient", no(io.EOF), false},
		{"what would be final", yes(context.Canceled), true},
		{"the outer of two", no(yes(io.EOF)), false},
		{"the outer of two, the other way", yes(no(io.EOF)), true},
		{"the first of two", errors.Join(yes(io.EOF), no(io.EOF)), true},
		{"the first of two, the other way", errors.Join(no(io.EOF), yes(io.EOF)), false},
		{"behind one that has none", errors.Join(context.Canceled, yes(io.EOF)), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for form, err := range forms(test.err) {
				if got := transient.Error(err); got != test.want {
					t.Errorf("%s: got %t, want %t", form, got, test.want)
				}
			}
		})
	}
}
