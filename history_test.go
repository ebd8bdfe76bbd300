package restyretry_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

type markKey struct{}

// marked is a context other than the one it is made of, for requests that are to
// have one of their own.
func marked(ctx context.Context) context.Context { return context.WithValue(ctx, markKey{}, true) }

// However few or many attempts a request has, and wherever they are kept, the
// history has all of them with everything.
func TestTheHistoryHasEveryAttemptInFull(t *testing.T) {
	const lost = 0 // instead of a status
	all := func(o *restyretry.Options) {
		o.Attempts = 5
		o.Wait = restyretry.Linear(time.Second, time.Minute)
		o.URL = restyretry.URLs("http://a.test/1", "http://b.test/2?key=secret", "http://c.test/3", "http://d.test/4")
	}
	sent := []string{"http://a.test/1", "http://b.test/2?key=REDACTED", "http://c.test/3", "http://d.test/4"}
	observed := func(o *restyretry.Options) {
		all(o)
		withHooks(o)
	}
	for _, script := range [][]int{
		{200}, {404}, {lost, 200}, {503, 200}, {503, 404}, {503, lost, 200}, {503, 503, 200}, {lost, lost, lost, 200}, {503, 503, 503, 404},
	} {
		for name, options := range map[string]func(*restyretry.Options){"": all, ", hooks": observed} {
			for _, ctx := range []context.Context{nil, marked(context.Background())} {
				t.Run(fmt.Sprint(script, name, ", context: ", ctx != nil), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						n := 0
						c := mocked(func(r *http.Request) (*http.Response, error) {
							n++
							time.Sleep(time.Duration(n) * time.Millisecond)
							if script[n-1] == lost {
								return nil, io.ErrUnexpectedEOF
							}
							resp := httpmock.NewStringResponse(script[n-1], "")
							resp.Request = r
							return resp, nil
						})
						install(t, c, options)
						r := c.R()
						if ctx != nil {
							r.SetContext(ctx)
						}
						start := time.Now()
						resp, _ := r.Get("/given")
						past := restyretry.History(r)
						if len(past) != len(script) || resp.StatusCode() != script[len(script)-1] {
							t.Fatalf("got %d attempts and %v, want %d", len(past), resp, len(script))
						}
						for i, a := range past {
							want := restyretry.Reason("status")
							switch script[i] {
							case lost:
								want = restyretry.ReasonError
							case 200:
								want = restyretry.ReasonSucceeded
							case 404:
								want = restyretry.ReasonNotRetryable
							}
							wait := time.Duration(i+1) * time.Second
							if i == len(past)-1 {
								wait = 0
							}
							took := time.Duration(i+1) * time.Millisecond
							if a.Number != i+1 || a.Max != 5 || a.Method != "GET" || a.URL != sent[i] || a.Request != r || a.Reason != want ||
								a.StatusCode() != script[i] || (a.Err != nil) != (script[i] == lost) || a.Wait != wait || a.Took != took || !a.Start.Equal(start) {
								t.Errorf("attempt %d is %+v", i+1, a)
							}
							start = start.Add(took + wait)
						}
					})
				})
			}
		}
	}
}

// With OnAttempt, a request is in the end what its caller made it, however little
// of it had to be remembered; and so it is at the beginning of each attempt.
func TestOnAttemptFindsTheRequestAsItWasGiven(t *testing.T) {
	for _, method := range []string{"GET", "DELETE"} {
		for _, script := range [][]int{{200}, {503, 200}, {503, 503, 200}} {
			respond, _ := answers(script...)
			c := mocked(respond).SetQueryParam("client", "c").SetHeader("Client", "c")
			install(t, c, constant(0), func(o *restyretry.Options) {
				o.Hooks = append(o.Hooks, restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
					r := a.Request
					if len(r.Header)+len(r.QueryParam)+len(r.FormData) != 0 || r.URL != "/x" || a.URL != "/x" || r.Body != nil {
						t.Errorf("attempt %d begins with %v %v %v %v %q", a.Number, r.Header, r.QueryParam, r.FormData, r.Body, r.URL)
					}
					return nil
				}})
			})
			ctx := marked(t.Context())
			r := c.R().SetContext(ctx)
			resp, err := r.Execute(method, "/x")
			if err != nil || resp.StatusCode() != 200 {
				t.Fatal(resp, err)
			}
			if len(r.Header)+len(r.QueryParam)+len(r.FormData) != 0 || r.Body != nil || r.Method != method || r.Context() != ctx {
				t.Errorf("%s %v: the request ends with %v %v %v %v", method, script, r.Header, r.QueryParam, r.FormData, r.Body)
			}
		}
	}
}

// Without OnAttempt too, a request without a body ends without one.
func TestARequestWithoutABodyEndsWithoutOne(t *testing.T) {
	respond, _ := answers(503, 200)
	c := mocked(respond)
	install(t, c, constant(0))
	for _, ctx := range []context.Context{nil, marked(t.Context())} {
		for range 2 {
			r := c.R()
			if ctx != nil {
				r.SetContext(ctx)
			}
			if resp, err := r.Delete("/x"); err != nil || resp.StatusCode() != 200 || r.Body != nil {
				t.Errorf("got %v, %v, body %v", resp, err, r.Body)
			}
		}
	}
}

// What OnAttempt sets on a request that had nothing is gone at the next attempt
// and in the end.
func TestWhatOnAttemptSetsIsForThatAttempt(t *testing.T) {
	changes := map[string]func(*resty.Request){
		"header":    func(r *resty.Request) { r.SetHeader("X", "1") },
		"query":     func(r *resty.Request) { r.SetQueryParam("q", "1") },
		"form":      func(r *resty.Request) { r.Method = "PUT"; r.SetFormData(map[string]string{"f": "1"}) },
		"path":      func(r *resty.Request) { r.SetPathParam("p", "1") },
		"raw path":  func(r *resty.Request) { r.SetRawPathParam("p", "1") },
		"cookie":    func(r *resty.Request) { r.SetCookie(&http.Cookie{Name: "c", Value: "1"}) },
		"token":     func(r *resty.Request) { r.SetAuthToken("t") },
		"scheme":    func(r *resty.Request) { r.SetAuthScheme("S") },
		"basic":     func(r *resty.Request) { r.SetBasicAuth("u", "p") },
		"body":      func(r *resty.Request) { r.Method = "PUT"; r.SetBody("text") },
		"method":    func(r *resty.Request) { r.Method = "HEAD" },
		"many":      func(r *resty.Request) { r.SetHeader("X", "1").SetQueryParam("q", "1").SetAuthToken("t") },
		"no header": func(r *resty.Request) { r.Header = http.Header{} },
	}
	state := func(r *resty.Request) string {
		return fmt.Sprint(r.Method, r.Token, r.AuthScheme, r.UserInfo, r.Cookies, r.Body, r.Header, r.QueryParam, r.FormData, r.PathParams, r.RawPathParams)
	}
	for name, change := range changes {
		for _, in := range []int{1, 2} {
			respond, _ := answers(503, 503, 200)
			c := mocked(respond)
			var states []string
			install(t, c, constant(0), func(o *restyretry.Options) {
				o.Hooks = append(o.Hooks, restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
					states = append(states, state(a.Request))
					if a.Number == in {
						change(a.Request)
					}
					return nil
				}})
			})
			r := c.R()
			r.Method = "GET"
			before := state(r)
			if resp, err := r.Execute("GET", "/x"); err != nil || resp.StatusCode() != 200 {
				t.Fatalf("%s: %v, %v", name, resp, err)
			}
			states = append(states, state(r))
			for i, got := range states {
				if got != before {
					t.Errorf("%s in attempt %d: state %d is %s, was %s", name, in, i+1, got, before)
				}
			}
		}
	}
}
