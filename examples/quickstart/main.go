// Quickstart shows the plugin at work, against servers that it starts itself:
// retries, failover, other options for one request, and what comes back.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run() error {
	flaky, healthy, busy := answering(503, 429, 200), answering(200), answering(503)
	defer flaky.Close()
	defer healthy.Close()
	defer busy.Close()
	down := answering()
	down.Close() // nobody listens on its port any more

	client := resty.New().SetLogger(silent{})
	plugin, err := restyretry.Install(client, func(o *restyretry.Options) {
		o.Wait = restyretry.FullJitter(restyretry.Exponential(200*time.Millisecond, time.Second))
	})
	if err != nil {
		return err
	}
	ctx := context.Background()

	fmt.Println("1. A flaky server: two failures, then the answer.")
	if err := get(ctx, client, flaky.URL+"/hello"); err != nil {
		return err
	}

	fmt.Println("2. The first region is down: the next attempt goes to the second.")
	regions := restyretry.With(ctx, func(o *restyretry.Options) {
		o.URL = restyretry.BaseURLs(down.URL, healthy.URL)
	})
	if err := get(regions, client, "/hello"); err != nil {
		return err
	}

	fmt.Println("3. More patience for one request: 5 attempts, 40 ms apart.")
	patient := restyretry.With(ctx, func(o *restyretry.Options) {
		o.Attempts = 5
		o.Wait = restyretry.Constant(40 * time.Millisecond)
	})
	if err := get(patient, client, busy.URL+"/report"); err != nil {
		return err
	}
	fmt.Println("   The last response comes back as it is. A status is no error, unless RaiseForStatus is set.")

	s := plugin.Stats()
	fmt.Printf("\nIn all: %d requests, %d attempts, %d retries, %d recovered, %d given up, %v waited\n",
		s.Requests, s.Attempts, s.Retries, s.Recovered,
		s.GivenUp[restyretry.ReasonAttempts], s.Waited.Round(time.Millisecond))
	return nil
}

// get sends a request and prints its attempts and what came back.
func get(ctx context.Context, client *resty.Client, url string) error {
	resp, err := client.R().SetContext(ctx).Get(url)
	if err != nil {
		return err
	}
	for _, a := range restyretry.History(resp.Request) {
		fmt.Printf("   %s %d  %-29s  %-18s  %s", mark(a), a.Number, a.URL, outcome(a), a.Reason)
		if a.Wait > 0 {
			fmt.Printf(", wait %v", a.Wait.Round(time.Millisecond))
		}
		fmt.Println()
	}
	fmt.Printf("   → %s %q\n\n", resp.Status(), resp)
	return nil
}

func mark(a restyretry.Attempt) string {
	switch {
	case a.Reason == restyretry.ReasonSucceeded:
		return "✓"
	case a.Wait > 0:
		return "↻"
	default:
		return "✗"
	}
}

// outcome is the status of an attempt, or the innermost of its errors.
func outcome(a restyretry.Attempt) string {
	if a.Err == nil {
		return fmt.Sprint(a.StatusCode())
	}
	err := a.Err
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}

// answering starts a server that answers with these statuses in turn, the last
// one repeated.
func answering(statuses ...int) *httptest.Server {
	var requests atomic.Int64
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status := statuses[min(int(requests.Add(1)), len(statuses))-1]
		w.WriteHeader(status)
		if status == http.StatusOK {
			fmt.Fprint(w, "hello")
		} else {
			fmt.Fprint(w, "come back later")
		}
	}))
}

// silent keeps Resty from logging the errors of attempts on its own.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
