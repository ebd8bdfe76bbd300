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

// A mark decides for the error that it wraps.
type mark struct {
	error
	transient bool
}

func (m mark) Transient() bool { return m.transient }

func (m mark) Unwrap() error { return m.error }

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

func TestAnErrorIsTransientUnlessItIsKnownToComeBack(t *testing.T) {
	in := func(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }
	dial := func(errno syscall.Errno) error { return in("dial", os.NewSyscallError("connect", errno)) }
	yes := func(err error) error { return mark{err, true} }
	no := func(err error) error { return mark{err, false} }
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"no error", nil, false},
		{"unknown", errors.New("unknown"), true},
		{"unknown in a dial", in("dial", errors.New("unknown")), true},
		{"no text", errors.New(""), true},

		{"refused", dial(syscall.ECONNREFUSED), true},
		{"timed out", dial(syscall.ETIMEDOUT), true},
		{"no network", dial(syscall.ENETUNREACH), true},
		{"no route", dial(syscall.EHOSTUNREACH), true},
		{"host down", dial(syscall.EHOSTDOWN), true},
		{"no local address", dial(syscall.EADDRNOTAVAIL), true},
		{"no Unix socket", dial(syscall.ENOENT), true},
		{"not permitted", dial(syscall.EACCES), true},
		{"too many open files", dial(syscall.EMFILE), true},
		{"reset", in("read", os.NewSyscallError("read", syscall.ECONNRESET)), true},
		{"broken pipe", in("write", os.NewSyscallError("write", syscall.EPIPE)), true},
		{"bare errno", syscall.ECONNABORTED, true},
		{"port 0", &net.OpError{Op: "dial", Addr: &net.TCPAddr{}, Err: syscall.ECONNREFUSED}, false},
		{"port 0, connected", &net.OpError{Op: "read", Addr: &net.TCPAddr{}, Err: syscall.ECONNRESET}, true},

		{"EOF", io.EOF, true},
		{"unexpected EOF", io.ErrUnexpectedEOF, true},
		{"closed", in("read", net.ErrClosed), true},
		{"closed pipe", io.ErrClosedPipe, true},

		{"deadline of the context", context.DeadlineExceeded, true},
		{"deadline of the connection", in("read", os.ErrDeadlineExceeded), true},
		{"cancelled", context.Canceled, false},
		{"cancelled at a deadline", errors.Join(context.DeadlineExceeded, context.Canceled), false},

		{"no such host", in("dial", &net.DNSError{IsNotFound: true}), false},
		{"no such host, perhaps", &net.DNSError{IsNotFound: true, IsTemporary: true}, false},
		{"name server fails", in("dial", &net.DNSError{IsTemporary: true}), true},
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
		{"alert about the versions", in("remote error", tls.AlertError(70)), false},
		{"alert about an internal error", in("remote error", tls.AlertError(80)), true},
		{"alert about a damaged record", in("local error", tls.AlertError(20)), true},
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

		// The transport repeats some codes itself, with long waits.
		{"HTTP/2 NO_ERROR", streamError(0x0), true},
		{"HTTP/2 STREAM_CLOSED", streamError(0x5), true},
		{"HTTP/2 COMPRESSION_ERROR", streamError(0x9), true},
		{"HTTP/2 INADEQUATE_SECURITY", streamError(0xc), false},
		{"HTTP/2 HTTP_1_1_REQUIRED", streamError(0xd), false},
		{"HTTP/2 connection lost", errors.New("http2: client connection lost"), true},
		{"idle connection closed", errors.New("http: server closed idle connection"), true},

		{"text that begins otherwise", errors.New("not stopped after 10 redirects"), true},
		{"text of a wrapper", fmt.Errorf("stopped after an hour: %w", io.EOF), true},
		{"more than a phrase", errors.New("Forbidden planet"), true},
		{"more than an alert", errors.New("tls: bad certificate cache"), true},
		{"GOAWAY with a debug text", errors.New(`http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug="INADEQUATE_SECURITY"`), true},
		{"a text about GOAWAY", errors.New("not http2: server sent GOAWAY"), true},
		{"httpmock without a responder", httpmock.NoResponderFound, true}, // it has no type of its own

		{"marked, what would be transient", no(io.EOF), false},
		{"marked, what would be final", yes(context.Canceled), true},
		{"the outer of two marks", no(yes(io.EOF)), false},
		{"the outer of two marks, the other way", yes(no(io.EOF)), true},
		{"the first of two marks", errors.Join(yes(io.EOF), no(io.EOF)), true},
		{"the first of two marks, the other way", errors.Join(no(io.EOF), yes(io.EOF)), false},
		{"a mark behind an error that has none", errors.Join(context.Canceled, yes(io.EOF)), true},
	} {
		forms := []error{tt.err}
		if tt.err != nil {
			forms = append(forms, fmt.Errorf("outside: %w", tt.err), errors.Join(errors.New("more"), tt.err), fmt.Errorf("%w (%w)", tt.err, errors.New("more")),
				&url.Error{Op: "Get", URL: "http://api.test/", Err: fmt.Errorf("tunnel: %w", tt.err)})
		}
		for _, err := range forms {
			if got := transient.Error(err); got != tt.want {
				t.Errorf("%s: got %t, want %t for %v", tt.name, got, tt.want, err)
			}
		}
	}
}
