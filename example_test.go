package restyretry_test

import (
	"context"
	"errors"
	"expvar"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

func ExampleInstall() {
	client := newExampleClient("503", "200 hello")

	_, err := restyretry.Install(client, func(o *restyretry.Options) {
		o.Attempts = 5
		o.Wait = restyretry.Exponential(time.Millisecond, time.Second)
		o.Statuses = append(o.Statuses, http.StatusConflict)
	})
	if err != nil {
		fmt.Println(err) // names the option that is wrong
		return
	}

	resp, err := client.R().Get("/greeting")
	fmt.Println(resp, err)
	// Output: hello <nil>
}

func ExampleWith() {
	client := newExampleClient("503", "503", "503", "503", "200 the report")
	restyretry.Install(client, func(o *restyretry.Options) { o.Wait = restyretry.Constant(0) })

	// This request is worth more attempts than the client's default of 3.
	ctx := restyretry.With(context.Background(), func(o *restyretry.Options) { o.Attempts = 8 })
	resp, err := client.R().SetContext(ctx).Get("/report")

	fmt.Println(resp, err)
	// Output: the report <nil>
}

func ExampleOff() {
	client := newExampleClient("503", "200")
	restyretry.Install(client)

	ctx := restyretry.With(context.Background(), restyretry.Off)
	resp, _ := client.R().SetContext(ctx).Get("/once")

	fmt.Println(resp.Status())
	// Output: 503 Service Unavailable
}

func ExamplePlugin_Update() {
	client := newExampleClient("503", "200")
	plugin, _ := restyretry.Install(client)

	// While the server is in trouble, do not add to it.
	if err := plugin.Update(restyretry.Off); err != nil {
		fmt.Println(err)
	}
	resp, _ := client.R().Get("/")
	fmt.Println(resp.Status())

	// What is wrong changes nothing.
	err := plugin.Update(func(o *restyretry.Options) { o.Attempts = 1000 })
	fmt.Println(err)
	// Output:
	// 503 Service Unavailable
	// restyretry: Attempts is 1000, not from 1 to 100
}

func ExampleHistory() {
	client := newExampleClient("503", "connection lost", "200")
	restyretry.Install(client, func(o *restyretry.Options) {
		o.Attempts = 5
		o.Errors = func(error) bool { return true }
		o.Wait = restyretry.Linear(time.Millisecond, time.Second)
	})

	request := client.R()
	request.Get("/users?token=secret")

	for _, a := range restyretry.History(request) {
		fmt.Println(a.Number, a.URL, a.StatusCode(), a.Reason, a.Wait)
	}
	// Output:
	// 1 http://api.test/users?token=REDACTED 503 status 1ms
	// 2 http://api.test/users?token=REDACTED 0 error 2ms
	// 3 http://api.test/users?token=REDACTED 200 succeeded 0s
}

func ExampleURLs() {
	client := newExampleClient("503", "503", "200")
	restyretry.Install(client, func(o *restyretry.Options) {
		o.Wait = restyretry.Constant(0)
		o.URL = restyretry.URLs("http://api.test/users", "http://backup.test/users")
	})

	request := client.R()
	request.Get("/users")

	for _, a := range restyretry.History(request) {
		fmt.Println(a.Number, a.URL)
	}
	// Output:
	// 1 http://api.test/users
	// 2 http://backup.test/users
	// 3 http://backup.test/users
}

func ExampleBaseURLs() {
	client := newExampleClient("503", "200")
	restyretry.Install(client, func(o *restyretry.Options) {
		o.Wait = restyretry.Constant(0)
		o.URL = restyretry.BaseURLs("http://api.test", "http://backup.test/v2")
	})

	request := client.R().SetQueryParam("page", "1")
	request.Get("/users")

	for _, a := range restyretry.History(request) {
		fmt.Println(a.Number, a.URL)
	}
	// Output:
	// 1 http://api.test/users?page=REDACTED
	// 2 http://backup.test/v2/users?page=REDACTED
}

func ExampleRotate() {
	client := newExampleClient("503", "200", "200")
	restyretry.Install(client, func(o *restyretry.Options) {
		o.Wait = restyretry.Constant(0)
		o.URL = restyretry.Rotate("http://a.test", "http://b.test", "http://c.test")
	})

	for range 2 {
		request := client.R()
		request.Get("/")
		for _, a := range restyretry.History(request) {
			fmt.Println(a.Number, a.URL)
		}
	}
	// Output:
	// 1 http://a.test/
	// 2 http://b.test/
	// 1 http://b.test/
}

func ExampleTargetFunc() {
	// Retries go to a replica.
	replica := restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
		if a.Number == 1 {
			return a.Request.URL, nil
		}
		return "http://replica.test" + a.Request.URL, nil
	})

	client := newExampleClient("503", "200")
	restyretry.Install(client, func(o *restyretry.Options) {
		o.Wait = restyretry.Constant(0)
		o.URL = replica
	})

	request := client.R()
	request.Get("/users")

	for _, a := range restyretry.History(request) {
		fmt.Println(a.Number, a.URL)
	}
	// Output:
	// 1 http://api.test/users
	// 2 http://replica.test/users
}

// What a trace callback does in aiohttp_retry: say that this is the last
// attempt, and mark the retries for the server.
func ExampleHooks() {
	hooks := restyretry.Hooks{
		OnAttempt: func(a restyretry.Attempt) error {
			if a.Last() {
				fmt.Printf("attempt %d of %d is the last one\n", a.Number, a.Max)
			}
			a.Request.SetHeader("X-Attempt", strconv.Itoa(a.Number))
			return nil // an error would stop the request
		},
		OnRetry: func(a restyretry.Attempt) {
			fmt.Printf("attempt %d: %d, again in %v\n", a.Number, a.StatusCode(), a.Wait)
		},
		OnDone: func(a restyretry.Attempt) {
			fmt.Printf("done after attempt %d: %s\n", a.Number, a.Reason)
		},
	}

	client := newExampleClient("503", "502", "200")
	restyretry.Install(client, func(o *restyretry.Options) {
		o.Wait = restyretry.Constant(time.Millisecond)
		o.Hooks = append(o.Hooks, hooks)
	})

	client.R().Get("/")
	// Output:
	// attempt 1: 503, again in 1ms
	// attempt 2: 502, again in 1ms
	// attempt 3 of 3 is the last one
	// done after attempt 3: succeeded
}

// Poll until a job is no longer pending, which its server says with a 200.
func ExampleOptions_retryIf() {
	client := newExampleClient("200 pending", "200 pending", "200 finished")
	restyretry.Install(client)

	ctx := restyretry.With(context.Background(), func(o *restyretry.Options) {
		o.Attempts = 20
		o.Wait = restyretry.Constant(time.Millisecond)
		o.RetryIf = func(a restyretry.Attempt) bool {
			return a.Err == nil && a.Response.String() == "pending"
		}
	})
	resp, err := client.R().SetContext(ctx).Get("/jobs/1")

	fmt.Println(resp, err)
	// Output: finished <nil>
}

func ExampleStatusError() {
	client := newExampleClient("503")
	restyretry.Install(client, func(o *restyretry.Options) {
		o.Wait = restyretry.Constant(0)
		o.RaiseForStatus = true
	})

	_, err := client.R().Get("/users")

	var failed *restyretry.StatusError
	if errors.As(err, &failed) {
		fmt.Println(failed.StatusCode, failed.Attempts)
		fmt.Println(failed)
	}
	// Output:
	// 503 3
	// restyretry: GET http://api.test/users: 503 Service Unavailable after 3 of 3 attempts (attempts)
}

func ExamplePlugin_Stats() {
	client := newExampleClient("503", "200", "404")
	plugin, _ := restyretry.Install(client, func(o *restyretry.Options) {
		o.Wait = restyretry.Constant(time.Millisecond)
	})

	client.R().Get("/users")
	client.R().Get("/nobody")

	stats := plugin.Stats()
	fmt.Println(stats.Requests, "requests,", stats.Retries, "retries,", stats.Recovered, "recovered")
	fmt.Println("not retryable:", stats.GivenUp[restyretry.ReasonNotRetryable])
	fmt.Println("waited:", stats.Waited)
	// Output:
	// 2 requests, 1 retries, 1 recovered
	// not retryable: 1
	// waited: 1ms
}

// Let expvar show the counts at /debug/vars.
func ExamplePlugin_Stats_expvar() {
	client := newExampleClient("503", "200", "404")
	plugin, _ := restyretry.Install(client, func(o *restyretry.Options) {
		o.Wait = restyretry.Constant(time.Millisecond)
	})

	counts := expvar.Func(func() any { return plugin.Stats() })
	// In a program: expvar.Publish("restyretry", counts), once.

	client.R().Get("/users")
	client.R().Get("/nobody")

	fmt.Println(counts)
	// Output:
	// {"Requests":2,"Attempts":3,"Retries":1,"Recovered":1,"GivenUp":{"not-retryable":1},"Waited":1000000,"Held":0,"HeldFor":0}
}

// Number works wherever the context of the raw request is known: here, and in
// a transport, a dialer or an httptrace.
func ExampleNumber() {
	client := newExampleClient("503", "200")
	restyretry.Install(client, func(o *restyretry.Options) {
		o.Wait = restyretry.Constant(0)
		o.PreRequest = func(_ *resty.Client, r *http.Request) error {
			fmt.Println("attempt", restyretry.Number(r.Context()))
			return nil
		}
	})

	client.R().Get("/")
	fmt.Println("outside:", restyretry.Number(context.Background()))
	// Output:
	// attempt 1
	// attempt 2
	// outside: 0
}

// A transport of the program's own, too, can tell which attempt it sends.
func ExampleNumber_transport() {
	client := newExampleClient("503", "200")
	client.SetTransport(counting{client.GetClient().Transport})
	restyretry.Install(client, func(o *restyretry.Options) { o.Wait = restyretry.Constant(0) })

	client.R().Get("/")
	// Output:
	// sending attempt 1 to api.test
	// sending attempt 2 to api.test
}

type counting struct{ http.RoundTripper }

func (t counting) RoundTrip(r *http.Request) (*http.Response, error) {
	fmt.Printf("sending attempt %d to %s\n", restyretry.Number(r.Context()), r.URL.Host)
	return t.RoundTripper.RoundTrip(r)
}

// Retries are logged at level Debug, requests that are given up at Warn.
func ExampleOptions_logger() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{} // for this example only
			}
			return a
		},
	}))

	client := newExampleClient("503", "429")
	restyretry.Install(client, func(o *restyretry.Options) {
		o.Attempts = 2
		o.Wait = restyretry.Constant(time.Millisecond)
		o.Logger = logger
	})

	client.R().Get("/report?key=secret")
	// Output:
	// level=DEBUG msg=retrying method=GET url="http://api.test/report?key=REDACTED" attempt=1 max=2 reason=status status=503 wait=1ms
	// level=WARN msg="giving up" method=GET url="http://api.test/report?key=REDACTED" attempt=2 max=2 reason=attempts status=429
}

func ExampleConstant() {
	wait := restyretry.Constant(2 * time.Second)
	for n := range 4 {
		fmt.Println(wait(restyretry.Attempt{Number: n + 1}))
	}
	// Output:
	// 2s
	// 2s
	// 2s
	// 2s
}

func ExampleLinear() {
	wait := restyretry.Linear(time.Second, 3*time.Second)
	for n := range 4 {
		fmt.Println(wait(restyretry.Attempt{Number: n + 1}))
	}
	// Output:
	// 1s
	// 2s
	// 3s
	// 3s
}

func ExampleExponential() {
	wait := restyretry.Exponential(100*time.Millisecond, 30*time.Second)
	for n := range 10 {
		fmt.Println(wait(restyretry.Attempt{Number: n + 1}))
	}
	// Output:
	// 100ms
	// 200ms
	// 400ms
	// 800ms
	// 1.6s
	// 3.2s
	// 6.4s
	// 12.8s
	// 25.6s
	// 30s
}

func ExampleFibonacci() {
	wait := restyretry.Fibonacci(2*time.Second, 60*time.Second)
	for n := range 9 {
		fmt.Println(wait(restyretry.Attempt{Number: n + 1}))
	}
	// Output:
	// 2s
	// 4s
	// 6s
	// 10s
	// 16s
	// 26s
	// 42s
	// 1m0s
	// 1m0s
}

func ExampleList() {
	wait := restyretry.List(time.Second, 5*time.Second, 30*time.Second)
	for n := range 5 {
		fmt.Println(wait(restyretry.Attempt{Number: n + 1}))
	}
	// Output:
	// 1s
	// 5s
	// 30s
	// 30s
	// 30s
}

func ExampleAddJitter() {
	client := newExampleClient("503", "503", "503", "200")
	restyretry.Install(client, func(o *restyretry.Options) {
		o.Attempts = 4
		base := restyretry.Linear(time.Millisecond, time.Second)
		o.Wait = restyretry.AddJitter(base, 2*time.Millisecond, 3*time.Millisecond)
		o.Rand = func() float64 { return 0.5 } // for this example only
	})

	request := client.R()
	request.Get("/")

	for _, a := range restyretry.History(request) {
		fmt.Println(a.Number, a.Wait)
	}
	// Output:
	// 1 2ms
	// 2 3ms
	// 3 3ms
	// 4 0s
}

// newExampleClient stands for resty.New().SetBaseURL("http://api.test"). It is
// given the answers in turn, "status body"; anything else is an error.
func newExampleClient(answers ...string) *resty.Client {
	transport := httpmock.NewMockTransport()
	transport.RegisterNoResponder(func(r *http.Request) (*http.Response, error) {
		answer := answers[0]
		answers = append(answers[1:], answer)
		status, err := strconv.Atoi(answer[:3])
		if err != nil {
			return nil, errors.New(answer)
		}
		return httpmock.NewStringResponse(status, answer[min(4, len(answer)):]), nil
	})
	return resty.New().SetTransport(transport).SetBaseURL("http://api.test").SetLogger(harness.Silent{})
}
