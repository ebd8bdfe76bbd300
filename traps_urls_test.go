package restyretry_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

// urlRecord is answers that keeps where each attempt went: its URL, with the
// Host header behind it where that is another one.
func urlRecord(statuses ...int) (httpmock.Responder, *[]string) {
	respond, _ := answers(statuses...)
	seen := new([]string)
	return func(r *http.Request) (*http.Response, error) {
		to := r.URL.String()
		if r.Host != r.URL.Host {
			to += " for " + r.Host
		}
		*seen = append(*seen, to)
		return respond(r)
	}, seen
}

func urlTo(target restyretry.Target) func(*restyretry.Options) {
	return func(o *restyretry.Options) { o.URL = target }
}

func urlWantSeen(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func urlWantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got error %q, want it to contain %q", err, part)
		}
	}
}

func urlBubble(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// U1: Resty leaves in r.URL what it made of it. A second Send must begin with
// what the caller gave.
func TestURLU1QueryAndPathParamsOnReuse(t *testing.T) {
	onAttempt := func(o *restyretry.Options) {
		o.Hooks = []restyretry.Hooks{{OnAttempt: func(restyretry.Attempt) error { return nil }}}
	}
	plain := func(*restyretry.Options) {}
	for name, option := range map[string]func(*restyretry.Options){
		"plain": plain, "with OnAttempt": onAttempt, "with URLs": urlTo(restyretry.URLs("/{id}")),
		"with BaseURLs": urlTo(restyretry.BaseURLs("http://api.test")),
	} {
		for _, statuses := range [][]int{{200}, {503, 503, 200}} {
			urlBubble(t, fmt.Sprint(name, " ", statuses), func(t *testing.T) {
				const want = "http://api.test/a%2Fb?client=1&q=2"
				respond, seen := urlRecord(slices.Repeat(statuses, 3)...)
				c := mocked(respond).SetQueryParam("client", "1")
				install(t, c, constant(time.Second), option)
				r := c.R().SetPathParam("id", "a/b").SetQueryParam("q", "2")
				r.Method, r.URL = http.MethodGet, "/{id}"
				for range 3 {
					if resp, err := r.Send(); err != nil || resp.StatusCode() != 200 {
						t.Fatalf("got %v %v, want 200", resp, err)
					}
				}
				urlWantSeen(t, *seen, slices.Repeat([]string{want}, 3*len(statuses))...)
			})
		}
	}
}

// U1
func TestURLU1AURLSetBetweenTwoSendsIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, seen := urlRecord(503, 200, 503, 200)
		c := mocked(respond)
		install(t, c, constant(time.Second))
		r := c.R().SetQueryParam("q", "2")
		_, _ = r.Get("/first")
		r.URL = "/second"
		_, _ = r.Send()
		urlWantSeen(t, *seen, "http://api.test/first?q=2", "http://api.test/first?q=2",
			"http://api.test/second?q=2", "http://api.test/second?q=2")
	})
}

// U2: net/http fixes the Host header when the request is made, so that a URL
// swapped later goes out with the old one.
func TestURLU2HostFollowsTheURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, seen := urlRecord(503, 503, 200, 503, 503, 200)
		c := mocked(respond)
		install(t, c, constant(time.Second), urlTo(restyretry.URLs("http://a.test/x", "http://b.test:81/y", "https://c.test/z")))
		r := c.R().SetQueryParam("q", "1")
		for _, send := range []func() (*resty.Response, error){func() (*resty.Response, error) { return r.Get("/own") }, r.Send} {
			*seen = nil
			if _, err := send(); err != nil {
				t.Fatal(err)
			}
			urlWantSeen(t, *seen, "http://a.test/x?q=1", "http://b.test:81/y?q=1", "https://c.test/z?q=1")
		}
	})
}

// U3: a Host header that was set sticks to every URL. OnAttempt can drop it.
func TestURLU3SetHeaderHost(t *testing.T) {
	urlBubble(t, "sticks", func(t *testing.T) {
		respond, seen := urlRecord(503, 200)
		c := mocked(respond)
		install(t, c, constant(time.Second), urlTo(restyretry.BaseURLs("http://a.test", "http://b.test")))
		_, _ = c.R().SetHeader("Host", "virtual.test").Get("/x")
		urlWantSeen(t, *seen, "http://a.test/x for virtual.test", "http://b.test/x for virtual.test")
	})
	urlBubble(t, "dropped for one attempt", func(t *testing.T) {
		respond, seen := urlRecord(503, 503, 200)
		c := mocked(respond)
		install(t, c, constant(time.Second), urlTo(restyretry.BaseURLs("http://a.test", "http://b.test", "http://a.test")),
			func(o *restyretry.Options) {
				o.Hooks = []restyretry.Hooks{{OnAttempt: func(a restyretry.Attempt) error {
					if a.Number == 2 {
						a.Request.Header.Del("Host")
					}
					return nil
				}}}
			})
		_, _ = c.R().SetHeader("Host", "virtual.test").Get("/x")
		urlWantSeen(t, *seen, "http://a.test/x for virtual.test", "http://b.test/x", "http://a.test/x for virtual.test")
	})
}

type urlDebugLog struct {
	quiet
	lines *[]string
}

func (l urlDebugLog) Debugf(format string, v ...any) {
	*l.lines = append(*l.lines, fmt.Sprintf(format, v...))
}

// U4: the curl command in Resty's debug log tells the URL of its attempt.
func TestURLU4CurlInTheDebugLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		respond, _ := urlRecord(503, 200)
		c := mocked(respond).SetLogger(urlDebugLog{lines: &lines}).SetDebug(true).EnableGenerateCurlOnDebug()
		install(t, c, constant(time.Second), urlTo(restyretry.BaseURLs("http://a.test", "http://b.test")))
		_, _ = c.R().Get("/x")
		if len(lines) != 2 {
			t.Fatalf("got %d logs, want 2", len(lines))
		}
		for i, host := range []string{"a.test", "b.test"} {
			for _, part := range []string{"http://" + host + "/x", "HOST   : " + host} {
				if !strings.Contains(lines[i], part) {
					t.Errorf("attempt %d: got %s, want %q in it", i+1, lines[i], part)
				}
			}
		}
	})
}

// urlServeSRV makes every SRV look-up during the test find the targets, the
// best priority first.
func urlServeSRV(t *testing.T, targets ...string) {
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe() // no net.PacketConn, so it speaks DNS over TCP
		go urlAnswerSRV(server, targets)
		return client, nil
	}}
}

// urlAnswerSRV answers one question, RFC 1035 and 2782.
func urlAnswerSRV(conn net.Conn, targets []string) {
	defer conn.Close()
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return
	}
	query := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, query); err != nil {
		return
	}
	end := 12 + bytes.IndexByte(query[12:], 0) + 1 + 4 // the question: name, type, class
	answer := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, byte(len(targets)), 0, 0, 0, 0}, query[12:end]...)
	for i, target := range targets {
		var name []byte
		for label := range strings.SplitSeq(target, ".") {
			name = append(append(name, byte(len(label))), label...)
		}
		name = append(name, 0)
		answer = append(answer, 0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, byte(6+len(name)))
		answer = append(answer, 0, byte(i), 0, 1, 0, 80) // priority, weight, port
		answer = append(answer, name...)
	}
	_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
}

// U5: with an SRV record Resty chooses the target of each attempt, the second
// best first. URLs overrides it.
func TestURLU5SRV(t *testing.T) {
	urlServeSRV(t, "best.test", "second.test")
	for name, test := range map[string]struct {
		option func(*restyretry.Options)
		want   []string
	}{
		"Resty's choice": {
			func(*restyretry.Options) {},
			[]string{"http://second.test:80/x?q=1", "http://best.test:80/x?q=1", "http://second.test:80/x?q=1"},
		},
		"Resty's choice with OnAttempt": {
			func(o *restyretry.Options) {
				o.Hooks = []restyretry.Hooks{{OnAttempt: func(restyretry.Attempt) error { return nil }}}
			},
			[]string{"http://second.test:80/x?q=1", "http://best.test:80/x?q=1", "http://second.test:80/x?q=1"},
		},
		"URLs": {
			urlTo(restyretry.URLs("http://a.test/y", "http://b.test/y")),
			[]string{"http://a.test/y?q=1", "http://b.test/y?q=1", "http://b.test/y?q=1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			respond, seen := urlRecord(503)
			c := mocked(respond).SetScheme("http")
			install(t, c, constant(0), test.option)
			resp, err := c.R().SetSRV(&resty.SRVRecord{Service: "web", Domain: "api.test"}).SetQueryParam("q", "1").Get("/x")
			if err != nil || resp.StatusCode() != 503 {
				t.Fatalf("got %v %v, want 503", resp, err)
			}
			urlWantSeen(t, *seen, test.want...)
		})
	}
}

// U6: a retry begins at the first URL again, with the method of the caller.
func TestURLU6RetryAfterARedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		c := mocked(func(r *http.Request) (*http.Response, error) {
			seen = append(seen, r.Method+" "+r.URL.String())
			if r.URL.Path == "/order" {
				resp := httpmock.NewStringResponse(303, "")
				resp.Header.Set("Location", "http://other.test/done?token=SECRET")
				return resp, nil
			}
			return httpmock.NewStringResponse(503, ""), nil
		})
		prepared := 0
		install(t, c, constant(time.Second), func(o *restyretry.Options) {
			o.Methods = append(o.Methods, http.MethodPut)
			o.PreRequest = func(*resty.Client, *http.Request) error { prepared++; return nil }
		})
		resp, err := c.R().Put("/order")
		if err != nil || resp.StatusCode() != 503 {
			t.Fatalf("got %v %v, want 503", resp, err)
		}
		urlWantSeen(t, seen, slices.Repeat([]string{"PUT http://api.test/order", "GET http://other.test/done?token=SECRET"}, 3)...)
		if prepared != 3 {
			t.Errorf("PreRequest: got %d calls, want 3", prepared)
		}
		for _, a := range restyretry.History(resp.Request) {
			if got := a.Method + " " + a.URL; got != "PUT http://api.test/order" {
				t.Errorf("history: got %s, want what was sent first", got)
			}
		}
	})
	urlBubble(t, "the method that was sent decides", func(t *testing.T) {
		calls := 0
		c := mocked(func(r *http.Request) (*http.Response, error) {
			calls++
			if r.Method == http.MethodPost {
				resp := httpmock.NewStringResponse(303, "")
				resp.Header.Set("Location", "/done")
				return resp, nil
			}
			return httpmock.NewStringResponse(503, ""), nil
		})
		install(t, c, constant(time.Second))
		resp, err := c.R().Post("/order")
		if err != nil || resp.StatusCode() != 503 || calls != 2 {
			t.Errorf("got %v %v after %d calls, want 503 after 2: the order must not be placed again", resp, err, calls)
		}
	})
}

// U7: Resty nests the context of its trace once more for every attempt.
func TestURLU7TraceDoesNotGrow(t *testing.T) {
	tests := map[string]func(*restyretry.Options){
		"plain":          func(*restyretry.Options) {},
		"AttemptTimeout": func(o *restyretry.Options) { o.AttemptTimeout = time.Minute },
		"OnAttempt": func(o *restyretry.Options) {
			o.Hooks = []restyretry.Hooks{{OnAttempt: func(restyretry.Attempt) error { return nil }}}
		},
	}
	for name, option := range tests {
		urlBubble(t, name, func(t *testing.T) {
			var depths []int
			trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
				depths = append(depths, runtime.Callers(0, make([]uintptr, 1000)))
			}}
			n := 0
			c := mocked(func(r *http.Request) (*http.Response, error) {
				n++
				httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
				time.Sleep(time.Duration(n) * time.Second)
				return httpmock.NewStringResponse(503, ""), nil
			})
			install(t, c, constant(10*time.Second), func(o *restyretry.Options) { o.Attempts = 4 }, option)
			r := c.R().EnableTrace().SetContext(httptrace.WithClientTrace(context.Background(), trace))
			for range 2 {
				n, depths = 0, nil
				start := time.Now()
				resp, err := r.Get("/x")
				if err != nil || resp.StatusCode() != 503 {
					t.Fatalf("got %v %v, want 503", resp, err)
				}
				if len(depths) != 4 || slices.Min(depths) != slices.Max(depths) {
					t.Errorf("got stacks of %v frames, want the same 4 times", depths)
				}
				for i, a := range restyretry.History(r) {
					begun := []time.Duration{0, 11 * time.Second, 23 * time.Second, 36 * time.Second}[i]
					if a.Start.Sub(start) != begun || a.Took != time.Duration(i+1)*time.Second {
						t.Errorf("attempt %d: got %v from %v, want %ds from %v", i+1, a.Took, a.Start.Sub(start), i+1, begun)
					}
				}
			}
		})
	}
}

// U8: cookies that a failed attempt has set are sent by the next, as by any
// other request of the client.
func TestURLU8CookieJar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		var cookies []string
		c := mocked(func(r *http.Request) (*http.Response, error) {
			cookies = append(cookies, r.Header.Get("Cookie"))
			resp := httpmock.NewStringResponse(503, "")
			resp.Header.Set("Set-Cookie", fmt.Sprint("backend=", len(cookies)))
			return resp, nil
		}).SetCookieJar(jar)
		install(t, c, constant(time.Second))
		_, _ = c.R().Get("/x")
		urlWantSeen(t, cookies, "", "backend=1", "backend=2")
	})
}

func TestURLTargets(t *testing.T) {
	get := func(path string) func(*resty.Request) (*resty.Response, error) {
		return func(r *resty.Request) (*resty.Response, error) { return r.Get(path) }
	}
	function := restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
		return fmt.Sprintf("http://n%d.test%s", a.Number, a.Request.URL), nil
	})
	tests := []struct {
		name    string
		target  restyretry.Target
		prepare func(*resty.Request)
		path    string
		want    []string // the first attempts; the last repeats
	}{
		{
			name: "URLs", target: restyretry.URLs("http://a.test/1", "http://b.test/2"), path: "/own",
			want: []string{"http://a.test/1", "http://b.test/2"},
		},
		{
			name: "URLs, relative", target: restyretry.URLs("/one", "two"), path: "/own",
			want: []string{"http://api.test/one", "http://api.test/two"},
		},
		{
			name: "URLs, path parameters", target: restyretry.URLs("http://a.test/{id}", "/v2/{id}"), path: "/own",
			prepare: func(r *resty.Request) { r.SetPathParam("id", "a/b") },
			want:    []string{"http://a.test/a%2Fb", "http://api.test/v2/a%2Fb"},
		},
		{
			name: "URLs, path parameter as host", target: restyretry.URLs("http://{host}/x", "http://b.test:{port}/x"), path: "/own",
			prepare: func(r *resty.Request) { r.SetPathParams(map[string]string{"host": "a.test", "port": "8080"}) },
			want:    []string{"http://a.test/x", "http://b.test:8080/x"},
		},
		{
			name: "URLs, query", target: restyretry.URLs("http://a.test/?x=1", "http://b.test/"), path: "/own",
			prepare: func(r *resty.Request) { r.SetQueryParam("q", "2") },
			want:    []string{"http://a.test/?x=1&q=2", "http://b.test/?q=2"},
		},
		{
			name: "BaseURLs", target: restyretry.BaseURLs("http://a.test", "http://b.test/v2/"), path: "/x",
			want: []string{"http://a.test/x", "http://b.test/v2/x"},
		},
		{
			name: "BaseURLs without slashes", target: restyretry.BaseURLs("http://a.test", "http://b.test/v2"), path: "x",
			want: []string{"http://a.test/x", "http://b.test/v2/x"},
		},
		{
			name: "BaseURLs, parameters", target: restyretry.BaseURLs("http://a.test", "http://b.test/{tenant}"), path: "/{id}?x=1",
			prepare: func(r *resty.Request) {
				r.SetPathParams(map[string]string{"id": "a b", "tenant": "t"}).SetQueryParam("q", "2")
			},
			want: []string{"http://a.test/a%20b?x=1&q=2", "http://b.test/t/a%20b?x=1&q=2"},
		},
		{
			name: "BaseURLs, absolute request", target: restyretry.BaseURLs("http://a.test", "http://b.test"), path: "http://own.test/x",
			want: []string{"http://own.test/x"},
		},
		{
			name: "BaseURLs, empty path", target: restyretry.BaseURLs("http://a.test", "http://b.test/v2"), path: "",
			want: []string{"http://a.test/", "http://b.test/v2"},
		},
		{
			name: "TargetFunc", target: function, path: "/x",
			want: []string{"http://n1.test/x", "http://n2.test/x", "http://n3.test/x", "http://n4.test/x"},
		},
	}
	for _, test := range tests {
		urlBubble(t, test.name, func(t *testing.T) {
			respond, seen := urlRecord(503)
			c := mocked(respond)
			install(t, c, constant(time.Second), func(o *restyretry.Options) { o.Attempts, o.URL = 4, test.target })
			r := c.R()
			if test.prepare != nil {
				test.prepare(r)
			}
			send := get(test.path)
			for _, again := range []func(*resty.Request) (*resty.Response, error){send, (*resty.Request).Send} {
				*seen = nil
				resp, err := again(r)
				if err != nil || resp.StatusCode() != 503 {
					t.Fatalf("got %v %v, want 503", resp, err)
				}
				got := slices.Clone(*seen)
				for i := range got { // net/http has "" and "/" mean the same
					got[i] = strings.TrimSuffix(got[i], "/")
				}
				var want []string
				for i := range 4 {
					want = append(want, strings.TrimSuffix(test.want[min(i, len(test.want)-1)], "/"))
				}
				urlWantSeen(t, got, want...)
			}
		})
	}
}

func TestURLTargetErrorStops(t *testing.T) {
	no := errors.New("no server left")
	targets := map[string]struct {
		answer string
		err    error
		want   string
	}{
		"error":      {"", no, "no server left"},
		"unparsable": {"http://[::1/x?token=SECRET", nil, "URL"},
	}
	for name, target := range targets {
		for at := 1; at <= 2; at++ {
			urlBubble(t, fmt.Sprint(name, " at attempt ", at), func(t *testing.T) {
				respond, seen := urlRecord(503)
				c := mocked(respond)
				install(t, c, constant(time.Second), urlTo(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
					if a.Number == at {
						return target.answer, target.err
					}
					return a.Request.URL, nil
				})))
				r := c.R()
				resp, err := r.Get("/x")
				urlWantError(t, err, target.want)
				if target.err != nil && !errors.Is(err, target.err) {
					t.Errorf("got %v, want errors.Is %v", err, target.err)
				}
				if strings.Contains(err.Error(), "SECRET") {
					t.Errorf("got the secret in %q", err)
				}
				if len(*seen) != at-1 {
					t.Errorf("got %d attempts, want %d", len(*seen), at-1)
				}
				if at == 1 {
					return
				}
				if resp.StatusCode() != 503 {
					t.Errorf("got %d, want the last response, 503", resp.StatusCode())
				}
				if got := summary(restyretry.History(r)); got != "1 stopped" {
					t.Errorf("history: got %q, want %q", got, "1 stopped")
				}
			})
		}
	}
}

func TestURLRotate(t *testing.T) {
	bases := []string{"http://a.test", "http://b.test", "http://c.test"}
	urlBubble(t, "each request begins one further", func(t *testing.T) {
		respond, seen := urlRecord(503)
		c := mocked(respond)
		install(t, c, constant(time.Second), func(o *restyretry.Options) { o.Attempts, o.URL = 4, restyretry.Rotate(bases...) })
		r := c.R()
		for _, order := range []string{"abca", "bcab", "cabc", "abca"} {
			*seen = nil
			r.Method, r.URL = http.MethodGet, "/x"
			_, _ = r.Send()
			var want []string
			for _, name := range order {
				want = append(want, fmt.Sprintf("http://%c.test/x", name))
			}
			urlWantSeen(t, *seen, want...)
		}
	})
	t.Run("spreads evenly", func(t *testing.T) {
		var mu sync.Mutex
		counts := map[string]int{}
		c := mocked(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			counts[fmt.Sprint(r.URL.Host, " attempt ", restyretry.Number(r.Context()))]++
			return httpmock.NewStringResponse(503, ""), nil
		})
		install(t, c, constant(0), urlTo(restyretry.Rotate(bases...)))
		other := c.Clone()
		var group sync.WaitGroup
		for i := range 300 {
			group.Go(func() { _, _ = []*resty.Client{c, other}[i%2].R().Get("/x") })
		}
		group.Wait()
		if len(counts) != 9 {
			t.Errorf("got %v, want 3 hosts with 3 attempts", counts)
		}
		for key, n := range counts {
			if n != 100 {
				t.Errorf("%s: got %d requests, want 100", key, n)
			}
		}
	})
}

func TestURLBadListsAreRefused(t *testing.T) {
	tests := []struct {
		name   string
		target restyretry.Target
		parts  []string
	}{
		{"URLs, empty", restyretry.URLs(), []string{"URL", "empty"}},
		{"BaseURLs, empty", restyretry.BaseURLs(), []string{"URL", "empty"}},
		{"Rotate, empty", restyretry.Rotate(), []string{"URL", "empty"}},
		{"URLs, empty entry", restyretry.URLs("http://a.test", ""), []string{"URL", "entry 2"}},
		{"BaseURLs, empty entry", restyretry.BaseURLs("", "http://a.test"), []string{"URL", "entry 1"}},
		{"Rotate, empty entry", restyretry.Rotate("http://a.test", "http://b.test", ""), []string{"URL", "entry 3"}},
		{"URLs, unparsable", restyretry.URLs("http://a.test", "http://[::1/x"), []string{"URL", "entry 2", "[::1"}},
		{"URLs, unparsable path", restyretry.URLs("http://a.test/%zz"), []string{"URL", "entry 1", "%zz"}},
		{"BaseURLs, unparsable", restyretry.BaseURLs("http://a.test:port"), []string{"URL", "entry 1", "a.test:port"}},
		{"Rotate, unparsable", restyretry.Rotate("http://a b.test"), []string{"URL", "entry 1", "a b.test"}},
		{"BaseURLs, no scheme", restyretry.BaseURLs("http://a.test", "b.test/v1"), []string{"URL", "entry 2", "b.test/v1", "scheme"}},
		{"BaseURLs, path only", restyretry.BaseURLs("/v1"), []string{"URL", "entry 1", "/v1", "scheme"}},
		{"BaseURLs, no scheme but host", restyretry.BaseURLs("//b.test"), []string{"URL", "entry 1", "//b.test", "scheme"}},
		{"Rotate, no scheme", restyretry.Rotate("b.test"), []string{"URL", "entry 1", "b.test", "scheme"}},
		{"Rotate, no host", restyretry.Rotate("http://"), []string{"URL", "entry 1", "host"}},
		{"BaseURLs, query", restyretry.BaseURLs("http://a.test/?a=b"), []string{"URL", "entry 1", "query"}},
		{"TargetFunc, nil", restyretry.TargetFunc(nil), []string{"URL", "nil"}},
	}
	for _, test := range tests {
		urlBubble(t, test.name, func(t *testing.T) {
			respond, seen := urlRecord(200)
			c := mocked(respond)
			_, err := restyretry.Install(c, urlTo(test.target))
			urlWantError(t, err, test.parts...)
			p := install(t, c)
			urlWantError(t, p.Update(urlTo(test.target)), test.parts...)
			_, err = c.R().SetContext(restyretry.With(context.Background(), urlTo(test.target))).Get("/x")
			urlWantError(t, err, test.parts...)
			if len(*seen) != 0 {
				t.Errorf("got %v sent, want nothing", *seen)
			}
		})
	}
}

// The caller's slice may change after the list was made.
func TestURLListsAreCopied(t *testing.T) {
	for name, newTarget := range map[string]func(...string) restyretry.Target{
		"URLs": restyretry.URLs, "BaseURLs": restyretry.BaseURLs, "Rotate": restyretry.Rotate,
	} {
		urlBubble(t, name, func(t *testing.T) {
			respond, seen := urlRecord(200)
			c, list := mocked(respond), []string{"http://a.test/x"}
			install(t, c, urlTo(newTarget(list...)))
			list[0] = ""
			_, _ = c.R().Get("")
			urlWantSeen(t, *seen, "http://a.test/x")
		})
	}
}

// urlCredentials are the ways in which a request carries credentials.
var urlCredentials = map[string]func(*resty.Client, *resty.Request){
	"Authorization":             func(_ *resty.Client, r *resty.Request) { r.SetHeader("Authorization", "Bearer SECRET") },
	"authorization, verbatim":   func(_ *resty.Client, r *resty.Request) { r.SetHeaderVerbatim("authorization", "Bearer SECRET") },
	"Cookie":                    func(_ *resty.Client, r *resty.Request) { r.SetHeader("Cookie", "session=SECRET") },
	"SetCookie":                 func(_ *resty.Client, r *resty.Request) { r.SetCookie(&http.Cookie{Name: "session", Value: "SECRET"}) },
	"SetAuthToken":              func(_ *resty.Client, r *resty.Request) { r.SetAuthToken("SECRET") },
	"SetBasicAuth":              func(_ *resty.Client, r *resty.Request) { r.SetBasicAuth("user", "SECRET") },
	"the client's header":       func(c *resty.Client, _ *resty.Request) { c.SetHeader("Authorization", "Bearer SECRET") },
	"the client's Cookie":       func(c *resty.Client, _ *resty.Request) { c.SetHeader("Cookie", "session=SECRET") },
	"the client's SetCookie":    func(c *resty.Client, _ *resty.Request) { c.SetCookie(&http.Cookie{Name: "session", Value: "SECRET"}) },
	"the client's SetAuthToken": func(c *resty.Client, _ *resty.Request) { c.SetAuthToken("SECRET") },
	"the client's SetBasicAuth": func(c *resty.Client, _ *resty.Request) { c.SetBasicAuth("user", "SECRET") },
	"a header of another name": func(c *resty.Client, r *resty.Request) {
		c.HeaderAuthorizationKey = "X-Auth"
		r.SetHeader("X-Auth", "SECRET")
	},
}

func TestURLCredentialsAreNeverMovedToHTTP(t *testing.T) {
	onAttempt := func(f func(restyretry.Attempt)) func(*restyretry.Options) {
		return func(o *restyretry.Options) {
			o.Hooks = []restyretry.Hooks{{OnAttempt: func(a restyretry.Attempt) error { f(a); return nil }}}
		}
	}
	policies := []struct {
		name   string
		option func(*restyretry.Options)
		sent   int
	}{
		{"URLs", urlTo(restyretry.URLs("https://a.test/x", "http://b.test/x")), 0},
		{"URLs, upper case", urlTo(restyretry.URLs("HTTPS://a.test/x", "HTTP://b.test/x")), 0},
		{"URLs, relative first", urlTo(restyretry.URLs("/x", "http://b.test/x")), 0},
		{"URLs, http first", urlTo(restyretry.URLs("http://b.test/x", "https://a.test/x")), 0},
		{"URLs, http alone", urlTo(restyretry.URLs("http://b.test/x")), 0},
		{"BaseURLs", urlTo(restyretry.BaseURLs("https://a.test", "http://b.test")), 0},
		{"Rotate", urlTo(restyretry.Rotate("https://a.test", "http://b.test")), 0},
		{"TargetFunc", urlTo(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
			return []string{"https://a.test/x", "http://b.test/x?token=SECRET"}[min(a.Number, 2)-1], nil
		})), 1},
		{"OnAttempt", onAttempt(func(a restyretry.Attempt) {
			if a.Number == 2 {
				a.Request.URL = "http://b.test/x"
			}
		}), 1},
	}
	for _, policy := range policies {
		for name, give := range urlCredentials {
			urlBubble(t, policy.name+" with "+name, func(t *testing.T) {
				respond, seen := urlRecord(503)
				c := mocked(respond).SetBaseURL("https://api.test")
				install(t, c, constant(time.Second), policy.option)
				r := c.R()
				give(c, r)
				resp, err := r.Get("/x")
				urlWantError(t, err, "credentials", "https", "http://b.test")
				if strings.Contains(err.Error(), "SECRET") {
					t.Errorf("got the secret in %q", err)
				}
				if len(*seen) != policy.sent {
					t.Errorf("got %v sent, want %d attempts", *seen, policy.sent)
				}
				if policy.sent > 0 && (resp.StatusCode() != 503 || summary(restyretry.History(r)) != "1 stopped") {
					t.Errorf("got %d, %q, want the last response, 503, stopped", resp.StatusCode(), summary(restyretry.History(r)))
				}
			})
		}
		urlBubble(t, policy.name+" without credentials", func(t *testing.T) {
			respond, seen := urlRecord(503, 200)
			c := mocked(respond).SetBaseURL("https://api.test")
			install(t, c, constant(time.Second), policy.option)
			resp, err := c.R().SetHeader("X-Trace", "1").Get("/x")
			if err != nil || resp.StatusCode() != 200 || len(*seen) != 2 {
				t.Errorf("got %v %v after %v, want 200 after 2 attempts", resp, err, *seen)
			}
		})
	}
	for name, option := range map[string]func(*restyretry.Options){
		"https only": urlTo(restyretry.BaseURLs("https://a.test", "https://b.test")),
		"http only":  urlTo(restyretry.BaseURLs("http://a.test", "http://b.test")),
		"to https": urlTo(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
			return []string{"http://a.test", "https://b.test"}[min(a.Number, 2)-1], nil
		})),
	} {
		urlBubble(t, "allowed: "+name, func(t *testing.T) {
			respond, seen := urlRecord(503, 200)
			c := mocked(respond) // whose base URL is http
			install(t, c, constant(time.Second), option)
			resp, err := c.R().SetAuthToken("SECRET").Get("/x")
			if err != nil || resp.StatusCode() != 200 || len(*seen) != 2 {
				t.Errorf("got %v %v after %v, want 200 after 2 attempts", resp, err, *seen)
			}
		})
	}
}

// Credentials that arrive only when the attempt is prepared must not leak
// either: nothing with them goes out over http after https.
func TestURLCredentialsOfLateComers(t *testing.T) {
	sign := func(_ *resty.Client, r *resty.Request) error {
		r.SetHeader("Authorization", "Bearer SECRET")
		return nil
	}
	nothing := restyretry.Hooks{OnAttempt: func(restyretry.Attempt) error { return nil }}
	list := urlTo(restyretry.URLs("https://a.test/x", "http://b.test/x"))
	hook := func(_ *resty.Client, hr *http.Request) error {
		hr.Header.Set("Authorization", "Bearer SECRET")
		return nil
	}
	for name, set := range map[string]func(*testing.T, *resty.Client){
		"OnBeforeRequest before Install": func(t *testing.T, c *resty.Client) {
			c.OnBeforeRequest(sign)
			install(t, c, constant(time.Second), list)
		},
		"OnBeforeRequest after Install": func(t *testing.T, c *resty.Client) {
			install(t, c, constant(time.Second), list)
			c.OnBeforeRequest(sign)
		},
		"OnBeforeRequest after Install, with OnAttempt": func(t *testing.T, c *resty.Client) {
			install(t, c, constant(time.Second), list, func(o *restyretry.Options) { o.Hooks = []restyretry.Hooks{nothing} })
			c.OnBeforeRequest(sign)
		},
		"OnAttempt": func(t *testing.T, c *resty.Client) {
			install(t, c, constant(time.Second), list, func(o *restyretry.Options) {
				o.Hooks = []restyretry.Hooks{{OnAttempt: func(a restyretry.Attempt) error { return sign(nil, a.Request) }}}
			})
		},
		"PreRequest": func(t *testing.T, c *resty.Client) {
			install(t, c, constant(time.Second), list, func(o *restyretry.Options) { o.PreRequest = hook })
		},
		"HostURL instead of SetBaseURL": func(t *testing.T, c *resty.Client) {
			c.BaseURL, c.HostURL = "", "https://api.test"
			c.SetAuthToken("SECRET")
			install(t, c, constant(time.Second), urlTo(restyretry.URLs("/x", "http://b.test/x")))
		},
		"a scheme in a path parameter": func(t *testing.T, c *resty.Client) {
			c.SetAuthToken("SECRET").SetRawPathParam("server", "http://b.test")
			install(t, c, constant(time.Second), urlTo(restyretry.URLs("https://a.test/x", "{server}/x")))
		},
	} {
		urlBubble(t, name, func(t *testing.T) {
			var leaked []string
			c := mocked(func(r *http.Request) (*http.Response, error) {
				if r.URL.Scheme == "http" && r.Header.Get("Authorization") != "" {
					leaked = append(leaked, r.URL.String())
				}
				return httpmock.NewStringResponse(503, ""), nil
			}).SetBaseURL("https://api.test")
			set(t, c)
			_, err := c.R().Get("/x")
			urlWantSeen(t, leaked)
			if err == nil {
				t.Errorf("got no error, want one about credentials")
			}
		})
	}
}

// urlSecretless fails the test where a secret shows.
func urlSecretless(t *testing.T, what, text string) {
	t.Helper()
	if strings.Contains(text, "SECRET") {
		t.Errorf("%s: got the secret in %q", what, text)
	}
}

func TestURLRedaction(t *testing.T) {
	redirectTo := func(location string) httpmock.Responder {
		return func(*http.Request) (*http.Response, error) {
			resp := httpmock.NewStringResponse(302, "")
			resp.Header.Set("Location", location)
			return resp, nil
		}
	}
	failing := func(*http.Request) (*http.Response, error) { return nil, http.ErrHandlerTimeout }
	unavailable := func(*http.Request) (*http.Response, error) { return httpmock.NewStringResponse(503, ""), nil }
	const secret = "http://user:SECRET@api.test/x?token=SECRET&SECRET#SECRET"
	for name, test := range map[string]struct {
		respond httpmock.Responder
		url     string
	}{
		"status":                   {unavailable, secret},
		"transport error":          {failing, secret},
		"redirected, status":       {redirectTo("http://api.test/y?token=SECRET"), "/x"},
		"redirected to nonsense":   {redirectTo("http://api.test/%zz?token=SECRET"), "/x"},
		"redirected to bad scheme": {redirectTo("ftp://user:SECRET@api.test/y?token=SECRET"), "/x"},
	} {
		urlBubble(t, name, func(t *testing.T) {
			log := new(bytes.Buffer)
			c := mocked(test.respond)
			check := func(a restyretry.Attempt) {
				urlSecretless(t, "Attempt.URL", a.URL)
				if a.Err != nil {
					urlSecretless(t, "Attempt.Err", a.Err.Error())
				}
			}
			install(t, c, constant(time.Second), func(o *restyretry.Options) {
				o.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				o.RaiseForStatus = true
				o.Errors = func(error) bool { return true }
				o.Hooks = []restyretry.Hooks{{
					OnAttempt: func(a restyretry.Attempt) error { check(a); return nil }, OnRetry: check, OnDone: check,
				}}
			})
			r := c.R()
			_, err := r.Get(test.url)
			if err == nil {
				t.Fatal("got no error, want one")
			}
			var status *restyretry.StatusError
			if errors.As(err, &status) {
				urlSecretless(t, "StatusError.URL", status.URL)
				urlSecretless(t, "StatusError", status.Error())
			}
			past := restyretry.History(r)
			if len(past) != 3 {
				t.Errorf("got a history of %d attempts, want 3", len(past))
			}
			for _, a := range past {
				check(a)
			}
			urlSecretless(t, "log", log.String())
			if got := strings.Count(log.String(), "\n"); got != 3 {
				t.Errorf("got %d lines in the log, want 3", got)
			}
		})
	}
	urlBubble(t, "a request that is not recorded", func(t *testing.T) {
		respond, _ := urlRecord(200)
		c := mocked(respond)
		install(t, c)
		r := c.R()
		_, _ = r.Get(secret)
		const want = "http://REDACTED:REDACTED@api.test/x?token=REDACTED&REDACTED"
		if past := restyretry.History(r); len(past) != 1 || past[0].URL != want {
			t.Errorf("got %v, want one attempt at %s", past, want)
		}
	})
}

// The errors of the options and of unparsable URLs tell the URL, too.
func TestURLRedactionOfUnparsableURLs(t *testing.T) {
	urls := []string{
		"http://user:SECRET@[::1/x?token=SECRET",
		"http://user:SECRET word@a.test/",
		"http://user:p@SECRET@a.test:port/x",
		"http://user:SECRET/word@a.test/x",
		"http://user:SECRET?word@a.test/x",
		"http://a.test:port/x#SECRET",
		"http://a.test/%zz?token=SECRET",
	}
	for _, bad := range urls {
		urlBubble(t, bad, func(t *testing.T) {
			respond, _ := urlRecord(200)
			c := mocked(respond)
			_, err := restyretry.Install(c, urlTo(restyretry.URLs(bad)))
			urlWantError(t, err, "URL", "entry 1")
			urlSecretless(t, "Install", err.Error())
			check := func(a restyretry.Attempt) {
				urlSecretless(t, "Attempt.URL", a.URL)
				if a.Err != nil {
					urlSecretless(t, "Attempt.Err", a.Err.Error())
				}
			}
			install(t, c, func(o *restyretry.Options) {
				o.Hooks = []restyretry.Hooks{{OnAttempt: func(a restyretry.Attempt) error { check(a); return nil }, OnDone: check}}
			})
			if _, err := c.R().Get(bad); err == nil {
				t.Error("got no error, want one")
			}
		})
	}
}
