package restyretry

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/go-resty/resty/v2"
)

// Resty makes the raw request from the request, and calls preRequest with the
// raw request alone. An execution can get there in the request's context, but
// then Resty copies the raw request (320 bytes) to put the context in. Besides
// the context, only strings get from the request to the raw request unchanged.
// So while Resty makes the raw request, the request has no context, and its
// method is an equal string at a place in memory that belongs to the execution,
// by which preRequest finds it.
//
// Nobody else may see the request meanwhile. What runs then is Resty's own code
// and its rate limiter, and where the request cannot be made OnError and
// OnPanic, of which ours have to be the first. Where anybody else comes into
// it, the execution stays in the context.

// A crossing has the places of one method.
type crossing struct {
	method string
	text   string // the method at every place
	places [64]atomic.Pointer[execution]
}

var crossings = [...]*crossing{
	newCrossing(http.MethodGet), newCrossing(http.MethodPost), newCrossing(http.MethodPut),
	newCrossing(http.MethodDelete), newCrossing(http.MethodPatch), newCrossing(http.MethodHead),
}

func newCrossing(method string) *crossing {
	c := &crossing{method: method}
	c.text = strings.Repeat(method, len(c.places))
	return c
}

// crossingOf returns the crossing of a method, or nil.
func crossingOf(method string) *crossing {
	for _, c := range crossings {
		if c.method == method {
			return c
		}
	}
	return nil
}

// at returns the method at a place.
func (c *crossing) at(place int) string { return c.text[place*len(c.method):][:len(c.method)] }

// place returns the place where a method is, or nil where it is an ordinary
// string.
func (c *crossing) place(method string) *atomic.Pointer[execution] {
	if c == nil {
		return nil
	}
	at := uintptr(unsafe.Pointer(unsafe.StringData(method))) - uintptr(unsafe.Pointer(unsafe.StringData(c.text)))
	if at >= uintptr(len(c.text)) {
		return nil
	}
	return &c.places[at/uintptr(len(c.method))]
}

// underWay returns the execution that has been handed over with this method, or
// nil.
func underWay(method string) *execution {
	if place := crossingOf(method).place(method); place != nil {
		return place.Load()
	}
	return nil
}

// methodsCross tries out whether this Resty and this net/http take methods over
// as they are. Nothing is sent for it.
var methodsCross = sync.OnceValue(func() (same bool) {
	over := crossings[0]
	c := resty.New().SetPreRequestHook(func(_ *resty.Client, hr *http.Request) error {
		same = over.place(hr.Method) == &over.places[1]
		return errors.New("not to be sent")
	})
	_, _ = c.R().Execute(over.at(1), "http://localhost")
	return same
})

// canCross reports whether e can be handed over by the method.
func (e *execution) canCross(c *resty.Client) bool {
	r := e.request
	return r.Context() == context.Context(e) && (r.Body == nil || r.Body == http.NoBody) && // else it may be marshalled
		!isMultipart(r) && !isTraced(c, r) && isLastMiddleware(c) && hookOf(c) == ourHook &&
		!hasForeignConditions(c, r) && e.policy.plugin.alone && methodsCross()
}

// noContext makes Resty think that there is none. Linters refuse a plain nil.
var noContext context.Context

// handOver sends the execution to preRequest by the method, if it can.
func (e *execution) handOver(c *resty.Client) {
	r := e.request
	if !e.canCross(c) {
		return
	}
	over := crossingOf(r.Method)
	if over == nil {
		return
	}
	const tries = 4
	for n, first := uint32(0), rand.Uint32(); n < tries; n++ {
		at := int((first + n) % uint32(len(over.places)))
		if over.places[at].CompareAndSwap(nil, e) {
			r.Method = over.at(at)
			r.SetContext(noContext)
			return
		}
	}
}

// arriving returns the execution that a raw request has brought along by its
// method, or nil. Then all is as it was before handOver.
func arriving(hr *http.Request) *execution {
	e := underWay(hr.Method)
	if e == nil || e.request.RawRequest != hr {
		return nil
	}
	e.arrive()
	hr.Method = e.request.Method
	return e
}

// arrive undoes handOver. It does nothing if e has not been handed over.
func (e *execution) arrive() {
	r := e.request
	over := crossingOf(r.Method)
	if place := over.place(r.Method); place != nil && place.CompareAndSwap(e, nil) {
		r.Method = over.method
		r.SetContext(e)
	}
}
