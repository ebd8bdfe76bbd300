package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bodies of the origin's answers. Their lengths differ, so that a client that
// returns the wrong one is caught.
var (
	goodBody = bytes.Repeat([]byte("g"), 1024)
	badBody  = bytes.Repeat([]byte("b"), 512)
)

// An origin is the server's side of every scenario. It reads each request in
// full and answers with the statuses of its script in turn. The same origin
// stands behind the in-memory transport (it is one) and behind a loopback
// server (it is its handler), so both do the same.
type origin struct {
	script []int

	mu      sync.Mutex
	arrived int64
	ring    [8]arrival // the last ones
}

// An arrival is one attempt as the server saw it.
type arrival struct {
	status   int
	received int64 // -1: the body broke off
	host     string
}

// arrive notes an attempt and says what to answer.
func (o *origin) arrive(host string, received int64) (status int, body []byte) {
	o.mu.Lock()
	n := o.arrived
	o.arrived++
	status = o.script[n%int64(len(o.script))]
	o.ring[n%int64(len(o.ring))] = arrival{status, received, host}
	o.mu.Unlock()
	if status == http.StatusOK {
		return status, goodBody
	}
	return status, badBody
}

// RoundTrip is the in-memory transport.
func (o *origin) RoundTrip(r *http.Request) (*http.Response, error) {
	received, err := receive(r.Context(), r.Body)
	if err != nil {
		return nil, err
	}
	status, body := o.arrive(r.URL.Host, received)
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": plainText}, ContentLength: int64(len(body)),
		Body: newPayload(body), Request: r,
	}, nil
}

// count is the number of attempts so far.
func (o *origin) count() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.arrived
}

// last returns the attempts from the given one on, of those still known.
func (o *origin) last(since int64) []arrival {
	o.mu.Lock()
	defer o.mu.Unlock()
	var got []arrival
	for n := max(since, o.arrived-int64(len(o.ring))); n < o.arrived; n++ {
		got = append(got, o.ring[n%int64(len(o.ring))])
	}
	return got
}

// restart begins the script anew after a request that did not come to its end.
func (o *origin) restart() {
	time.Sleep(20 * time.Millisecond) // for attempts under way
	o.mu.Lock()
	defer o.mu.Unlock()
	o.arrived = 0
}

var plainText = []string{"text/plain"}

// A payload is a response body in memory.
type payload struct{ bytes.Reader }

func newPayload(b []byte) *payload {
	p := &payload{}
	p.Reset(b)
	return p
}

func (*payload) Close() error { return nil }

// ServeHTTP is the handler of the loopback server.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	received, err := receive(r.Context(), r.Body)
	if err != nil {
		received = -1
	}
	status, body := o.arrive(r.Host, received)
	w.Header()["Content-Type"] = plainText
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// receive reads and closes a request body through a buffer of its own, so that
// no client gains by the kind of its reader.
func receive(ctx context.Context, body io.ReadCloser) (n int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if body == nil || body == http.NoBody {
		return 0, nil
	}
	defer body.Close()
	buffer := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buffer)
	for {
		m, err := body.Read(buffer[:])
		n += int64(m)
		switch {
		case err == io.EOF:
			return n, nil
		case err != nil:
			return n, err
		}
	}
}

// A world is an origin and the way to it.
type world struct {
	*origin
	urls      []string                 // of the same origin under several names
	transport func() http.RoundTripper // one for each client
	close     func()
	accepted  *atomic.Int64 // connections
	open      *atomic.Int64
}

// An opener makes a world whose origin answers with the statuses of the script.
type opener func(script ...int) (*world, error)

// inMemory makes a world without a network: what is measured is the client.
func inMemory(script ...int) (*world, error) {
	o := &origin{script: script}
	return &world{
		origin:    o,
		urls:      []string{"http://a.test/work", "http://b.test/work"},
		transport: func() http.RoundTripper { return o },
		close:     func() {},
	}, nil
}

// loopback makes a world with a server on 127.0.0.1 and a transport of net/http
// for each client.
func loopback(script ...int) (*world, error) {
	o := &origin{script: script}
	return serve(o, o)
}

// serve starts a server for the handler h.
func serve(o *origin, h http.Handler) (*world, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &world{origin: o, accepted: &atomic.Int64{}, open: &atomic.Int64{}}
	server := &http.Server{Handler: h, ConnState: w.track, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	w.urls = []string{"http://127.0.0.1:" + port + "/work", "http://localhost:" + port + "/work"}
	w.transport = func() http.RoundTripper {
		return &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	}
	w.close = func() { _ = server.Close() }
	return w, nil
}

func (w *world) track(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		w.accepted.Add(1)
		w.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		w.open.Add(-1)
	}
}

// verify checks what the last operation made the origin see: since is the
// number of arrivals before it. It allocates nothing if all is well.
func (w *world) verify(since, length int64, hosts bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.arrived - since
	if got != int64(len(w.script)) {
		return fmt.Errorf("the origin saw %d attempts, want %d", got, len(w.script))
	}
	for i := range got {
		a := w.ring[(since+i)%int64(len(w.ring))]
		if a.received != length {
			return fmt.Errorf("attempt %d sent %d bytes, want %d", i+1, a.received, length)
		}
		if hosts && !strings.HasPrefix(w.urls[i], "http://"+a.host+"/") {
			return fmt.Errorf("attempt %d went to %s, want %s", i+1, a.host, w.urls[i])
		}
	}
	return nil
}
