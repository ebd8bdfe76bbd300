package restyretry_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

// settled fails the test if goroutines are left when everything that the test
// has started is closed. It comes first in a test.
func settled(t *testing.T) {
	t.Helper()
	t.Cleanup(responseGoroutines(t))
}

// A bodyUse is how a transport reads the body of one attempt. It sends what send
// sends.
type bodyUse struct {
	name string
	trip func(r *http.Request, send roundTrip) (*http.Response, error)
	sent int // how many whole bodies go out per attempt
}

// bodyAgain is r with a body of its own.
func bodyAgain(r *http.Request) (*http.Request, error) {
	again := r.Clone(r.Context())
	var err error
	again.Body, err = r.GetBody()
	return again, err
}

// bodySum hashes what GetBody gives.
func bodySum(r *http.Request) (string, error) {
	body, err := r.GetBody()
	if err != nil {
		return "", err
	}
	defer body.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, body); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), nil
}

// bodySigned sends r with the hash of what GetBody gives, so often asked for.
func bodySigned(r *http.Request, send roundTrip, times int) (*http.Response, error) {
	for range times {
		sum, err := bodySum(r)
		if err != nil {
			return nil, err
		}
		r.Header.Add("Sum", sum)
	}
	return send(r)
}

// use reads and sends the body, and closes it in any case, as a transport has to.
func (u bodyUse) use(r *http.Request, send roundTrip) (*http.Response, error) {
	resp, err := u.trip(r, send)
	if err != nil {
		r.Body.Close()
	}
	return resp, err
}

func bodyUses() []bodyUse {
	return []bodyUse{
		{"GetBody before Body", func(r *http.Request, send roundTrip) (*http.Response, error) {
			return bodySigned(r, send, 1)
		}, 1},
		{"GetBody twice before Body", func(r *http.Request, send roundTrip) (*http.Response, error) {
			return bodySigned(r, send, 2)
		}, 1},
		{"the beginning of GetBody before Body", func(r *http.Request, send roundTrip) (*http.Response, error) {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			if _, err := io.ReadFull(body, make([]byte, 4)); err != nil {
				return nil, err
			}
			body.Close()
			return send(r)
		}, 1},
		{"the beginning of Body, then GetBody", func(r *http.Request, send roundTrip) (*http.Response, error) {
			if _, err := io.ReadFull(r.Body, make([]byte, 4)); err != nil {
				return nil, err
			}
			defer r.Body.Close()
			again, err := bodyAgain(r)
			if err != nil {
				return nil, err
			}
			return send(again)
		}, 1},
		{"GetBody alone", func(r *http.Request, send roundTrip) (*http.Response, error) {
			r.Body.Close()
			again, err := bodyAgain(r)
			if err != nil {
				return nil, err
			}
			return send(again)
		}, 1},
		{"GetBody opened before Body and sent after it", func(r *http.Request, send roundTrip) (*http.Response, error) {
			again, err := bodyAgain(r) // as Resty's digest authentication does
			if err != nil {
				return nil, err
			}
			if _, err := send(r); err != nil {
				again.Body.Close()
				return nil, err
			}
			return send(again)
		}, 2},
		{"both at once", func(r *http.Request, send roundTrip) (*http.Response, error) {
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					sum, err := bodySum(r)
					if want, _ := bodySum(r); err != nil || sum != want {
						r.Context().Value(bodyProblemsKey{}).(chan error) <- fmt.Errorf("got the sums %s and %s, %v", sum, want, err)
					}
				})
			}
			defer all.Wait()
			return send(r)
		}, 1},
		{"both in turn", func(r *http.Request, send roundTrip) (*http.Response, error) {
			var a, b bytes.Buffer
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			defer body.Close()
			for ended := false; !ended; {
				_, errA := io.CopyN(&a, r.Body, 3)
				_, errB := io.CopyN(&b, body, 7)
				ended = errA == io.EOF && errB == io.EOF
				if err := errors.Join(errA, errB); err != nil && errA != io.EOF && errB != io.EOF {
					return nil, err
				}
			}
			r.Body.Close()
			for _, all := range []*bytes.Buffer{&a, &b} {
				again := r.Clone(r.Context())
				again.Body = io.NopCloser(all)
				if all == &b {
					return send(again)
				}
				if _, err := send(again); err != nil {
					return nil, err
				}
			}
			panic("unreachable")
		}, 2},
	}
}

type bodyProblemsKey struct{}

// A transport may read GetBody as well as Body, as one that signs does.
func TestEveryReaderOfABodyGetsTheWholeOfIt(t *testing.T) {
	settled(t)
	for _, kind := range bodyKinds() {
		if kind.name == "no body" {
			continue
		}
		for _, size := range []int{11, 20 << 10} {
			text := bodyText(size)
			want := bodyExpected(t, kind, text).shared().body
			for _, use := range bodyUses() {
				t.Run(fmt.Sprintf("%s of %d, %s", kind.name, size, use.name), func(t *testing.T) {
					respond, got := bodyRecord(slices.Concat(
						slices.Repeat([]int{503}, 2*use.sent), slices.Repeat([]int{200}, use.sent))...)
					problems := make(chan error, 100)
					var sums []string
					c := resty.NewWithClient(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
						defer func() { sums = append(sums, r.Header["Sum"]...) }()
						return use.use(r, respond)
					})}).SetBaseURL("http://api.test").SetLogger(quiet{})
					install(t, c, constant(0))
					r := c.R().SetContext(context.WithValue(t.Context(), bodyProblemsKey{}, problems))
					kind.set(t, r, text)
					resp, err := r.Put("/")
					if err != nil || resp.StatusCode() != 200 || len(*got) != 3*use.sent {
						t.Fatalf("got %v, %v, %d bodies; want a 200 after %d", resp, err, len(*got), 3*use.sent)
					}
					for i, receipt := range *got {
						if receipt.shared().body != want {
							t.Errorf("body %d: got %v, want %d bytes", i+1, receipt, len(want))
						}
						if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(receipt.body))); len(sums) > 0 && !slices.Contains(sums, sum) {
							t.Errorf("body %d: got the sums %v, want %s", i+1, sums, sum)
						}
					}
					close(problems)
					for err := range problems {
						t.Error(err)
					}
				})
			}
		}
	}
}

// Of a reader that is too long to be recorded, whoever comes second gets an
// error, and no server a part that looks like the whole.
func TestAReaderPastMaxReplayThatIsSignedIsAnError(t *testing.T) {
	settled(t)
	for _, use := range bodyUses() {
		if use.sent > 1 || use.name == "both at once" || use.name == "GetBody alone" ||
			strings.HasPrefix(use.name, "the beginning") {
			continue // one of them can be sent
		}
		t.Run(use.name, func(t *testing.T) {
			s := &bodyServer{}
			_, c := bodyServe(t, false, s)
			base := c.GetClient().Transport
			c.SetTransport(roundTrip(func(r *http.Request) (*http.Response, error) { return use.use(r, base.RoundTrip) }))
			install(t, c, constant(0), bodyMaxReplay(1000))
			r := c.R().SetBody(bodyPlain(bodyText(5000)))
			_, err := r.Put("/")
			if err == nil || summary(restyretry.History(r)) != "1 body" {
				t.Errorf("got %v, %s; want an error, and attempt 1 the last because of its body", err, summary(restyretry.History(r)))
			}
			for _, got := range s.receipts() {
				if got.complete {
					t.Errorf("got %v, want nothing in full", got)
				}
			}
		})
	}
}

// A bodyDigestServer asks for digest authentication, and fails the first
// requests that have it.
type bodyDigestServer struct {
	bodyServer
	failures int
	asked    int // requests without it
}

func (s *bodyDigestServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.receive(r, -1)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !strings.HasPrefix(r.Header.Get("Authorization"), "Digest "):
		s.asked++
		w.Header().Set("WWW-Authenticate", `Digest realm="test", nonce="nonce", qop="auth", algorithm=MD5`)
		w.WriteHeader(http.StatusUnauthorized)
	case s.failures > 0:
		s.failures--
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func TestDigestAuthenticationSendsTheWholeBodyEachTime(t *testing.T) {
	settled(t)
	onClient := func(c *resty.Client, _ *resty.Request) { c.SetDigestAuth("user", "secret") }
	onRequest := func(_ *resty.Client, r *resty.Request) { r.SetDigestAuth("user", "secret") }
	nothing := func(*resty.Client, *resty.Request) {}
	for _, way := range []struct {
		name          string
		before, after func(*resty.Client, *resty.Request) // Install
	}{
		{"client, before Install", onClient, nothing},
		{"client, after Install", nothing, onClient},
		{"request, before Install", onRequest, nothing},
		{"request, after Install", nothing, onRequest},
	} {
		for _, kind := range bodyKinds() {
			if kind.name == "no body" {
				continue
			}
			t.Run(way.name+", "+kind.name, func(t *testing.T) {
				text := bodyText(20 << 10)
				want := bodyExpected(t, kind, text).shared().body
				s := &bodyDigestServer{failures: 2}
				_, c := bodyServe(t, false, s)
				r := c.R()
				way.before(c, r)
				install(t, c, constant(0))
				way.after(c, r)
				kind.set(t, r, text)
				resp, err := r.Put("/")
				if err != nil || resp.StatusCode() != 200 {
					t.Fatalf("got %v, %v; want a 200", resp, err)
				}
				if got := len(s.receipts()); got != 6 || s.asked != 3 {
					t.Errorf("got %d requests, %d of them without authentication; want 6 and 3", got, s.asked)
				}
				for i, receipt := range s.receipts() {
					if !receipt.complete || receipt.shared().body != want {
						t.Errorf("request %d: got %v, want %d bytes", i+1, receipt, len(want))
					}
				}
			})
		}
	}
}

// A redirect with 307 or 308 sends the body once more within one attempt.
func TestBodyFollowsRedirectsInEveryAttempt(t *testing.T) {
	settled(t)
	text := bodyText(600 << 10)
	slowKinds := []string{"bytes", "os.File", "plain reader", "pipe", "SetFileReader, not seekable"} // the others take the same ways
	for _, status := range []int{307, 308} {
		for _, early := range []bool{false, true} {
			for _, kind := range bodyKinds() {
				if kind.name == "no body" || early && !slices.Contains(slowKinds, kind.name) {
					continue
				}
				t.Run(fmt.Sprintf("%d, early %v, %s", status, early, kind.name), func(t *testing.T) {
					t.Parallel()
					want := bodyExpected(t, kind, text).shared().body
					last := &bodyServer{}
					failures := 2
					other, _ := bodyServe(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						last.receive(r, -1)
						if failures--; failures >= 0 {
							w.WriteHeader(http.StatusServiceUnavailable)
						}
					}))
					_, c := bodyServe(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if early {
							_ = http.NewResponseController(w).EnableFullDuplex() // or the server reads on
							w.Header().Set("Connection", "close")
						} else {
							_, _ = io.Copy(io.Discard, r.Body)
						}
						to := "/again"
						if r.URL.Path == "/again" {
							to = other.URL + "/moved"
						}
						http.Redirect(w, r, to, status)
					}))
					// An answer that comes so early may be lost with its connection.
					install(t, c, constant(0), bodyAttempts(20))
					r := c.R()
					kind.set(t, r, text)
					resp, err := r.Put("/")
					if err != nil || resp.StatusCode() != 200 {
						t.Fatalf("got %v, %v; want a 200", resp, err)
					}
					got := last.receipts()
					if len(got) != 3 {
						t.Errorf("got %d requests where the redirects end, want 3", len(got))
					}
					for i, receipt := range got {
						if !receipt.complete || receipt.shared().body != want {
							t.Errorf("request %d: got %v, want %d bytes", i+1, receipt, len(want))
						}
					}
				})
			}
		}
	}
}
