package transient

import (
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
)

// texts are the beginnings of final errors that have neither a name nor a type of
// their own and wrap nothing, by the file that makes them. A test provokes each of
// them, so that a change of the wording is noticed.
var texts = [...]string{
	// net/http/client.go
	"failed to parse Location header ",
	"http: Request.RequestURI can't be set in client requests",
	"http: nil Request.URL",
	"stopped after ", // so many redirects, also of Resty's redirect.go

	// net/http/request.go
	"http: invalid Host header",
	"net/http: can't write control character in Request.URL",
	"net/http: invalid method ", // also of net/http/transport.go

	// net/http/response.go
	`malformed HTTP response "\x00\x00`, // HTTP/2 where http is asked for
	`malformed HTTP response "\x15\x03`, // TLS where http is asked for

	// net/http/transfer.go
	"http: ContentLength=",
	"http: Request.ContentLength=",
	"invalid Trailer key ", // also of net/http/internal/httpcommon

	// net/http/transport.go
	"http: nil Request.Header",
	"http: no Host in request URL",
	"net/http: invalid header ",
	"net/http: invalid trailer ",
	"net/http: server response headers exceeded ",
	"unsupported protocol scheme ",

	// net/http/h2_bundle.go and net/http/internal/httpcommon
	"http2: request body larger than specified content length",
	"http2: response header list larger than advertised limit",
	"invalid Connection request header: ",
	"invalid Host header",
	"invalid Transfer-Encoding request header: ",
	"invalid Upgrade request header: ",
	"invalid request :path ",
	"request header list larger than peer's advertised limit",

	// net/http/socks_bundle.go
	"no acceptable authentication methods",
	"unknown error address type not supported",
	"unknown error command not supported",
	"unknown error connection not allowed by ruleset",
	"username/password authentication failed",

	// golang.org/x/net/idna, by way of net/http
	"idna: ",

	// golang.org/x/net/http/httpproxy/proxy.go
	"refusing to use HTTP_PROXY value in CGI environment",

	// crypto/tls/handshake_client.go
	"tls: failed to parse certificate from server: ",
	"tls: no supported versions satisfy MinVersion and MaxVersion",
	"tls: server selected unsupported protocol version ",

	// github.com/go-resty/resty/v2: client.go, digest.go, redirect.go
	"resty: response body too large",
	"digest: ",
	"auto redirect is disabled",
	"redirect is not allowed as per DomainCheckRedirectPolicy",
}

// isFinalText reports whether text is that of a final error.
func isFinalText(text string) bool {
	return slices.ContainsFunc(texts[:], func(start string) bool { return strings.HasPrefix(text, start) }) ||
		isFinalGoAway(text) || isFinalAlert(text) || isProxyRefusal(text)
}

// isFinalGoAway reports whether text says that the server closed an HTTP/2
// connection because its security is too weak. That error has no exported type.
func isFinalGoAway(text string) bool {
	return strings.HasPrefix(text, "http2: server sent GOAWAY and closed the connection; ") &&
		strings.Contains(text, ", ErrCode=INADEQUATE_SECURITY, ")
}

// finalAlerts are the TLS alerts (RFC 8446, section 6) that refuse what one side
// offers. The others may come from a server with a temporary problem, or from
// damaged bytes.
var finalAlerts = [...]tls.AlertError{
	40,  // handshake_failure
	42,  // bad_certificate
	43,  // unsupported_certificate
	44,  // certificate_revoked
	45,  // certificate_expired
	46,  // certificate_unknown
	48,  // unknown_ca
	49,  // access_denied
	70,  // protocol_version
	71,  // insufficient_security
	86,  // inappropriate_fallback
	109, // missing_extension
	110, // unsupported_extension
	111, // certificate_unobtainable
	112, // unrecognized_name
	113, // bad_certificate_status_response
	114, // bad_certificate_hash_value
	116, // certificate_required
	120, // no_application_protocol
	121, // ech_required
}

// isFinalAlert reports whether text is that of one of finalAlerts. It compares texts
// because crypto/tls returns alerts as a type that is not exported, which has the
// texts of tls.AlertError.
func isFinalAlert(text string) bool {
	return strings.HasPrefix(text, "tls: ") &&
		slices.ContainsFunc(finalAlerts[:], func(a tls.AlertError) bool { return a.Error() == text })
}

// isProxyRefusal reports whether text is a final 4xx of a proxy that was asked to
// CONNECT. Of such a response, net/http's error has nothing but the reason phrase.
func isProxyRefusal(text string) bool {
	for status := http.StatusBadRequest; status < http.StatusInternalServerError; status++ {
		switch status {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		default:
			if phrase := http.StatusText(status); phrase != "" && strings.EqualFold(text, phrase) {
				return true
			}
		}
	}
	return false
}
