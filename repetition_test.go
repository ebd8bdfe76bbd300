package restyretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

// A shop counts the orders it has taken: every POST or PATCH is a new one, but
// for those whose key it knows; a PUT of the same path is the same order.
type shop struct {
	mu     sync.Mutex
	orders map[string]int
	asked  int
	fault  http.HandlerFunc // answers the first request instead, after the order was taken
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if s.take(r) == 1 && s.fault != nil {
		s.fault(w, r)
		return
	}
	_, _ = io.WriteString(w, "taken")
}

// take returns how many requests there have been.
func (s *shop) take(r *http.Request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	order := fmt.Sprint("order ", s.asked)
	switch key := r.Header.Get("Idempotency-Key"); {
	case key != "":
		order = key
	case r.Method != http.MethodPost && r.Method != http.MethodPatch:
		order = r.Method + r.URL.Path
	}
	s.orders[order]++
	return s.asked
}

func (s *shop) taken() (orders, asked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.orders), s.asked
}

// open starts the shop on the loopback.
func (s *shop) open(t *testing.T) string {
	s.orders = map[string]int{}
	return serve(t, new(atomic.Int32), s.ServeHTTP)
}

// A fault is what goes wrong the first time. With a server's fault the order has
// been taken by then.
type fault struct {
	name     string
	server   http.HandlerFunc
	client   func(t *testing.T, c *resty.Client) // or before the server hears of it
	tls      func(net.Listener) net.Listener
	sent     bool // something may have been sent
	repeated bool // methods that may be repeated are
	inBody   bool // of the response
}

var faults = []fault{
	{name: "none", sent: true},
	{name: "503", server: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, sent: true, repeated: true},
	{name: "429 of a rate limiter before the shop", client: limitedOnce, repeated: true},
	{name: "404", server: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, sent: true},
	{name: "EOF after the request was read", server: cut(func(*net.TCPConn) {}), sent: true, repeated: true},
	{name: "reset after the request was read", server: cut(func(c *net.TCPConn) { _ = c.SetLinger(0) }), sent: true, repeated: true},
	{name: "EOF in the header", server: cut(says("HTTP/1.1 201 Crea")), sent: true, repeated: true},
	{name: "truncated 200", server: cut(says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")), sent: true, repeated: true, inBody: true},
	{name: "truncated 503", server: cut(says("HTTP/1.1 503 Down\r\nContent-Length: 9\r\n\r\nhalf")), sent: true, repeated: true, inBody: true},
	{name: "200 that cannot be decoded", server: sends("application/json", "<html>"), client: wantsJSON, sent: true, inBody: true},
	{name: "timeout before the header", server: hang, client: impatient, sent: true, repeated: true},
	{name: "timeout in the body", server: hangInBody, client: impatient, sent: true, repeated: true, inBody: true},
	{name: "307 to a refused port", server: movedToNowhere, sent: true, repeated: true},
	{name: "308 to a refused port", server: movedToNowhere308, sent: true, repeated: true},
	{name: "refused", client: refusedOnce, repeated: true},
	{name: "TLS: EOF in the handshake", tls: hangUpOnce(func(c *net.TCPConn) {}), repeated: true},
	{name: "TLS: reset in the handshake", tls: hangUpOnce(func(c *net.TCPConn) { _ = c.SetLinger(0) }), repeated: true},
	{name: "TLS: EOF after half a record", tls: hangUpOnce(says("\x16\x03\x03\x00\x50half")), repeated: true},
	{name: "TLS: handshake timeout", tls: hangUpOnce(func(*net.TCPConn) { time.Sleep(6 * patience) }), client: impatientTLS, repeated: true},
}

func cut(how func(*net.TCPConn)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		how(conn.(*net.TCPConn))
		_ = conn.Close()
	}
}

func says(answer string) func(*net.TCPConn) {
	return func(c *net.TCPConn) { _, _ = io.WriteString(c, answer) }
}

func movedToNowhere(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "http://127.0.0.1:1/orders/1", http.StatusTemporaryRedirect)
}

func movedToNowhere308(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "http://127.0.0.1:1/orders/1", http.StatusPermanentRedirect)
}

func impatient(_ *testing.T, c *resty.Client) { c.SetTimeout(2 * patience) }

func impatientTLS(t *testing.T, c *resty.Client) {
	transport, err := c.Transport()
	if err != nil {
		t.Fatal(err)
	}
	transport.TLSHandshakeTimeout = 2 * patience
}

func wantsJSON(_ *testing.T, c *resty.Client) {
	c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
		r.SetResult(new(struct{ Name string }))
		return nil
	})
}

// refusedOnce lets the first connection go to a port that nobody listens on.
func refusedOnce(t *testing.T, c *resty.Client) {
	nobody := closedPort(t)
	var dials atomic.Int32
	c.SetTransport(&http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			address = nobody
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}})
}

// limitedOnce has the first request refused by a rate limiter.
func limitedOnce(_ *testing.T, c *resty.Client) {
	var requests atomic.Int32
	onward := c.GetClient().Transport
	c.SetTransport(roundTrip(func(r *http.Request) (*http.Response, error) {
		if requests.Add(1) > 1 {
			return onward.RoundTrip(r)
		}
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return &http.Response{StatusCode: 429, Request: r, Header: http.Header{}, Body: http.NoBody}, nil
	}))
}

// hangUpOnce closes the first connection that comes in, after doing this to it.
func hangUpOnce(how func(*net.TCPConn)) func(net.Listener) net.Listener {
	return func(l net.Listener) net.Listener { return &rudeListener{Listener: l, how: how} }
}

type rudeListener struct {
	net.Listener
	how  func(*net.TCPConn)
	once sync.Once
}

func (l *rudeListener) Accept() (net.Conn, error) {
	l.once.Do(func() {
		conn, err := l.Listener.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = conn.Read(make([]byte, 1024)) // the hello
			l.how(conn.(*net.TCPConn))
			_ = conn.Close()
		}()
	})
	return l.Listener.Accept()
}

// begin opens a shop with the fault and returns a client that goes there.
func (f *fault) begin(t *testing.T) (*shop, *resty.Client) {
	s := &shop{fault: f.server}
	var c *resty.Client
	if f.tls == nil {
		to := s.open(t)
		c = newClient(t).SetBaseURL(to)
	} else {
		s.orders = map[string]int{}
		server := newServer(new(atomic.Int32), s.ServeHTTP)
		server.Listener = f.tls(server.Listener)
		server.StartTLS()
		t.Cleanup(server.Close)
		c = resty.NewWithClient(server.Client()).SetBaseURL(server.URL).SetLogger(quiet{})
	}
	if f.client != nil {
		f.client(t, c)
	}
	return s, c
}

// The defaults, over real connections. A POST without a key is never counted
// twice, and one with a key is sent again and counted once.
func TestRepeat(t *testing.T) {
	for _, f := range faults {
		for _, tt := range []struct {
			method, key string
			repeats     bool
		}{
			{"GET", "", true},
			{"HEAD", "", true},
			{"OPTIONS", "", true},
			{"TRACE", "", true},
			{"QUERY", "", true},
			{"PUT", "", true},
			{"DELETE", "", true},
			{"POST", "", false},
			{"PATCH", "", false},
			{"POST", "k-1", true},
			{"PATCH", "k-1", true},
		} {
			t.Run(strings.TrimSpace(f.name+"/"+tt.method+" "+tt.key), func(t *testing.T) {
				if tt.method == http.MethodHead && f.inBody {
					t.Skip("there is no body to fail")
				}
				t.Parallel()
				s, c := f.begin(t)
				install(t, c, constant(0))
				r := c.R()
				if tt.method != "GET" && tt.method != "HEAD" && tt.method != "TRACE" {
					r.SetBody("an order")
				}
				if tt.key != "" {
					r.SetHeader("Idempotency-Key", tt.key)
				}
				_, err := r.Execute(tt.method, "/orders/1")
				want := 1
				if f.repeated && (tt.repeats || !f.sent) {
					want = 2
				}
				past := restyretry.History(r)
				if got := len(past); got != want {
					t.Errorf("got %d attempts, want %d: %s, %v", got, want, summary(past), err)
				}
				if last := past[len(past)-1].Reason; f.repeated && want == 1 && last != restyretry.ReasonMethod {
					t.Errorf("got reason %s, want %s", last, restyretry.ReasonMethod)
				}
				orders, asked := s.taken()
				if orders != 1 {
					t.Errorf("got %d orders of %d requests, want 1", orders, asked)
				}
				if !f.sent {
					want--
				}
				if asked != want {
					t.Errorf("the server was asked %d times, want %d", asked, want)
				}
			})
		}
	}
}

// On a connection that was used before, net/http repeats by itself what has a
// key or is idempotent.
func TestRepeatOnAConnectionUsedBefore(t *testing.T) {
	for _, tt := range []struct {
		method, key string
		asked       int
	}{{"POST", "", 1}, {"PATCH", "", 1}, {"PUT", "", 2}, {"POST", "k-1", 2}, {"GET", "", 2}} {
		for _, body := range []any{nil, "an order", strings.NewReader("an order"), io.MultiReader(strings.NewReader("an order"))} {
			t.Run(fmt.Sprintf("%s %s %T", tt.method, tt.key, body), func(t *testing.T) {
				s := &shop{}
				to, faulty := s.open(t), cut(func(*net.TCPConn) {})
				c := newClient(t).SetBaseURL(to)
				install(t, c, constant(0))
				if _, err := c.R().Get("/orders/0"); err != nil {
					t.Fatal(err)
				}
				s.orders, s.asked, s.fault = map[string]int{}, 0, faulty
				r := c.R().SetBody(body)
				if tt.key != "" {
					r.SetHeader("Idempotency-Key", tt.key)
				}
				_, err := r.Execute(tt.method, "/orders/1")
				orders, asked := s.taken()
				if orders != 1 || asked != tt.asked || (err == nil) != (tt.asked > 1) {
					t.Errorf("got %d orders of %d requests, %v; want one order, %d requests", orders, asked, err, tt.asked)
				}
			})
		}
	}
}

// The same for a fault that stays: what is sent again is sent three times, and
// counted once.
func TestRepeatWhenTheFaultStays(t *testing.T) {
	for _, f := range faults {
		if f.server == nil || !f.repeated {
			continue
		}
		for _, method := range []string{"PUT", "POST", "POST with a key"} {
			t.Run(f.name+"/"+method, func(t *testing.T) {
				t.Parallel()
				s := &shop{orders: map[string]int{}}
				c := newClient(t).SetBaseURL(serve(t, new(atomic.Int32), func(w http.ResponseWriter, r *http.Request) {
					s.take(r)
					f.server(w, r)
				}))
				if f.client != nil {
					f.client(t, c)
				}
				install(t, c, constant(0))
				r := c.R().SetBody("an order")
				method, key, _ := strings.Cut(method, " with a ")
				want := 3
				if key != "" {
					r.SetHeader("Idempotency-Key", "k-1")
				} else if method == "POST" {
					want = 1
				}
				_, _ = r.Execute(method, "/orders/1")
				if orders, _ := s.taken(); orders != 1 || len(restyretry.History(r)) != want {
					t.Errorf("got %d orders, %s; want one order, %d attempts", orders, summary(restyretry.History(r)), want)
				}
			})
		}
	}
}

// The key that the plugin makes: a POST may be sent again, and is counted once.
func TestRepeatWithIdempotencyHeader(t *testing.T) {
	for _, f := range faults {
		for _, method := range []string{"POST", "PATCH"} {
			t.Run(f.name+"/"+method, func(t *testing.T) {
				t.Parallel()
				s, c := f.begin(t)
				install(t, c, constant(0), idempotencyHeader("Idempotency-Key"))
				r := c.R().SetBody("an order")
				_, err := r.Execute(method, "/orders/1")
				want := 1
				if f.repeated {
					want = 2
				}
				if got := len(restyretry.History(r)); got != want {
					t.Errorf("got %d attempts, want %d: %v", got, want, err)
				}
				if orders, asked := s.taken(); orders != 1 {
					t.Errorf("got %d orders of %d requests, want 1", orders, asked)
				}
			})
		}
	}
}

func idempotencyHeader(name string) func(*restyretry.Options) {
	return func(o *restyretry.Options) { o.IdempotencyHeader = name }
}

// recording answers with these statuses in turn and returns the values of a
// field in the requests.
func recording(name string, statuses ...int) (*resty.Client, func() []string) {
	var got []string
	respond, _ := answers(statuses...)
	c := mocked(func(r *http.Request) (*http.Response, error) {
		got = append(got, strings.Join(r.Header.Values(name), "|"))
		return respond(r)
	})
	return c, func() []string { return got }
}

func TestRepeatIdempotencyHeaderIsTheSameOnEveryAttempt(t *testing.T) {
	for _, method := range []string{"POST", "PATCH", "CONNECT", "REPORT", "post"} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, keys := recording("X-Key", 503)
				install(t, c, constant(time.Second), idempotencyHeader("X-Key"))
				resp, err := c.R().SetBody("an order").Execute(method, "/x")
				if err != nil {
					t.Fatal(err)
				}
				got := keys()
				if len(got) != 3 || len(got[0]) < 20 || got[1] != got[0] || got[2] != got[0] {
					t.Errorf("got keys %q, want three that are the same", got)
				}
				if left := resp.Request.Header.Get("X-Key"); left != "" {
					t.Errorf("the request was left with key %q", left)
				}
			})
		})
	}
}

func TestRepeatIdempotencyHeaderIsFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, keys := recording("X-Key", 503, 200, 503, 200, 200)
		install(t, c, constant(time.Second), idempotencyHeader("X-Key"))
		r := c.R().SetBody("an order")
		for range 2 {
			if _, err := r.Post("/x"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.R().SetBody("an order").Post("/x"); err != nil {
			t.Fatal(err)
		}
		got := keys()
		if len(got) != 5 || got[0] != got[1] || got[2] != got[3] || len(slices.Compact(slices.Clone(got))) != 3 || slices.Contains(got, "") {
			t.Errorf("got keys %q, want one for each use of a request", got)
		}
	})
}

func TestRepeatIdempotencyHeaderOfTheUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, set := range map[string]func(c *resty.Client, r *resty.Request){
			"request": func(_ *resty.Client, r *resty.Request) { r.SetHeader("x-key", "mine") },
			"client":  func(c *resty.Client, _ *resty.Request) { c.SetHeader("X-KEY", "mine") },
		} {
			c, keys := recording("X-Key", 503)
			install(t, c, constant(0), idempotencyHeader("X-Key"))
			r := c.R().SetBody("an order")
			set(c, r)
			for range 2 {
				if _, err := r.Post("/x"); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Join(keys(), " "); got != "mine mine mine mine mine mine" {
				t.Errorf("%s: got keys %s, want the user's", name, got)
			}
		}
	})
}

// SetHeaderVerbatim keeps the letters as they are; the key counts all the same.
func TestRepeatIdempotencyHeaderOfTheUserInOtherLetters(t *testing.T) {
	for _, name := range []string{"idempotency-key", "IDEMPOTENCY-KEY"} {
		for _, options := range []func(*restyretry.Options){constant(0), idempotencyHeader("Idempotency-Key")} {
			synctest.Test(t, func(t *testing.T) {
				var got []string
				c := mocked(func(r *http.Request) (*http.Response, error) {
					for key, values := range r.Header {
						if strings.EqualFold(key, name) {
							got = append(got, values...)
						}
					}
					return httpmock.NewStringResponse(503, ""), nil
				})
				install(t, c, options)
				if _, err := c.R().SetHeaderVerbatim(name, "mine").SetBody("an order").Post("/x"); err != nil {
					t.Fatal(err)
				}
				if keys := strings.Join(got, " "); keys != "mine mine mine" {
					t.Errorf("%s: got keys %s, want the user's in three attempts", name, keys)
				}
			})
		}
	}
}

func TestRepeatIdempotencyHeaderIsOnlyForMethodsThatNeedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"} {
			c, keys := recording("X-Key", 503)
			install(t, c, constant(0), idempotencyHeader("X-Key"))
			if _, err := c.R().Execute(method, "/x"); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(keys(), ""); got != "" || len(keys()) != 3 {
				t.Errorf("%s: got keys %q, want none", method, keys())
			}
		}
	})
}

func TestRepeatIdempotencyHeaderIsOffByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, keys := recording("Idempotency-Key", 503)
		install(t, c, constant(0))
		resp, err := c.R().SetBody("an order").Post("/x")
		if got := summary(restyretry.History(resp.Request)); err != nil || got != "1 method" || keys()[0] != "" {
			t.Errorf("got %s, keys %q, %v; want 1 method and none", got, keys(), err)
		}
	})
}

// A key in a header of another name, or an empty one, allows nothing.
func TestRepeatOtherKeysAllowNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, line := range [][2]string{{"X-Key", "k"}, {"X-Idempotency-Key", "k"}, {"Idempotency-Key", ""}} {
			c, _ := recording("", 503)
			install(t, c, constant(0))
			resp, err := c.R().SetHeader(line[0], line[1]).SetBody("an order").Post("/x")
			if got := summary(restyretry.History(resp.Request)); err != nil || got != "1 method" {
				t.Errorf("%v: got %s %v, want 1 method", line, got, err)
			}
		}
	})
}

func TestRepeatAttemptHeader(t *testing.T) {
	attemptHeader := func(o *restyretry.Options) { o.AttemptHeader = "X-Attempt" }
	for _, tt := range []struct {
		name string
		set  func(*restyretry.Options)
		user string
		want string
	}{
		{"off", constant(0), "", " "},
		{"on", attemptHeader, "", "1 2"},
		{"not over the user's", attemptHeader, "7", "7 7"},
		{"off, the user's", constant(0), "7", "7 7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, numbers := recording("X-Attempt", 503, 200, 503, 200)
				install(t, c, constant(0), tt.set)
				r := c.R()
				if tt.user != "" {
					r.SetHeader("X-Attempt", tt.user)
				}
				for range 2 { // a request that is used again begins at 1
					if _, err := r.Get("/x"); err != nil {
						t.Fatal(err)
					}
				}
				if got, want := strings.Join(numbers(), " "), tt.want+" "+tt.want; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		})
	}
}

// The server is told over a real connection, too, and by requests of one context.
func TestRepeatAttemptHeaderOfARequest(t *testing.T) {
	var got []string
	c := newClient(t).SetBaseURL(serve(t, new(atomic.Int32), func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("X-Attempt")+r.Header.Get("X-Key"))
		w.WriteHeader(503)
	}))
	install(t, c, constant(0))
	ctx := restyretry.With(t.Context(), func(o *restyretry.Options) { o.AttemptHeader = "X-Attempt" })
	for _, r := range []*resty.Request{c.R().SetContext(ctx), c.R()} {
		if _, err := r.Get("/x"); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(got, ","); got != "1,2,3,,," {
		t.Errorf("got %s, want 1,2,3,,,", got)
	}
}

func TestRepeatHeaderNamesAreChecked(t *testing.T) {
	for _, name := range []string{" ", "X Key", "X-Key:", "X-Key\r\nX-Evil", "Schlüssel", "a\x00b", "(key)", `"key"`} {
		for option, set := range map[string]func(*restyretry.Options){
			"IdempotencyHeader": idempotencyHeader(name),
			"AttemptHeader":     func(o *restyretry.Options) { o.AttemptHeader = name },
		} {
			says := fmt.Sprintf("%s is %q", option, name)
			check := func(from string, err error) {
				if err == nil || !strings.Contains(err.Error(), says) {
					t.Errorf("%s: got %v, want an error with %q", from, err, says)
				}
			}
			_, err := restyretry.Install(resty.New(), set)
			check("Install", err)
			respond, calls := answers(200)
			c := mocked(respond)
			check("Update", install(t, c).Update(set))
			_, err = c.R().SetContext(restyretry.With(t.Context(), set)).Get("/x")
			check("With", err)
			if *calls != 0 {
				t.Errorf("%s: the request was sent", says)
			}
		}
	}
}

// A transport that says nothing of what it writes is believed only where the
// error comes before.
func TestRepeatOverATransportThatTellsNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"dial", &net.OpError{Op: "dial", Err: errors.New("refused")}, "1 error, 2 error, 3 attempts"},
		{"write", &net.OpError{Op: "write", Err: errors.New("broken pipe")}, "1 method"},
		{"read", &net.OpError{Op: "read", Err: errors.New("reset")}, "1 method"},
		{"EOF", io.EOF, "1 method"},
		{"name not resolved for now", &net.DNSError{IsTemporary: true}, "1 error, 2 error, 3 attempts"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := mocked(func(*http.Request) (*http.Response, error) { return nil, tt.err })
				install(t, c, constant(0), func(o *restyretry.Options) { o.Errors = func(error) bool { return true } })
				r := c.R().SetBody("an order")
				_, err := r.Post("/x")
				if got := summary(restyretry.History(r)); got != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("got %s, %v; want %s", got, err, tt.want)
				}
			})
		})
	}
}

// A slowConn returns from writing long after it has written.
type slowConn struct {
	net.Conn
	slow *atomic.Bool
}

func (c *slowConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.slow.Load() {
		time.Sleep(4 * patience)
	}
	return n, err
}

// A POST whose header is being written when its time is up has been sent.
func TestRepeatNoPOSTThatIsBeingWritten(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP2 %v", http2), func(t *testing.T) {
			posts := make(chan bool, 9)
			_, c := bodyServe(t, http2, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					posts <- true
					hang(nil, r)
				}
			}))
			var slow atomic.Bool
			c.GetClient().Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				return &slowConn{conn, &slow}, err
			}
			install(t, c, constant(0))
			if _, err := c.R().Get("/"); err != nil {
				t.Fatal(err)
			}
			slow.Store(true)
			limit := func(o *restyretry.Options) { o.AttemptTimeout = patience }
			r := c.R().SetContext(restyretry.With(t.Context(), limit))
			_, err := r.Post("/")
			<-posts
			if got := summary(restyretry.History(r)); !errors.Is(err, context.DeadlineExceeded) || got != "1 method" {
				t.Errorf("got %v, %s; want a timeout, 1 method", err, got)
			}
		})
	}
}
