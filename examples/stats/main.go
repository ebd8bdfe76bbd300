// Stats publishes the counts of a client through expvar, and reads them back
// the way a monitoring system would.
package main

import (
	"encoding/json"
	"expvar"
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
		fmt.Fprintln(os.Stderr, "stats:", err)
		os.Exit(1)
	}
}

func run() error {
	api, down := answering(503, 200), answering(503)
	defer api.Close()
	defer down.Close()

	client := resty.New().SetLogger(silent{})
	plugin, err := restyretry.Install(client, func(o *restyretry.Options) {
		o.Wait = restyretry.Constant(20 * time.Millisecond)
	})
	if err != nil {
		return err
	}
	// Asked anew whenever somebody reads /debug/vars, which net/http serves on
	// its default mux as soon as expvar is imported.
	expvar.Publish("restyretry", expvar.Func(func() any { return plugin.Stats() }))

	for _, url := range []string{api.URL, api.URL, down.URL} {
		if _, err := client.R().Get(url); err != nil {
			return err
		}
	}
	return show()
}

// show reads the page that expvar serves.
func show() error {
	debug := httptest.NewServer(expvar.Handler())
	defer debug.Close()
	resp, err := http.Get(debug.URL + "/debug/vars")
	if err != nil {
		return err
	}
	defer resp.Body.Close()

	var vars struct {
		Stats restyretry.Stats `json:"restyretry"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&vars); err != nil {
		return err
	}
	s := vars.Stats
	fmt.Printf("requests   %d\nattempts   %d\nretries    %d\nrecovered  %d\ngiven up   %v\nwaited     %v\n",
		s.Requests, s.Attempts, s.Retries, s.Recovered, s.GivenUp, s.Waited)
	return nil
}

// answering starts a server that answers with these statuses in turn, the last
// one repeated.
func answering(statuses ...int) *httptest.Server {
	var requests atomic.Int64
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(statuses[min(int(requests.Add(1)), len(statuses))-1])
	}))
}

// silent keeps Resty from logging the errors of attempts on its own.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
