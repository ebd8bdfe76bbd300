package restyretry_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

func TestATargetSaysWhereEachAttemptGoes(t *testing.T) {
	function := restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
		return fmt.Sprintf("http://n%d.test%s", a.Number, a.Request.URL), nil
	})
	for name, tt := range map[string]struct {
		target  restyretry.Target
		prepare func(*resty.Request)
		path    string
		want    string // the three attempts
	}{
		"URLs":           {restyretry.URLs("http://a.test/1", "http://b.test/2"), nil, "/own", "http://a.test/1 http://b.test/2 http://b.test/2"},
		"URLs, relative": {restyretry.URLs("/one", "two"), nil, "/own", "/one /two /two"},
		"URLs, ports and schemes": {
			restyretry.URLs("http://a.test", "http://b.test:81/y", "https://c.test/z"),
			func(r *resty.Request) { r.SetQueryParam("q", "1") }, "/own",
			"http://a.test?q=1 http://b.test:81/y?q=1 https://c.test/z?q=1",
		},
		"URLs, path parameters": {
			restyretry.URLs("http://a.test/{id}", "/v2/{id}"), func(r *resty.Request) { r.SetPathParam("id", "a/b") }, "/own",
			"http://a.test/a%2Fb /v2/a%2Fb /v2/a%2Fb",
		},
		"URLs, path parameter as host": {
			restyretry.URLs("http://{host}/x", "http://b.test:{port}/x"),
			func(r *resty.Request) { r.SetPathParams(map[string]string{"host": "a.test", "port": "8080"}) }, "/own",
			"http://a.test/x http://b.test:8080/x http://b.test:8080/x",
		},
		"URLs, path parameter as scheme": {
			restyretry.URLs("{scheme}://a.test/x", "{scheme}{s}://{host}:{port}/x"),
			func(r *resty.Request) {
				r.SetPathParams(map[string]string{"scheme": "http", "s": "s", "host": "b.test", "port": "8080"})
			}, "/own",
			"http://a.test/x https://b.test:8080/x https://b.test:8080/x",
		},
		"URLs, path parameter as origin": {
			restyretry.URLs("{link}/x", "{link}"), func(r *resty.Request) { r.SetRawPathParam("link", "http://a.test") }, "/own",
			"http://a.test/x http://a.test http://a.test",
		},
		"BaseURLs, path parameter as scheme": {
			restyretry.BaseURLs("{scheme}://a.test", "{scheme}://b.test/v2"),
			func(r *resty.Request) { r.SetPathParam("scheme", "http") }, "/x",
			"http://a.test/x http://b.test/v2/x http://b.test/v2/x",
		},
		"TargetFunc, path parameter as scheme": {
			restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) { return a.Request.URL, nil }),
			func(r *resty.Request) { r.SetPathParam("scheme", "http") }, "{scheme}://a.test/x",
			"http://a.test/x http://a.test/x http://a.test/x",
		},
		"URLs, query": {
			restyretry.URLs("http://a.test/?x=1", "http://b.test/"), func(r *resty.Request) { r.SetQueryParam("q", "2") }, "/own",
			"http://a.test/?x=1&q=2 http://b.test/?q=2 http://b.test/?q=2",
		},
		"BaseURLs": {
			restyretry.BaseURLs("http://a.test", "http://b.test/v2/"), nil, "/x",
			"http://a.test/x http://b.test/v2/x http://b.test/v2/x",
		},
		"BaseURLs without slashes": {
			restyretry.BaseURLs("http://a.test", "http://b.test/v2"), nil, "x",
			"http://a.test/x http://b.test/v2/x http://b.test/v2/x",
		},
		"BaseURLs, parameters": {
			restyretry.BaseURLs("http://a.test", "http://b.test/{tenant}"),
			func(r *resty.Request) {
				r.SetPathParams(map[string]string{"id": "a b", "tenant": "t"}).SetQueryParam("q", "2")
			}, "/{id}?x=1",
			"http://a.test/a%20b?x=1&q=2 http://b.test/t/a%20b?x=1&q=2 http://b.test/t/a%20b?x=1&q=2",
		},
		"BaseURLs, absolute request": {
			restyretry.BaseURLs("http://a.test", "http://b.test"), nil, "http://own.test/x",
			"http://own.test/x http://own.test/x http://own.test/x",
		},
		"BaseURLs, empty path": {
			restyretry.BaseURLs("http://a.test", "http://b.test/v2"), nil, "",
			"http://a.test http://b.test/v2 http://b.test/v2",
		},
		"TargetFunc": {function, nil, "/x", "http://n1.test/x http://n2.test/x http://n3.test/x"},
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503), harness.URL(tt.target))
			r := c.R()
			if tt.prepare != nil {
				tt.prepare(r)
			}
			r.Method, r.URL = http.MethodGet, tt.path
			for range 2 { // the second time with what Resty has left in the request
				call := c.Do(t, r, r.Method, r.URL).Want(t, retried(503, "1s 1s")).WantSent(t, tt.want)
				for _, sent := range call.Sent {
					harness.Equal(t, "Host", sent.Request.Host, sent.Request.URL.Host)
				}
			}
		})
	}
}

func TestAHostFieldSticksUnlessItIsDropped(t *testing.T) {
	for drop, want := range map[int]string{0: "virtual.test virtual.test virtual.test", 2: "virtual.test b.test virtual.test"} {
		synctest.Test(t, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503), harness.URL(restyretry.BaseURLs("http://a.test", "http://b.test", "http://a.test")),
				harness.OnAttempt(func(a restyretry.Attempt) error {
					if a.Number == drop {
						a.Request.Header.Del("Host")
					}
					return nil
				}))
			call := c.Do(t, c.R().SetHeader("Host", "virtual.test"), "GET", "/x").Want(t, retried(503, "1s 1s")).
				WantSent(t, "http://a.test/x", "http://b.test/x", "http://a.test/x")
			var hosts []string
			for _, sent := range call.Sent {
				hosts = append(hosts, sent.Request.Host)
			}
			harness.Equal(t, "hosts", strings.Join(hosts, " "), want)
		})
	}
}

func TestAnErrorOfTheTargetStopsTheRequest(t *testing.T) {
	no := errors.New("no server left")
	for name, tt := range map[string]struct {
		answer string
		err    error
		want   error
	}{
		"error":      {"", no, no},
		"unparsable": {"http://[::1/x?token=SECRET", nil, harness.ErrAny},
	} {
		for at, want := range []string{"unsent stopped", "503 stopped 1s", "503 status 1s | 503 stopped 1s"} {
			harness.Bubble(t, fmt.Sprint(name, " in attempt ", at+1), func(t *testing.T) {
				target := restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
					if a.Number == at+1 {
						return tt.answer, tt.err
					}
					return a.Request.URL, nil
				})
				call := harness.New(t, harness.Statuses(503), harness.URL(target)).Get(t, "/x")
				call.Want(t, want, tt.want).WantStatus(t, []int{-1, 503, 503}[at])
				if strings.Contains(fmt.Sprint(call.Err), "SECRET") {
					t.Errorf("got the secret in %q", call.Err)
				}
			})
		}
	}
}

func TestARotationBeginsOneFurtherWithEachRequest(t *testing.T) {
	rotate := harness.URL(restyretry.Rotate("http://a.test", "http://b.test", "http://c.test"))
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503), harness.Attempts(4), rotate)
		r := c.R()
		for _, order := range []string{"a b c a", "b c a b", "c a b c", "a b c a"} {
			var want []string
			for name := range strings.FieldsSeq(order) {
				want = append(want, "http://"+name+".test/x")
			}
			c.Do(t, r, "GET", "/x").Want(t, retried(503, "1s 1s 1s")).WantSent(t, want...)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503), rotate)
		other := c.Clone()
		var group sync.WaitGroup
		for i := range 60 {
			group.Go(func() { _, _ = []*resty.Client{c.Client, other}[i%2].R().Get("/x") })
		}
		group.Wait()
		counts := map[string]int{}
		for _, sent := range c.Sent() {
			counts[fmt.Sprint(sent.URL, " in attempt ", restyretry.Number(sent.Request.Context()))]++
		}
		harness.Equal(t, "hosts and attempts", len(counts), 9)
		for where, n := range counts {
			harness.Equal(t, where, n, 20)
		}
	})
}

func TestInvalidTargetsAreRefused(t *testing.T) {
	urls, bases, rotate := restyretry.URLs, restyretry.BaseURLs, restyretry.Rotate
	for _, tt := range []struct {
		name   string
		target restyretry.Target
		words  []string
	}{
		{"URLs, empty", urls(), []string{"URL", "empty"}},
		{"BaseURLs, empty", bases(), []string{"URL", "empty"}},
		{"Rotate, empty", rotate(), []string{"URL", "empty"}},
		{"URLs, empty entry", urls("http://a.test", ""), []string{"URL", "entry 2", "empty"}},
		{"BaseURLs, empty entry", bases("", "http://a.test"), []string{"URL", "entry 1"}},
		{"Rotate, empty entry", rotate("http://a.test", "http://b.test", ""), []string{"URL", "entry 3"}},
		{"URLs, unparsable", urls("http://a.test", "http://[::1/x"), []string{"URL", "entry 2", "[::1"}},
		{"URLs, port without a scheme", urls("http://a.test", "localhost:8080/x"), []string{"URL", "entry 2", "localhost:8080/x", "scheme"}},
		{"URLs, port that is none", urls("http://a.test:65536"), []string{"URL", "entry 1", "65536"}},
		{"BaseURLs, port that is none", bases("http://a.test:65535", "http://[::1]:99999"), []string{"URL", "entry 2", "99999"}},
		{"URLs, unparsable path", urls("http://a.test/%zz"), []string{"URL", "entry 1", "%zz"}},
		{"BaseURLs, unparsable", bases("http://a.test:port"), []string{"URL", "entry 1", "a.test:port"}},
		{"Rotate, unparsable", rotate("http://a b.test"), []string{"URL", "entry 1", "a b.test"}},
		{"BaseURLs, no scheme", bases("http://a.test", "b.test/v1"), []string{"URL", "entry 2", "b.test/v1", "scheme"}},
		{"BaseURLs, path only", bases("/v1"), []string{"URL", "entry 1", "/v1", "scheme", "host"}},
		{"BaseURLs, no scheme but host", bases("//b.test"), []string{"URL", "entry 1", "//b.test", "scheme"}},
		{"Rotate, no scheme", rotate("http://a.test", "b.test"), []string{"URL", "entry 2", "b.test", "scheme"}},
		{"Rotate, no host", rotate("http://"), []string{"URL", "entry 1", "host"}},
		{"BaseURLs, query", bases("http://a.test/?a=b"), []string{"URL", "entry 1", "query"}},
		{"BaseURLs, parameter without a scheme", bases("{host}/v1"), []string{"URL", "entry 1", "{host}/v1", "scheme", "host"}},
		{"BaseURLs, parameter as scheme, query", bases("{scheme}://b.test/?a=b"), []string{"URL", "entry 1", "query"}},
		{"URLs, parameter as host, no scheme", urls("{host}:8080/x"), []string{"URL", "entry 1", "need a scheme"}},
		{"URLs, parameter as scheme, port that is none", urls("{scheme}://a.test:65536"), []string{"URL", "entry 1", "65536"}},
		{"TargetFunc, nil", restyretry.TargetFunc(nil), []string{"URL", "nil"}},
	} {
		t.Run(tt.name, func(t *testing.T) { wantRefused(t, harness.URL(tt.target), tt.words...) })
	}
}

func TestAListIsTheTargetsOwn(t *testing.T) {
	for _, target := range []func(...string) restyretry.Target{restyretry.URLs, restyretry.BaseURLs, restyretry.Rotate} {
		list := []string{"http://a.test/x"}
		c := harness.New(t, harness.Statuses(200), harness.URL(target(list...)))
		list[0] = ""
		c.Get(t, "").Want(t, "200 succeeded").WantSent(t, "http://a.test/x")
	}
}

func TestTheCurlCommandInTheDebugLogIsThatOfItsAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &harness.Log{}
		c := harness.New(t, harness.Statuses(503, 200), harness.URL(restyretry.BaseURLs("http://a.test", "http://b.test")))
		c.SetLogger(log).SetDebug(true).EnableGenerateCurlOnDebug()
		c.Get(t, "/x").Want(t, "503 status 1s | 200 succeeded")
		entries := strings.Split(log.String(), "DEBUG")[1:]
		harness.Equal(t, "entries in the log", len(entries), 2)
		for i, entry := range entries {
			host := []string{"a.test", "b.test"}[i]
			harness.WantError(t, errors.New(entry), "http://"+host+"/x", "HOST   : "+host)
		}
	})
}

// serveSRV makes every SRV look-up during the test find the targets, the best
// priority first.
func serveSRV(t *testing.T, targets ...string) {
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe() // no net.PacketConn, so it speaks DNS over TCP
		go answerSRV(server, targets)
		return client, nil
	}}
}

// answerSRV answers one question, RFC 1035 and 2782.
func answerSRV(conn net.Conn, targets []string) {
	defer conn.Close()
	var length [2]byte
	_, _ = io.ReadFull(conn, length[:])
	query := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, query); err != nil || len(query) < 12 {
		return
	}
	end := 12 + bytes.IndexByte(query[12:], 0) + 1 + 4 // the question: name, type, class
	answer := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, byte(len(targets)), 0, 0, 0, 0}, query[12:end]...)
	for i, target := range targets {
		var name []byte
		for label := range strings.SplitSeq(target, ".") {
			name = append(append(name, byte(len(label))), label...)
		}
		answer = append(answer, 0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, byte(7+len(name)))
		answer = append(append(answer, 0, byte(i), 0, 1, 0, 80), append(name, 0)...) // priority, weight, port
	}
	_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
}

// With an SRV record Resty chooses the target of each attempt, the second best
// first.
func TestAnSRVRecordIsLookedUpUnlessThereIsATarget(t *testing.T) {
	serveSRV(t, "best.test", "second.test")
	for _, tt := range []struct {
		option harness.Option
		want   string
	}{
		{harness.Attempts(3), "http://second.test:80/x?q=1 http://best.test:80/x?q=1 http://second.test:80/x?q=1"},
		{harness.OnAttempt(func(restyretry.Attempt) error { return nil }), "http://second.test:80/x?q=1 http://best.test:80/x?q=1 http://second.test:80/x?q=1"},
		{harness.URL(restyretry.URLs("http://a.test/y", "http://b.test/y")), "http://a.test/y?q=1 http://b.test/y?q=1 http://b.test/y?q=1"},
		{harness.URL(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
			if a.Number == 1 {
				return a.Request.URL, nil
			}
			return "", nil
		})), "http://second.test:80/x?q=1 ?q=1 ?q=1"}, // an empty URL is the base URL here too
	} {
		c := harness.New(t, harness.Statuses(503), harness.Wait(0), tt.option) // the resolver lives in no bubble
		c.SetScheme("http")
		r := c.R().SetSRV(&resty.SRVRecord{Service: "web", Domain: "api.test"}).SetQueryParam("q", "1")
		call := c.Do(t, r, "GET", "/x").WantSent(t, tt.want)
		call.WantStory(t, "503 status | 503 status | 503 attempts")
	}
}

// A retry begins at the first URL again, with the method of the caller.
func TestARetryAfterARedirectBeginsAnew(t *testing.T) {
	for method, want := range map[string]string{"PUT": retried(503, "1s 1s"), "POST": "503 method"} {
		synctest.Test(t, func(t *testing.T) {
			sent, want := []string{}, want
			prepared := 0
			c := harness.Mock(func(n int, r *http.Request) (*http.Response, error) {
				sent = append(sent, r.Method+" "+r.URL.String())
				if r.URL.Path == "/order" {
					return harness.Says(303, "Location: http://other.test/done?token=SECRET")(n, r)
				}
				return harness.Says(503)(n, r)
			}).Install(t, func(o *options) {
				o.Wait = restyretry.Constant(1e9)
				o.PreRequest = func(*resty.Client, *http.Request) error { prepared++; return nil }
			})
			call := c.Do(t, c.R(), method, "/order")
			call.WantStory(t, want)
			round := method + " http://api.test/order GET http://other.test/done?token=SECRET"
			harness.Equal(t, "sent", strings.Join(sent, " "), strings.TrimSuffix(strings.Repeat(round+" ", prepared), " "))
			harness.Equal(t, "calls of PreRequest", prepared, len(call.History))
			for _, a := range call.History {
				harness.Equal(t, "attempt", a.Method+" "+a.URL, method+" http://api.test/order")
			}
		})
	}
}
