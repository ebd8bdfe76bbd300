// Override changes the policy for single requests, and for all of them while
// the client is in use.
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "override:", err)
		os.Exit(1)
	}
}

func run() error {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "busy", http.StatusServiceUnavailable)
	}))
	defer server.Close()

	client := resty.New().SetBaseURL(server.URL).SetLogger(silent{})
	plugin, err := restyretry.Install(client, func(o *restyretry.Options) {
		o.Wait = restyretry.Constant(10 * time.Millisecond)
	})
	if err != nil {
		return err
	}
	ctx := context.Background()
	show("as installed", ctx, client)

	patient := restyretry.With(ctx, func(o *restyretry.Options) { o.Attempts = 5 })
	show("With: 5 attempts", patient, client)

	// Calls of With add up: still 5 attempts, and a status is an error.
	strict := restyretry.With(patient, func(o *restyretry.Options) { o.RaiseForStatus = true })
	show("With twice", strict, client)

	show("Off", restyretry.With(ctx, restyretry.Off), client)

	if err := plugin.Update(func(o *restyretry.Options) { o.Attempts = 2 }); err != nil {
		return err
	}
	show("after Update", ctx, client)

	err = plugin.Update(func(o *restyretry.Options) { o.Attempts = 0 })
	fmt.Printf("%-18s %v\n", "a wrong Update", err)
	return nil
}

// show sends a request that is bound to fail, and prints how it did.
func show(name string, ctx context.Context, client *resty.Client) {
	resp, err := client.R().SetContext(ctx).Get("/report")
	fmt.Printf("%-18s attempts %d, status %d", name, len(restyretry.History(resp.Request)), resp.StatusCode())
	if err != nil {
		fmt.Printf("\n%18s %v", "", err)
	}
	fmt.Println()
}

type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
