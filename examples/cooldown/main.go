// Cooldown shows what requests learn from each other about the hosts they go to: 50
// workers use an API with a rate limit, and requests go to a list of hosts whose
// first is dead, each without a Cooldown and with one.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "cooldown:", err)
		os.Exit(1)
	}
}

func run() error {
	fmt.Println("50 workers, an API that answers 20 requests a second")
	fmt.Println("  (each column 0.1 s: - held back, * answered, x refused, . waits after that)")
	fmt.Println()
	if err := compare(workers); err != nil {
		return err
	}
	fmt.Println("20 requests, a primary that is dead, and its stand-in")
	fmt.Println()
	return compare(failover)
}

// compare runs a scenario without a Cooldown and with one, both at once.
func compare(scenario func(io.Writer, *restyretry.Cooldown) error) error {
	var without, with strings.Builder
	failed := make(chan error)
	go func() { failed <- scenario(&without, nil) }()
	err := errors.Join(scenario(&with, &restyretry.Cooldown{}), <-failed)
	fmt.Print(without.String(), with.String())
	return err
}

// workers sends a request from each of 50 workers and draws what became of them.
func workers(out io.Writer, cooldown *restyretry.Cooldown) error {
	api := httptest.NewServer(&limitedAPI{quota: 20})
	defer api.Close()
	client := resty.New().SetBaseURL(api.URL).SetLogger(silent{})
	plugin, err := restyretry.Install(client, func(o *restyretry.Options) {
		o.Attempts = 10
		o.Cooldown = cooldown
	})
	if err != nil {
		return err
	}
	start := time.Now()
	var all sync.WaitGroup
	var errs [50]error
	var lines [50]string
	for i := range errs {
		time.Sleep(5 * time.Millisecond)
		all.Go(func() {
			r := client.R()
			_, errs[i] = r.Get("/orders")
			lines[i] = timeline(start, restyretry.History(r))
		})
	}
	all.Wait()
	for i := 0; i < len(lines); i += 7 {
		if errs[i] != nil {
			return errs[i]
		}
		fmt.Fprintf(out, "  worker %2d %s\n", i+1, lines[i])
	}
	stats := plugin.Stats()
	fmt.Fprintf(out, "  %s: %d answered after %.1f s, %d refused, %d times held\n\n", name(cooldown),
		stats.Requests, time.Since(start).Seconds(), stats.Retries, stats.Held)
	return nil
}

// timeline has a column for every tenth of a second.
func timeline(start time.Time, attempts []restyretry.Attempt) string {
	var line []byte
	fill := func(until time.Time, with byte) {
		for len(line) < int(until.Sub(start)/(100*time.Millisecond)) {
			line = append(line, with)
		}
	}
	before := byte(' ')
	for _, a := range attempts {
		fill(a.Start.Add(-a.Held), before)
		fill(a.Start, '-')
		before = '.'
		if a.Response.IsSuccess() {
			line = append(line, '*')
		} else {
			line = append(line, 'x')
		}
	}
	return string(line)
}

// failover sends requests to a list of hosts. Later the first host is back.
func failover(out io.Writer, cooldown *restyretry.Cooldown) error {
	standIn := httptest.NewServer(answer("the stand-in"))
	defer standIn.Close()
	primary := httptest.NewUnstartedServer(answer("the primary"))
	defer primary.Close()
	address := primary.Listener.Addr().String()
	if err := primary.Listener.Close(); err != nil { // nothing listens there
		return err
	}
	client := resty.New().SetLogger(silent{})
	plugin, err := restyretry.Install(client, func(o *restyretry.Options) {
		o.URL = restyretry.BaseURLs("http://"+address, standIn.URL)
		o.Wait = restyretry.Constant(20 * time.Millisecond)
		o.Cooldown = cooldown
	})
	if err != nil {
		return err
	}
	start := time.Now()
	for range 20 {
		if _, err := client.R().Get("/orders"); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "  %s: %d tried the primary first, all answered after %d ms\n", name(cooldown),
		plugin.Stats().Retries, time.Since(start).Milliseconds())

	if err := listen(primary, address); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		resp, err := client.R().Get("/orders")
		if err != nil {
			return err
		}
		if resp.String() == "the primary" {
			fmt.Fprintf(out, "  the primary is back, and answers %.1f s after it died\n\n", time.Since(start).Seconds())
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("the primary is back, but nothing goes there: %w", ctx.Err())
}

func listen(server *httptest.Server, address string) (err error) {
	if server.Listener, err = net.Listen("tcp", address); err == nil {
		server.Start()
	}
	return err
}

// A limitedAPI answers quota requests in each second, and refuses the others.
type limitedAPI struct {
	quota int

	mu   sync.Mutex
	ends time.Time // of the second
	left int
}

func (a *limitedAPI) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if !a.admit(time.Now()) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	}
}

func (a *limitedAPI) admit(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.After(a.ends) {
		a.ends, a.left = now.Add(time.Second), a.quota
	}
	a.left--
	return a.left >= 0
}

func answer(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

func name(cooldown *restyretry.Cooldown) string {
	if cooldown == nil {
		return "without a Cooldown"
	}
	return "with a Cooldown"
}

type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
