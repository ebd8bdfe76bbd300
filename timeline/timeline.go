// Package timeline writes an HTML page that shows what became of the requests of a
// restyretry client: every attempt, every wait, and why. The page is one file
// without scripts, and loads nothing from the network.
//
// A [Recorder] collects the requests of a client, and serves the page:
//
//	var recorder timeline.Recorder
//	_, err := restyretry.Install(client, recorder.Record)
//	...
//	http.Handle("/debug/timeline", &recorder)
//
// [Write] writes a page of chosen requests, and [Of] makes a [Request] for it from the
// history of a Resty request.
package timeline

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

// Write writes a page that shows the requests in this order.
func Write(w io.Writer, requests ...Request) error {
	return pageTemplate.Execute(w, newPage(requests))
}

// A Request is a request with all its attempts.
type Request struct {
	// Name and About introduce the request on the page. Default: Name is the
	// method and URL of its first attempt, and About is empty.
	Name, About string
	// Attempts are those of [restyretry.History].
	Attempts []restyretry.Attempt
	// Deadline is that of the caller's context. Default zero: it had none.
	Deadline time.Time
	// Ended is when the request ended. One that did not succeed lasts up to here:
	// its last wait may have been broken off, or the next attempt held back in vain.
	// Default zero: it lasts until its last wait is over.
	Ended time.Time
}

// Of returns what the page shows of a request that has just ended: Ended is now. Its
// attempts have no Request, and their responses have nothing but the status and the
// header fields that say for how long to wait, so it may be kept for long and has no
// cookies in it. Of nil is an empty Request.
func Of(r *resty.Request) Request {
	if r == nil {
		return Request{}
	}
	shown, _ := r.Context().Value(nameKey{}).(Request)
	shown.Attempts = restyretry.History(r)
	for i, a := range shown.Attempts {
		shown.Attempts[i].Request, shown.Attempts[i].Response = nil, shownOf(a.Response)
	}
	shown.Deadline, _ = r.Context().Deadline()
	shown.Ended = time.Now()
	return shown
}

// shownOf returns what the page needs of a response.
func shownOf(r *resty.Response) *resty.Response {
	if r == nil || r.RawResponse == nil {
		return nil
	}
	return &resty.Response{RawResponse: &http.Response{
		Status: r.RawResponse.Status, StatusCode: r.RawResponse.StatusCode,
		Header: only(r.Header(), slices.Concat(waitFields, aboutWaits)...),
	}}
}

// only returns the first line of those fields.
func only(h http.Header, names ...string) http.Header {
	kept := make(http.Header)
	for _, name := range names {
		if value := h.Get(name); value != "" {
			kept.Set(name, value)
		}
	}
	return kept
}

type nameKey struct{}

// Named gives the requests of a context a name and a description on the page.
func Named(ctx context.Context, name, about string) context.Context {
	return context.WithValue(ctx, nameKey{}, Request{Name: name, About: about})
}

// A Recorder keeps the latest requests of the clients that record in it. The
// zero value is ready to use. It must not be copied after its first use.
type Recorder struct {
	// Limit is the number of requests that are kept, the latest ones. Default 0: 100.
	Limit int

	mu   sync.Mutex
	kept []Request
}

// Record is an option that records requests when they end. Give it to Install for
// all requests of a client, or to With for single ones, but not to both, or those
// are recorded twice. An option that replaces Hooks must come before it.
func (r *Recorder) Record(o *restyretry.Options) {
	o.Hooks = append(o.Hooks, restyretry.Hooks{OnDone: r.keep})
}

func (r *Recorder) keep(a restyretry.Attempt) {
	ended := Of(a.Request)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, ended)
	if surplus := len(r.kept) - cmp.Or(max(r.Limit, 0), 100); surplus > 0 {
		r.kept = slices.Delete(r.kept, 0, surplus)
	}
}

// Requests returns the requests that are kept, in the order in which they ended.
func (r *Recorder) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.kept)
}

// ServeHTTP serves the page. It shows hosts, paths and errors, though no query
// values and no credentials: serve it only to those who may read the logs.
func (r *Recorder) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = Write(w, r.Requests()...) // fails only if the browser has gone away
}
