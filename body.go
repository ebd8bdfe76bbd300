package restyretry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry/internal/replay"
	"github.com/restyretry/restyretry/internal/restyfields"
)

// A payload is what the attempts of a call send. Resty would read the body of
// the first attempt, and send what is left of it in the next. So it does not get
// to see it: the raw request gets a reader of its own for each attempt.
type payload struct {
	body  *body   // of the attempt under way; nil for none, and for one that Resty makes
	held  []*body // all that are the caller's: OnAttempt may set several
	parts int     // multipart readers, which Resty reads

	hiding   bool // Resty sees shown in place of the request's own body,
	hidden   any  // which is this
	shown    any
	others   bool  // middlewares come after ours
	theirs   *body // what one of them has made of the body in an earlier attempt
	noAccept bool  // the first attempt had no Accept header

	replaced bool        // by one of them, in any attempt
	content  http.Header // the Content-* fields of the request before that
}

// A body is one that every attempt can send: the caller's, or what Resty has made
// for an earlier attempt.
type body struct {
	given  any          // Request.Body as the caller set it
	replay *replay.Body // nil for one that Resty has made

	getBody func() (io.ReadCloser, error)
	size    int64
	content http.Header // the Content-* fields that belong to it
	form    url.Values
}

// takeBody takes the body of the coming attempt out of Resty's hands.
func (c *call) takeBody() error {
	if !sendsBody(c.client, c.request) {
		return nil
	}
	if c.payload == nil {
		c.payload = &payload{parts: restyfields.MultipartReaders(c.request)}
	}
	p := c.payload
	if p.others = !isLastMiddleware(c.client); p.others && !p.replaced {
		p.content = contentOf(c.request.Header)
	}
	if err := c.chooseBody(c.earlier); err != nil {
		return err
	}
	return c.hideBody()
}

// sent is the payload of a call, or nil without one.
func (c *call) sent() *payload {
	if c == nil {
		return nil
	}
	return c.payload
}

// chooseBody finds the body to send: the one of the attempt before, unless
// OnAttempt has set another.
func (c *call) chooseBody(earlier *payload) error {
	p, r := c.payload, c.request
	if p.theirs != nil && !sameBody(r.Body, p.theirs.given) {
		p.theirs = nil // OnAttempt has set another body
	}
	if p.body.isMade() {
		switch {
		case restyfields.IsMultipart(r) && p.parts > 0:
			return p.body.sameParts(r, p.parts)
		case !c.policy.onAttempt:
			return nil
		}
		p.body = nil // somebody may have changed it; Resty makes it again
	}
	switch {
	case p.body.isOf(r.Body):
	case earlier != nil && earlier.parts > 0 && restyfields.IsMultipart(r):
		p.body = earlier.body
		return p.body.sameParts(r, earlier.parts)
	default:
		p.body = c.callersBody(earlier)
	}
	if p.body == nil {
		return nil
	}
	if !p.body.isReplayable() {
		return errors.New("restyretry: Body is a reader that this request has sent before, and longer than MaxReplay")
	}
	p.body.replay.Begin()
	return nil
}

// callersBody returns the caller's body if it is of a kind that is sent here, or nil
// where it is left to Resty: a value to be encoded, a form, multipart data, none
// at all. A reader that can be read only once may have been seen before: OnAttempt
// may set several in turn, and a request may be used again.
func (c *call) callersBody(earlier *payload) *body {
	p, r := c.payload, c.request
	if restyfields.IsMultipart(r) || len(r.FormData)+len(c.client.FormData) > 0 {
		return nil
	}
	seen := p.held
	if earlier != nil {
		seen = slices.Concat(seen, earlier.held)
	}
	for _, b := range seen {
		if b.replay.OneShot() && b.isOf(r.Body) {
			p.hold(b)
			return b
		}
	}
	own := replay.Of(r.Body, c.policy.MaxReplay)
	if own == nil {
		return nil
	}
	b := &body{given: r.Body, replay: own}
	p.hold(b)
	return b
}

func (p *payload) hold(b *body) {
	if !slices.Contains(p.held, b) {
		p.held = append(p.held, b)
	}
}

// hideBody lets Resty see as much of the body as it needs.
func (c *call) hideBody() error {
	p, r := c.payload, c.request
	ours := hasOurHook(c.client)
	switch {
	case p.body == nil && r.Body == nil:
		// Resty would put it there itself, and leave it. And a request that is used
		// again may still point to a buffer that Resty has given to another request
		// since, and would send what is in there.
		p.show(r, http.NoBody)
	case p.body == nil:
		p.show(r, r.Body)
	case p.body.isMade() && !ours:
		p.body = nil // Resty makes it again
		p.show(r, r.Body)
	case p.body.isMade() && r.Debug && r.Body != nil:
		p.show(r, r.Body)
	case p.body.isMade():
		p.show(r, http.NoBody)
	case !ours:
		return errHookReplaced
	case r.Debug || p.others:
		p.show(r, p.body.visible())
	default:
		p.show(r, http.NoBody)
	}
	return nil
}

// show lets Resty see this body in place of the request's own.
func (p *payload) show(r *resty.Request, shown any) {
	p.hidden, p.shown, p.hiding = r.Body, shown, true
	r.Body = shown
}

// putBodyBack gives the request its own body back.
func (c *call) putBodyBack() {
	if p := c.payload; p != nil && p.hiding {
		p.replaced = p.replaced || p.others && !sameBody(c.request.Body, p.shown)
		c.request.Body = p.hidden
		p.hidden, p.shown, p.hiding = nil, nil, false
	}
}

// putContentBack gives the request its own Content-* fields back: those that came with
// another body do not fit the one that it has again.
func (p *payload) putContentBack(r *resty.Request) {
	if p == nil || !p.replaced {
		return
	}
	header := r.Header.Clone() // the transport may still be reading that one
	for name := range contentOf(header) {
		delete(header, name)
	}
	maps.Copy(header, p.content)
	r.Header = header
}

// putBody gives the raw request of an attempt its body.
//
// What a middleware after ours has made of the body is sent in later attempts as
// well, with the header fields that belong to it: it may do so only once, or only
// where a header field of its own is not there yet.
func (c *call) putBody(hr *http.Request) error {
	p := c.payload
	if p == nil || !p.hiding {
		return nil
	}
	c.keepAccept(hr)
	replaced, err := p.isReplaced(c.request, hr)
	if err != nil {
		return err
	}
	c.putBodyBack()
	switch {
	case replaced:
		p.theirs = madeByResty(hr, c.request)
		return nil
	case p.theirs != nil:
		return p.theirs.putMade(hr)
	case p.body.isMade():
		return p.body.putMade(hr)
	case p.body != nil:
		return p.body.put(hr)
	}
	dropEmptyBody(hr)
	if !p.others || restyfields.IsMultipart(c.request) { // otherwise it is made anew each time
		p.body = madeByResty(hr, c.request)
	}
	return nil
}

// keepAccept keeps Resty from adding an Accept header from the second attempt on.
// It derives one from the Content-Type that it has found out in the first.
func (c *call) keepAccept(hr *http.Request) {
	switch accept := hr.Header.Get("Accept"); {
	case c.number() == 1:
		c.payload.noAccept = accept == ""
	case c.payload.noAccept && accept == hr.Header.Get("Content-Type"):
		hr.Header.Del("Accept")
	}
}

// isReplaced reports whether a middleware after ours has replaced the body of r,
// which has become hr. It is an error to replace one that middlewares do not see.
func (p *payload) isReplaced(r *resty.Request, hr *http.Request) (bool, error) {
	empty := p.shown == any(http.NoBody)
	switch {
	case !p.others, sameBody(r.Body, p.shown), restyfields.IsMultipart(r):
		return false, nil
	case r.Body == nil && empty && hr.ContentLength == 0: // SetContentLength made Resty read it
		return false, nil
	case r.Body == nil && !empty && p.body.sends(hr.GetBody): // likewise
		return false, nil
	case empty && p.body != nil && !p.body.isMade():
		return false, errors.New("restyretry: a middleware has replaced a body that is streamed, and that it could not read: register it before Install")
	default:
		return true, nil
	}
}

// closeBody closes the body of a request for which there is no call.
func closeBody(c *resty.Client, r *resty.Request) {
	if b := replay.Of(r.Body, 0); b != nil && sendsBody(c, r) {
		b.Finish()
	}
}

// noteBody notes the body that the request has now: it is closed when the call is over,
// although it may be replaced before it is sent.
func (c *call) noteBody() {
	body, ok := c.request.Body.(io.ReadCloser)
	if ok && sendsBody(c.client, c.request) && !c.payload.holds(body) && !c.noted.has(body) {
		c.noted = &noted{body, c.noted}
	}
}

// noted is a list of bodies, the latest first.
type noted struct {
	body io.ReadCloser
	next *noted
}

func (n *noted) has(body io.ReadCloser) bool {
	return n != nil && (sameBody(n.body, body) || n.next.has(body))
}

// holds reports whether finish closes a body.
func (p *payload) holds(given any) bool {
	return p != nil && slices.ContainsFunc(p.held, func(b *body) bool { return b.isOf(given) })
}

// closeBodies closes all bodies that the request has had.
func (c *call) closeBodies() {
	c.noteBody()
	for ; c.noted != nil; c.noted = c.noted.next {
		if !c.payload.holds(c.noted.body) {
			_ = c.noted.body.Close()
		}
	}
	c.payload.finish()
}

// finish lets go of what the bodies came from.
func (p *payload) finish() {
	if p == nil {
		return
	}
	for _, b := range p.held {
		b.replay.Finish()
	}
}

// lostBody is why the body of the coming attempt cannot be sent, if it has been
// lost during the wait, or OnAttempt has set other parts or one that is used up.
func (c *call) lostBody() error {
	p, r := c.payload, c.request
	if p == nil || !sendsBody(c.client, r) {
		return nil
	}
	if p.body.isMade() && p.parts > 0 && restyfields.IsMultipart(r) {
		return p.body.sameParts(r, p.parts)
	}
	for _, b := range p.held {
		if b.isOf(r.Body) && !b.isReplayable() {
			return errBodyLost
		}
	}
	return nil
}

// put makes the caller's body that of a raw request.
func (b *body) put(hr *http.Request) error {
	counted := hr.Header.Get("Content-Length") != "" // SetContentLength asks for it
	if counted && b.replay.Size() < 0 {
		if err := b.replay.ReadAll(); err != nil {
			return err
		}
	}
	own, err := b.replay.Open()
	if err != nil {
		return err
	}
	hr.Body, hr.GetBody, hr.ContentLength = own, b.replay.Open, b.replay.Size()
	if counted {
		hr.Header.Set("Content-Length", strconv.FormatInt(b.replay.Size(), 10))
	}
	if hr.Header.Get("Content-Type") == "" {
		hr.Header.Set("Content-Type", resty.DetectContentType(b.given))
	}
	return nil
}

// putMade makes a body that Resty has made that of another raw request.
func (b *body) putMade(hr *http.Request) error {
	own, err := b.getBody()
	if err != nil {
		return err
	}
	hr.Body, hr.GetBody, hr.ContentLength = own, b.getBody, b.size
	maps.Copy(hr.Header, b.content)
	return nil
}

// sends reports whether the caller's body has the bytes of another.
func (b *body) sends(other func() (io.ReadCloser, error)) bool {
	if b == nil || b.isMade() || other == nil {
		return false
	}
	ours, err := readAll(b.replay.Open)
	if err != nil {
		return false
	}
	theirs, err := readAll(other)
	return err == nil && bytes.Equal(ours, theirs)
}

func readAll(open func() (io.ReadCloser, error)) ([]byte, error) {
	body, err := open()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// isMade reports whether Resty has made b for an earlier attempt.
func (b *body) isMade() bool { return b != nil && b.replay == nil }

// isReplayable reports whether b can be sent once more.
func (b *body) isReplayable() bool { return b == nil || b.replay == nil || b.replay.Replayable() }

// isOf reports whether b is the body that was given as this value.
func (b *body) isOf(given any) bool { return b != nil && sameBody(b.given, given) }

// sameParts returns an error if the multipart data of r cannot be b, which was
// made of so many readers.
func (b *body) sameParts(r *resty.Request, parts int) error {
	if b == nil || parts != restyfields.MultipartReaders(r) || !maps.EqualFunc(b.form, r.FormData, slices.Equal) {
		return errors.New("restyretry: the multipart readers have been read for an earlier attempt or use of this request; set all parts on a new request")
	}
	return nil
}

// visible is what Resty and the middlewares after ours get to see of the body
// until the raw request is made: all of it if it is in memory, or nothing.
func (b *body) visible() any {
	switch v := b.given.(type) {
	case []byte, string:
		return v
	case *bytes.Buffer:
		return bytes.NewBuffer(slices.Clone(v.Bytes()))
	case *bytes.Reader:
		own := *v
		return &own
	case *strings.Reader:
		own := *v
		return &own
	default:
		return http.NoBody
	}
}

// madeByResty is the body that Resty made for an attempt, for those to come, or
// nil where it made none.
func madeByResty(hr *http.Request, r *resty.Request) *body {
	if hr.Body == nil || hr.Body == http.NoBody || hr.GetBody == nil {
		return nil
	}
	return &body{given: r.Body, getBody: hr.GetBody, size: hr.ContentLength, content: contentOf(hr.Header), form: cloneValues(r.FormData)}
}

// contentOf returns the Content-* fields of a header.
func contentOf(h http.Header) http.Header {
	content := make(http.Header)
	for name, values := range h {
		if strings.HasPrefix(name, "Content-") {
			content[name] = values
		}
	}
	return content
}

// sendsBody reports whether Resty sends the body of a request with this method.
func sendsBody(c *resty.Client, r *resty.Request) bool {
	switch r.Method {
	case http.MethodHead, http.MethodOptions:
		return false
	case http.MethodGet:
		return c.AllowGetMethodPayload
	default:
		return true
	}
}

// sameBody reports whether a and b are the same body, not merely an equal one.
func sameBody(a, b any) bool { return same(reflect.ValueOf(a), reflect.ValueOf(b)) }

func same(a, b reflect.Value) bool {
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() {
		return false
	}
	switch a.Kind() {
	case reflect.Slice:
		return a.Pointer() == b.Pointer() && a.Len() == b.Len()
	case reflect.Map, reflect.Func:
		return a.Pointer() == b.Pointer()
	case reflect.Interface:
		return same(a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	default:
		return a.Comparable() && a.Equal(b)
	}
}

// A shownBody stands in for a reader while Resty makes a curl command, for which
// it reads the body.
type shownBody struct {
	io.Reader
	given   any
	request *resty.Request // nil once it has its own body back
}

// showBody keeps a curl command from reading the request's reader. One that can
// be read only once is not in the command.
func showBody(c *resty.Client, r *resty.Request) {
	if _, ok := r.Body.(io.Reader); !ok || !sendsBody(c, r) {
		return
	}
	if _, ok := r.Body.(*shownBody); ok {
		return
	}
	shown := &shownBody{Reader: http.NoBody, given: r.Body, request: r}
	if b := replay.Of(r.Body, 0); b != nil && !b.OneShot() {
		if own, err := b.Open(); err == nil {
			shown.Reader = own
		}
	}
	r.Body = shown
	r.SetContext(&shownContext{r.Context(), shown})
}

// A shownContext knows the body while Resty makes a curl command: for
// SetContentLength, Resty reads all of what is shown, and then forgets it.
type shownContext struct {
	context.Context
	body *shownBody
}

type shownKey struct{}

func (c *shownContext) Value(key any) any {
	if key == (shownKey{}) {
		return c.body
	}
	return c.Context.Value(key)
}

// hideShown undoes showBody, if nobody has yet.
func hideShown(r *resty.Request) {
	shown, _ := r.Body.(*shownBody)
	if r.Body == nil && r.RawRequest != nil { // which the curl command was made of
		shown, _ = r.RawRequest.Context().Value(shownKey{}).(*shownBody)
	}
	if shown != nil && shown.request == r {
		r.Body, shown.request = shown.given, nil
	}
	if own, is := r.Context().(*shownContext); is {
		r.SetContext(own.Context)
	}
}

// hideMade is hideShown as soon as Resty has made the raw request that the curl
// command shows: what becomes of the body after that is the caller's.
func hideMade(hr *http.Request) {
	if shown, ok := hr.Context().Value(shownKey{}).(*shownBody); ok && shown.request != nil && shown.request.RawRequest == hr {
		hideShown(shown.request)
	}
}

// dropEmptyBody undoes what Resty makes of a missing body: a reader of nothing,
// which net/http would send in chunks.
func dropEmptyBody(hr *http.Request) {
	if hr.ContentLength != 0 || hr.Body == nil || hr.Body == http.NoBody || hr.GetBody == nil {
		return
	}
	body, err := hr.GetBody()
	if err != nil {
		return
	}
	if n, err := body.Read(make([]byte, 1)); n == 0 && err == io.EOF {
		hr.Body, hr.GetBody = http.NoBody, func() (io.ReadCloser, error) { return http.NoBody, nil }
	}
}
