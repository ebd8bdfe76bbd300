package restyretry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
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

// crossing are the methods that can be handed over. Each has places of its own.
var crossing = [...]string{
	http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodHead,
}

const (
	placesEach = 64 // requests with one method at the same moment
	placeWidth = 8  // bytes
)

// text has a method at every place, and places has the executions there.
var (
	text   = textOfPlaces()
	places [len(crossing) * placesEach]atomic.Pointer[execution]
)

func textOfPlaces() string {
	var all strings.Builder
	for _, method := range crossing {
		for range placesEach {
			fmt.Fprintf(&all, "%-*s", placeWidth, method)
		}
	}
	return all.String()
}

// methodAt returns the method at a place.
func methodAt(place int) string { return text[place*placeWidth:][:len(crossing[place/placesEach])] }

// placeOf returns the place where a method is, and false for an ordinary string.
func placeOf(method string) (int, bool) {
	at := uintptr(unsafe.Pointer(unsafe.StringData(method))) - uintptr(unsafe.Pointer(unsafe.StringData(text)))
	return int(at / placeWidth), at < uintptr(len(text))
}

// underWay returns the execution that has been handed over with this method, or
// nil.
func underWay(method string) *execution {
	if place, ok := placeOf(method); ok {
		return places[place].Load()
	}
	return nil
}

// methodsCross tries out whether this Resty and this net/http take methods over
// as they are. Nothing is sent for it.
var methodsCross = sync.OnceValue(func() (same bool) {
	const place = 1
	c := resty.New().SetPreRequestHook(func(_ *resty.Client, hr *http.Request) error {
		at, ok := placeOf(hr.Method)
		same = ok && at == place
		return errors.New("not to be sent")
	})
	_, _ = c.R().Execute(methodAt(place), "http://localhost")
	return same
})

// canCross reports whether e can be handed over by the method.
func (e *execution) canCross(c *resty.Client) bool {
	r := e.request
	return r.Context() == context.Context(e) && (r.Body == nil || r.Body == http.NoBody) && // else it may be marshalled
		!isMultipart(r) && !isTraced(c, r) && isUntouched(c) && !hasConditions(r) && e.policy.plugin.alone && methodsCross()
}

// noContext makes Resty think that there is none. Linters refuse a plain nil.
var noContext context.Context

// handOver sends the execution to preRequest by the method, if it can.
func (e *execution) handOver(c *resty.Client) {
	r := e.request
	method := slices.Index(crossing[:], r.Method)
	if method < 0 || !e.canCross(c) {
		return
	}
	const tries = 4
	for n, first := uint32(0), rand.Uint32(); n < tries; n++ {
		place := method*placesEach + int((first+n)%placesEach)
		if places[place].CompareAndSwap(nil, e) {
			r.Method = methodAt(place)
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
	if place, ok := placeOf(r.Method); ok && places[place].CompareAndSwap(e, nil) {
		r.Method = crossing[place/placesEach]
		r.SetContext(e)
	}
}
