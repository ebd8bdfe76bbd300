// Trace watches the attempts of a request: hooks that warn before the last
// attempt, a transport that knows which attempt it is sending, and the log.
package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "trace:", err)
		os.Exit(1)
	}
}

func run() error {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("server     the header says attempt %s\n", r.Header.Get("Attempt"))
		http.Error(w, "closed for today", http.StatusServiceUnavailable)
	}))
	defer server.Close()

	client := resty.NewWithClient(&http.Client{Transport: counting{http.DefaultTransport}}).SetLogger(silent{})
	_, err := restyretry.Install(client, func(o *restyretry.Options) {
		o.Wait = restyretry.Constant(20 * time.Millisecond)
		o.Hooks = append(o.Hooks, hooks())
		o.Logger = slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
			Level: slog.LevelDebug, ReplaceAttr: withoutTime,
		}))
	})
	if err != nil {
		return err
	}

	resp, err := client.R().Get(server.URL + "/report?key=secret")
	if err != nil {
		return err
	}
	fmt.Printf("the end    %s\n", resp.Status())
	return nil
}

// hooks tell what happens. OnAttempt may also change the request.
func hooks() restyretry.Hooks {
	return restyretry.Hooks{
		OnAttempt: func(a restyretry.Attempt) error {
			a.Request.SetHeader("Attempt", fmt.Sprint(a.Number))
			if a.Last() {
				fmt.Println("OnAttempt  this is the last attempt!")
			}
			return nil
		},
		OnRetry: func(a restyretry.Attempt) {
			fmt.Printf("OnRetry    %d after attempt %d, the next one in %v\n", a.StatusCode(), a.Number, a.Wait)
		},
		OnDone: func(a restyretry.Attempt) {
			fmt.Printf("OnDone     %d of %d attempts, reason %q\n", a.Number, a.Max, a.Reason)
		},
	}
}

// counting is a transport of the program's own. It learns from the context
// which attempt it sends, as any code below Resty can.
type counting struct{ http.RoundTripper }

func (t counting) RoundTrip(r *http.Request) (*http.Response, error) {
	fmt.Printf("transport  attempt %d\n", restyretry.Number(r.Context()))
	return t.RoundTripper.RoundTrip(r)
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
