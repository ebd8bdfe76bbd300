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
	// Ended is when the request ended. A wait that was broken off is drawn up to
	// here. Default zero: such a wait is drawn in full.
	Ended time.Time
}

// Of returns what the page shows of a request that has just ended. Its attempts
// have no Request, and their responses have nothing but the status and the header
// fields that ask for a wait, so it may be kept for long and has no cookies in it.
func Of(r *resty.Request) Request {
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
	header := make(http.Header)
	for _, name := range waitFields {
		if value := r.Header().Get(name); value != "" {
			header.Set(name, value)
		}
	}
	return &resty.Response{RawResponse: &http.Response{
		Status: r.RawResponse.Status, StatusCode: r.RawResponse.StatusCode, Header: header,
	}}
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
