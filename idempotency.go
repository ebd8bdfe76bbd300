package restyretry

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strconv"
)

// idempotentMethods are those of RFC 9110, section 9.2.2, and QUERY of
// draft-ietf-httpbis-safe-method-w-body.
var idempotentMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace,
	http.MethodPut, http.MethodDelete, "QUERY",
}

// putHeaders gives the raw request of an attempt the header fields that the
// options ask for. They are not in the Resty request, so that a request that is
// used again gets a key of its own.
func (e *execution) putHeaders(hr *http.Request) {
	o := &e.policy.Options
	if o.AttemptHeader != "" {
		hr.Header.Set(o.AttemptHeader, strconv.Itoa(e.number()))
	}
	if o.IdempotencyHeader == "" || hasField(hr.Header, o.IdempotencyHeader) || slices.Contains(idempotentMethods, hr.Method) {
		return
	}
	x := e.extra()
	if x.key == "" {
		x.key = rand.Text()
	}
	hr.Header.Set(o.IdempotencyHeader, x.key)
}
