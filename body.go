package restyretry

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-resty/resty/v2"
)

// A body gives every attempt of a request an independent reader of the same
// bytes. Nothing is ever rewound: the transport may still be sending the body
// of an attempt whose response came early.
type body struct {
	given any                           // Request.Body as the caller set it
	open  func() (io.ReadCloser, error) // a reader of the whole
	size  int64                         // -1: not known
	tape  *tape                         // of a reader that can be read only once
	once  bool                          // given is such a reader
	loan  *loan                         // of memory of the caller's
	made  bool                          // by Resty, for the first attempt

	contentType string // of that attempt
	form        url.Values
}

// hold returns the body of a request if it is of a kind that this package
// sends itself, or nil where it is left to Resty: a value to be encoded, a form,
// multipart data, none at all.
func hold(c *resty.Client, r *resty.Request, limit int64) *body {
	if !sendsBody(c, r) || isMultipart(r) || len(r.FormData)+len(c.FormData) > 0 {
		return nil
	}
	b := bodyOf(r.Body, limit)
	if b != nil {
		b.given = r.Body
	}
	return b
}

func bodyOf(given any, limit int64) *body {
	switch v := given.(type) {
	case []byte:
		if v == nil {
			return nil // an error of Resty's
		}
		return borrowed(bytes.NewReader(v))
	case string:
		return memory(int64(len(v)), func() io.Reader { return strings.NewReader(v) })
	case *bytes.Buffer:
		return borrowed(bytes.NewReader(v.Bytes()))
	case *bytes.Reader:
		return borrowed(v)
	case *strings.Reader:
		start := *v
		return memory(int64(start.Len()), func() io.Reader { own := start; return &own })
	case io.Reader:
		if v == http.NoBody {
			return nil
		}
		if b := sectionOf(v); b != nil {
			return b
		}
		t := &tape{source: v, limit: limit}
		return &body{open: t.open, size: -1, tape: t, once: true}
	default:
		return nil
	}
}

func memory(size int64, open func() io.Reader) *body {
	return &body{size: size, open: func() (io.ReadCloser, error) {
		if size == 0 {
			return http.NoBody, nil
		}
		r := open()
		if c, ok := r.(io.ReadCloser); ok {
			return c, nil
		}
		return io.NopCloser(r), nil
	}}
}

// smallBody is what net/http sends together with the header, in one write, if it
// sees that the body is in memory. It does not see it in a loan.
const smallBody = 4 << 10

// borrowed is memory that the caller may write to when the request is over.
func borrowed(from *bytes.Reader) *body {
	start := *from // the caller may read on
	if size := start.Len(); size <= smallBody {
		return memory(int64(size), func() io.Reader {
			own, rest := make([]byte, size), start
			_, _ = rest.Read(own)
			return bytes.NewReader(own)
		})
	}
	loan := &loan{}
	b := memory(int64(from.Len()), func() io.Reader { return loan.reader(start) })
	b.loan = loan
	return b
}

// sectionOf returns the rest of a file, or of anything else that can be read at
// several places at once. It is nil for pipes, and for files of unknown length
// such as those below /proc.
func sectionOf(v io.Reader) *body {
	at, ok := v.(interface {
		io.ReaderAt
		io.Seeker
	})
	if !ok {
		return nil
	}
	if f, ok := v.(*os.File); ok {
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			return nil
		}
	}
	start, err := at.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil
	}
	end, err := at.Seek(0, io.SeekEnd)
	if _, back := at.Seek(start, io.SeekStart); err != nil || back != nil || end <= start {
		return nil
	}
	return memory(end-start, func() io.Reader { return io.NewSectionReader(at, start, end-start) })
}

// visible is what Resty and the middlewares after ours get to see of the body
// until the raw request is made, if it is in memory; or nil. Resty copies it.
func (b *body) visible() any {
	switch b.given.(type) {
	case []byte, string:
		return b.given
	case *bytes.Buffer, *bytes.Reader, *strings.Reader:
		own, _ := b.open()
		return own
	default:
		return nil
	}
}

// put makes b the body of a raw request.
func (b *body) put(hr *http.Request) error {
	if hr.Header.Get("Content-Length") != "" && b.size < 0 {
		if err := b.readAll(); err != nil { // SetContentLength asks for it
			return err
		}
	}
	own, err := b.open()
	if err != nil {
		return err
	}
	hr.Body, hr.GetBody, hr.ContentLength = own, b.open, b.size
	if hr.Header.Get("Content-Length") != "" {
		hr.Header.Set("Content-Length", strconv.FormatInt(b.size, 10))
	}
	switch {
	case b.made:
		hr.Header.Set("Content-Type", b.contentType) // the boundary, of multipart data
	case hr.Header.Get("Content-Type") == "":
		hr.Header.Set("Content-Type", resty.DetectContentType(b.given))
	}
	return nil
}

func (b *body) readAll() error {
	all, err := io.ReadAll(b.tape.source)
	if err != nil {
		return err
	}
	in := memory(int64(len(all)), func() io.Reader { return bytes.NewReader(all) })
	b.open, b.size, b.tape = in.open, in.size, nil
	return nil
}

// replayable reports whether the body can be sent once more.
func (b *body) replayable() bool { return b == nil || b.tape == nil || b.tape.replayable() }

// finish lets go of what the body came from. While the caller is streaming the
// response, the body may still be being sent.
func (b *body) finish(streaming bool) {
	if b.tape != nil {
		b.tape.finish()
	}
	if b.loan != nil && !streaming {
		b.loan.recall()
	}
}

// madeByResty is the body that Resty made for an attempt, for those to come, or
// nil where it made none.
func madeByResty(hr *http.Request, r *resty.Request) *body {
	if hr.Body == nil || hr.Body == http.NoBody || hr.GetBody == nil {
		return nil
	}
	return &body{
		open: hr.GetBody, size: hr.ContentLength, made: true,
		contentType: hr.Header.Get("Content-Type"), form: cloneValues(r.FormData),
	}
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
func sameBody(a, b any) bool {
	if a == any(http.NoBody) || b == any(http.NoBody) { // most often, and reflection takes longer
		return a == b
	}
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	if !va.IsValid() || !vb.IsValid() {
		return va.IsValid() == vb.IsValid()
	}
	if va.Type() != vb.Type() {
		return false
	}
	switch va.Kind() {
	case reflect.Slice:
		return va.Pointer() == vb.Pointer() && va.Len() == vb.Len()
	case reflect.Map, reflect.Func:
		return va.Pointer() == vb.Pointer()
	default:
		return va.Comparable() && va.Equal(vb)
	}
}

// A sending is what a request sends.
type sending struct {
	body     *body   // what this package sends, or nil
	held     []*body // every body of its own that it has had: OnAttempt may set several
	parts    int     // multipart readers, which Resty reads
	hiding   bool    // Resty sees shown in place of the request's own Body,
	hidden   any     // which is this
	shown    any
	noAccept bool // the first attempt had no Accept header
}

// holds reports whether the state of r has a body to keep.
func holds(c *resty.Client, r *resty.Request) bool {
	switch r.Body.(type) {
	case nil:
		return r.RawRequest != nil && sendsBody(c, r) // see takeBody
	case []byte, string, io.Reader:
		return sendsBody(c, r)
	default:
		return false
	}
}

// takeBody takes the body of the coming attempt out of Resty's hands. before is
// of the execution that the request was in earlier, if it is used again.
func (e *execution) takeBody(c *resty.Client, before *extras) error {
	r := e.request
	e.unhide()
	if err := e.chooseBody(c, before); err != nil {
		return err
	}
	switch ours := hookOf(c) == ourHook; {
	case !sendsBody(c, r):
	case e.body == nil:
		if r.Body == nil {
			// Resty would put it there itself, and leave it. And a request that is
			// used again may still point to a buffer that Resty has given to another
			// request since, and would send what is in there.
			e.hide(http.NoBody)
		}
	case e.body.made:
		if !ours {
			e.body = nil // Resty makes it again
		} else if r.Body == nil || !r.Debug {
			e.hide(http.NoBody)
		}
	case !ours:
		return errHookReplaced
	case r.Debug || !isLastMiddleware(c):
		e.hide(cmp.Or(e.body.visible(), any(http.NoBody)))
	default:
		e.hide(http.NoBody)
	}
	return nil
}

// chooseBody finds the body to send: the one it has, unless OnAttempt has set
// another.
func (e *execution) chooseBody(c *resty.Client, before *extras) error {
	r := e.request
	if e.body != nil && e.body.made {
		switch {
		case isMultipart(r) && e.parts > 0:
			return e.body.sameParts(r, e.parts)
		case !e.policy.onAttempt:
			return nil
		}
		e.body = nil // OnAttempt may have changed it; Resty makes it again
	}
	switch {
	case e.body.isOf(r.Body):
	case before != nil && before.parts > 0 && isMultipart(r):
		e.body = before.body
		return before.body.sameParts(r, before.parts)
	default:
		if e.body = e.readerOf(r.Body, before); e.body == nil {
			e.body = hold(c, r, e.policy.MaxReplay)
		}
		if e.body != nil && !slices.Contains(e.held, e.body) {
			e.held = append(e.held, e.body)
		}
	}
	if !e.body.replayable() {
		return errors.New("restyretry: Body is a reader that this request has sent before, and longer than MaxReplay")
	}
	return nil
}

// readerOf returns the body of a reader that can be read only once and has been
// seen before: OnAttempt may set several in turn, and a request may be used
// again.
func (e *execution) readerOf(given any, before *extras) *body {
	known := e.held
	if before != nil {
		known = slices.Concat(known, before.held)
	}
	for _, b := range known {
		if b.once && b.isOf(given) {
			return b
		}
	}
	return nil
}

// sameParts returns an error if the multipart data of r cannot be b, which was
// made of so many readers.
func (b *body) sameParts(r *resty.Request, parts int) error {
	if b == nil || parts != partsOf(r) || !maps.EqualFunc(b.form, r.FormData, slices.Equal) {
		return errors.New("restyretry: the multipart readers have been read for an earlier attempt or use of this request; set all parts on a new request")
	}
	return nil
}

// isOf reports whether b is the body that was given as this value.
func (b *body) isOf(given any) bool { return b != nil && sameBody(b.given, given) }

// hide lets Resty see something else than the request's body until the raw
// request has been made.
func (e *execution) hide(shown any) {
	e.hidden, e.shown, e.hiding = e.request.Body, shown, true
	e.request.Body = shown
}

// A shownBody stands in for a reader while Resty makes a curl command, for which
// it reads the body.
type shownBody struct {
	io.Reader
	given any
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
	shown := &shownBody{Reader: http.NoBody, given: r.Body}
	if b := bodyOf(r.Body, 0); b != nil && !b.once {
		shown.Reader, _ = b.open()
	}
	r.Body = shown
}

// hideShown undoes showBody.
func hideShown(r *resty.Request) {
	if shown, ok := r.Body.(*shownBody); ok {
		r.Body = shown.given
	}
}

// forgetNoBody undoes what Resty does to a request without a body. A request
// whose caller set http.NoBody begins with a whole execution, which puts it back.
func forgetNoBody(r *resty.Request) {
	if r.Body == http.NoBody {
		r.Body = nil
	}
}

// forgetEmpty undoes what Resty makes of a missing body: a reader of nothing,
// which net/http would send in chunks.
func forgetEmpty(hr *http.Request) {
	if hr.ContentLength != 0 || hr.Body == nil || hr.Body == http.NoBody || hr.GetBody == nil {
		return
	}
	body, err := hr.GetBody()
	if err != nil {
		return
	}
	if n, err := body.Read(make([]byte, 1)); n == 0 && err == io.EOF {
		hr.Body, hr.GetBody = http.NoBody, noBody
	}
}

func noBody() (io.ReadCloser, error) { return http.NoBody, nil }

// unhide puts the request's own body back.
func (e *execution) unhide() {
	if e.hiding {
		e.request.Body = e.hidden
		e.hidden, e.shown, e.hiding = nil, nil, false
	}
}

// putBody gives the raw request of an attempt its body.
func (e *execution) putBody(c *resty.Client, hr *http.Request) error {
	if e.number() > 1 && e.noAccept && hr.Header.Get("Accept") == hr.Header.Get("Content-Type") {
		// Resty derives it from the Content-Type that it found out the first time.
		hr.Header.Del("Accept")
	}
	if e.body == nil {
		forgetEmpty(hr)
	}
	theirs, err := e.isReplaced(hr)
	if !theirs {
		e.unhide()
	}
	if err != nil || e.body == nil || theirs || !sendsBody(c, e.request) {
		return err
	}
	return e.body.put(hr)
}

// isReplaced reports whether the body of the raw request is what a middleware
// after ours has made of ours, which then has to have seen it.
func (e *execution) isReplaced(hr *http.Request) (bool, error) {
	if !e.hiding || e.body == nil {
		return false, nil
	}
	now, hidden := e.request.Body, e.shown == any(http.NoBody)
	if now == nil { // SetContentLength made Resty read it
		if !hidden {
			return true, nil
		}
		now = e.shown
		if hr.ContentLength > 0 {
			now = hr.Body
		}
	}
	if sameBody(now, e.shown) {
		return false, nil
	}
	if hidden && !e.body.made {
		return true, errors.New("restyretry: a middleware has replaced a body that is streamed, and that it could not read: register it before Install")
	}
	return true, nil
}

// keepBody remembers the body that Resty made for the attempt that has ended.
func (e *execution) keepBody() {
	if e.body == nil && !(e.is(handed) && e.shape == whole) { // otherwise preRequest has, before PreRequest could replace it
		e.body = madeByResty(e.request.RawRequest, e.request)
	}
}

// canSendAgain reports whether the body of the attempt that has ended can be
// sent once more. Without our pre-request hook, multipart data cannot: Resty has
// read its parts.
func (e *execution) canSendAgain() bool {
	x := e.known()
	return (x == nil || x.body.replayable()) && (!isMultipart(e.request) || isHooked(e.request))
}

// isHooked reports whether our pre-request hook has had the raw request of the
// last attempt of r.
func isHooked(r *resty.Request) bool {
	return r.RawRequest != nil && r.Attempt > 0 && r.RawRequest.Context().Value(hookedKey{}) != nil
}
