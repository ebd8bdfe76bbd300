package harness

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/jarcoal/httpmock"
)

// A Script answers the nth request that reaches the transport, counted from 1.
type Script func(n int, r *http.Request) (*http.Response, error)

// Each answers the nth request by the nth script; the last repeats.
func Each(scripts ...Script) Script {
	return func(n int, r *http.Request) (*http.Response, error) {
		return scripts[min(n, len(scripts))-1](n, r)
	}
}

// Statuses answers with these statuses, one after the other; the last repeats. The
// body is the status as text.
func Statuses(list ...int) Script {
	var scripts []Script
	for _, status := range list {
		scripts = append(scripts, Says(status))
	}
	return Each(scripts...)
}

// Says answers with a status and header fields, such as "Retry-After: 3". Fields after
// an empty one are the lines of the body. Without one the body is the text of the
// status.
func Says(status int, fields ...string) Script {
	return func(_ int, r *http.Request) (*http.Response, error) {
		resp := httpmock.NewStringResponse(status, http.StatusText(status))
		resp.Request = r
		for i, field := range fields {
			if field == "" {
				resp.Body = io.NopCloser(strings.NewReader(strings.Join(fields[i+1:], "\n")))
				break
			}
			name, value, _ := strings.Cut(field, ": ")
			resp.Header.Add(name, value)
		}
		return resp, nil
	}
}

// JSON answers with a status and a document.
func JSON(status int, document string) Script {
	return Says(status, "Content-Type: application/json", "", document)
}

// Fails fails every request.
func Fails(err error) Script {
	return func(int, *http.Request) (*http.Response, error) { return nil, err }
}

// Hangs answers no request before its context ends.
func Hangs(_ int, r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// After answers as a script does, later.
func After(d time.Duration, script Script) Script {
	return func(n int, r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return script(n, r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// A RoundTrip is a transport that is a function.
type RoundTrip func(*http.Request) (*http.Response, error)

func (f RoundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
