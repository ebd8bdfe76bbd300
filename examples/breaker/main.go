// Breaker puts a circuit breaker in front of every attempt: while a server is down,
// requests end at once, and nothing is sent to it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "breaker:", err)
		os.Exit(1)
	}
}

func run(out io.Writer) error {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) <= 5 {
			http.Error(w, "down", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()

	client := resty.New().SetLogger(silent{})
	// block: recipes.md
	breaker := circuitbreaker.NewBuilder[any]().WithFailureThreshold(5).WithDelay(time.Second).Build()
	if _, err := restyretry.Install(client, Guard(breaker)); err != nil {
		return err
	}
	// end of block
	ctx := restyretry.With(context.Background(), func(o *restyretry.Options) {
		o.Wait = restyretry.Constant(time.Millisecond)
	})
	for n := 1; n <= 5; n++ {
		if n == 4 {
			time.Sleep(1100 * time.Millisecond)
		}
		request := client.R().SetContext(ctx)
		resp, err := request.Get(server.URL)
		switch {
		case err == nil:
			fmt.Fprintf(out, "request %d: %s", n, resp.Status())
		case errors.Is(err, circuitbreaker.ErrOpen):
			fmt.Fprintf(out, "request %d: refused", n)
		default:
			return err
		}
		fmt.Fprintf(out, ", the server has had %d, the breaker is %v\n", requests.Load(), breaker.State())
	}
	return nil
}

// silent keeps Resty from logging the errors of attempts on its own.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
