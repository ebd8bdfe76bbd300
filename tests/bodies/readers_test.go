package bodies

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry/internal/harness"
)

// A use is how a transport reads the body of an attempt. It sends what send sends.
type use struct {
	name  string
	sent  int  // how many bodies arrive for each attempt
	twice bool // and all of it is read before that
	trip  func(r *http.Request, send harness.RoundTrip) (*http.Response, error)
}

// on returns a transport that uses bodies in this way and closes them, as every
// transport must.
func (u use) on(next http.RoundTripper) http.RoundTripper {
	return harness.RoundTrip(func(r *http.Request) (*http.Response, error) {
		resp, err := u.trip(r, next.RoundTrip)
		if err != nil {
			return nil, errors.Join(err, r.Body.Close())
		}
		return resp, nil
	})
}

// once is r with a body of its own.
func once(r *http.Request) (*http.Request, error) {
	own := r.Clone(r.Context())
	var err error
	own.Body, err = r.GetBody()
	return own, err
}

func sum(text []byte) string { return fmt.Sprintf("%x", sha256.Sum256(text)) }

// sign is the sum of what GetBody gives.
func sign(r *http.Request) (string, error) {
	body, err := r.GetBody()
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(body)
	return sum(text), errors.Join(err, body.Close())
}

func signed(times int) func(*http.Request, harness.RoundTrip) (*http.Response, error) {
	return func(r *http.Request, send harness.RoundTrip) (*http.Response, error) {
		r = r.Clone(r.Context())
		for range times {
			sum, err := sign(r)
			if err != nil {
				return nil, err
			}
			r.Header.Add("Sum", sum)
		}
		return send(r)
	}
}

func uses() []use {
	four := func(body io.Reader) error {
		_, err := io.ReadFull(body, make([]byte, 4))
		return err
	}
	return []use{
		{"GetBody before Body", 1, true, signed(1)},
		{"GetBody twice before Body", 1, true, signed(2)},
		{"four bytes of GetBody before Body", 1, false, func(r *http.Request, send harness.RoundTrip) (*http.Response, error) {
			own, err := once(r)
			if err == nil {
				err = errors.Join(four(own.Body), own.Body.Close())
			}
			if err != nil {
				return nil, err
			}
			return send(r)
		}},
		{"four bytes of Body before GetBody", 1, false, func(r *http.Request, send harness.RoundTrip) (*http.Response, error) {
			own, err := once(r)
			if err := errors.Join(err, four(r.Body), r.Body.Close()); err != nil {
				return nil, err
			}
			return send(own)
		}},
		{"GetBody alone", 1, false, func(r *http.Request, send harness.RoundTrip) (*http.Response, error) {
			_ = r.Body.Close()
			own, err := once(r)
			if err != nil {
				return nil, err
			}
			return send(own)
		}},
		{"GetBody opened before Body, and sent after it", 2, true, func(r *http.Request, send harness.RoundTrip) (*http.Response, error) {
			own, err := once(r) // as Resty's digest authentication does
			if err != nil {
				return nil, err
			}
			if _, err := send(r); err != nil {
				return nil, errors.Join(err, own.Body.Close())
			}
			return send(own)
		}},
		{"all at once", 1, true, func(r *http.Request, send harness.RoundTrip) (resp *http.Response, err error) {
			var all sync.WaitGroup
			sums, errs := make([]string, 4), make([]error, 4)
			for i := range sums {
				all.Go(func() { sums[i], errs[i] = sign(r) })
			}
			resp, err = send(r)
			all.Wait()
			for _, sum := range sums {
				if sum != sums[0] {
					err = fmt.Errorf("got the sums %s", sums)
				}
			}
			return resp, errors.Join(err, errors.Join(errs...))
		}},
		{"in turn", 2, true, func(r *http.Request, send harness.RoundTrip) (*http.Response, error) {
			own, err := once(r)
			if err != nil {
				return nil, err
			}
			var a, b bytes.Buffer
			for errA, errB := error(nil), error(nil); errA != io.EOF || errB != io.EOF; {
				_, errA = io.CopyN(&a, r.Body, 3)
				_, errB = io.CopyN(&b, own.Body, 7)
				if errA != nil && errA != io.EOF || errB != nil && errB != io.EOF {
					return nil, errors.Join(errA, errB, own.Body.Close())
				}
			}
			_, _ = r.Body.Close(), own.Body.Close()
			r, own = r.Clone(r.Context()), r.Clone(r.Context())
			r.Body, own.Body = io.NopCloser(&a), io.NopCloser(&b)
			if _, err := send(r); err != nil {
				return nil, err
			}
			return send(own)
		}},
	}
}

// failsTwice fails two attempts, each of which sends several requests.
func failsTwice(sent int) harness.Script {
	return func(n int, r *http.Request) (*http.Response, error) {
		return harness.Statuses(503, 503, 200)((n+sent-1)/sent, r)
	}
}

const againTwice = "503 status 1s | 503 status 1s | 200 succeeded"

// A transport may read GetBody as well as Body, as one that signs does.
func TestEveryReaderOfABodyGetsTheWholeOfIt(t *testing.T) {
	for _, body := range harness.Bodies() {
		for _, size := range sizes(body) {
			for _, use := range uses() {
				if body.Of == harness.Nothing {
					continue
				}
				harness.Bubble(t, fmt.Sprintf("%s of %d, %s", body.Name, size, use.name), func(t *testing.T) {
					c := harness.New(t, failsTwice(use.sent))
					c.SetTransport(use.on(c.GetClient().Transport))
					r, text := c.R(), harness.Text(size)
					body.Set(t, r, text)
					call := c.Do(t, r, "PUT", "/").WantEach(t, 3*use.sent, body.Plain(t, text))
					call.WantStory(t, againTwice)
					for _, s := range call.Sent {
						for _, got := range s.Header["Sum"] {
							harness.Equal(t, "sum", got, sum([]byte(s.Body)))
						}
					}
				})
			}
		}
	}
}

// The second reader gets an error, and no server gets a part that looks like the
// whole.
func TestAReaderPastMaxReplayThatIsReadTwiceIsAnError(t *testing.T) {
	for _, use := range uses() {
		if !use.twice || use.name == "all at once" { // one of them gets it, in any order
			continue
		}
		harness.Bubble(t, use.name, func(t *testing.T) {
			c := harness.New(t, failsTwice(use.sent), harness.MaxReplay(1000))
			c.SetTransport(use.on(c.GetClient().Transport))
			call := c.Do(t, c.R().SetBody(harness.Stream(harness.Text(5000))), "PUT", "/")
			call.WantStory(t, "error body")
			for i, s := range call.Sent[min(use.sent-1, len(call.Sent)):] {
				if len(s.Body) == 5000 {
					t.Errorf("request %d: got it in full", i+1)
				}
			}
		})
	}
}

// asksForDigest answers what has digest authentication.
func asksForDigest(script harness.Script) harness.Script {
	ask := harness.Says(401, `WWW-Authenticate: Digest realm="test", nonce="nonce", qop="auth", algorithm=MD5`)
	return func(n int, r *http.Request) (*http.Response, error) {
		if r.Header.Get("Authorization") == "" {
			return ask(n, r)
		}
		return script(n/2, r)
	}
}

func TestDigestAuthenticationSendsTheWholeBodyEachTime(t *testing.T) {
	client := func(c *resty.Client, _ *resty.Request) { c.SetDigestAuth("user", "secret") }
	request := func(_ *resty.Client, r *resty.Request) { r.SetDigestAuth("user", "secret") }
	none := func(*resty.Client, *resty.Request) {}
	for name, install := range map[string]struct {
		before, after func(*resty.Client, *resty.Request)
	}{
		"client, before Install":  {client, none},
		"client, after Install":   {none, client},
		"request, before Install": {request, none},
		"request, after Install":  {none, request},
	} {
		for _, body := range harness.Bodies() {
			harness.Bubble(t, name+", "+body.Name, func(t *testing.T) {
				c, text := harness.Mock(asksForDigest(harness.Statuses(503, 503, 200))), harness.Text(5000)
				r := c.R()
				install.before(c.Client, r)
				c.Install(t, second)
				install.after(c.Client, r)
				body.Set(t, r, text)
				call := c.Do(t, r, "PUT", "/").WantEach(t, 6, body.Plain(t, text))
				call.WantStory(t, againTwice)
			})
		}
	}
}

// The transport goes on reading past MaxReplay while the next attempt is waited for.
func TestTheAnswerSurvivesABodyThatIsLostDuringTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.Mock(nil)
		c.SetTransport(harness.RoundTrip(func(r *http.Request) (*http.Response, error) {
			time.AfterFunc(time.Second/2, func() { _, _ = io.Copy(io.Discard, r.Body); _ = r.Body.Close() })
			return harness.Says(503)(1, r)
		}))
		c.Install(t, second, harness.MaxReplay(1000))
		call := c.Do(t, c.R().SetBody(harness.Stream(harness.Text(5000))), "PUT", "/").WantStatus(t, 503)
		call.WantStory(t, "503 body 1s")
		harness.WantError(t, call.Err, "1 of 3 attempts", "MaxReplay")
	})
}

// Several readers in a row, as a value: two of them cannot be compared.
type readers struct {
	io.Reader
	parts  []io.Reader
	closed *int
}

func (r readers) Close() error { *r.closed++; return nil }

func TestAReaderThatCannotBeComparedIsSentAgainAndClosedOnce(t *testing.T) {
	harness.Bubble(t, "a struct with a slice", func(t *testing.T) {
		parts, closed := []io.Reader{harness.Stream("hel"), harness.Stream("lo")}, 0
		c := harness.New(t, harness.Statuses(503))
		r := c.R().SetBody(readers{io.MultiReader(parts...), parts, &closed})
		c.Do(t, r, "PUT", "/").Want(t, harness.UsedUp(3)).WantBodies(t, "hello", "hello", "hello")
		harness.Equal(t, "times closed", closed, 1)
	})
}
