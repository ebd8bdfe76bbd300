// Failover sends requests past a region that is down, in three ways: with base URLs
// for all requests, with a list of URLs for one request, and with base URLs that
// share the load.
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
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

func run() error {
	east, west, south := region("east"), region("west"), region("south")
	defer west.Close()
	defer south.Close()
	east.Close() // this region is down

	client := resty.New().SetLogger(silent{})
	_, err := restyretry.Install(client, func(o *restyretry.Options) {
		o.URL = restyretry.BaseURLs(east.URL, west.URL)
		o.Wait = restyretry.Constant(20 * time.Millisecond)
	})
	if err != nil {
		return err
	}

	fmt.Println("BaseURLs: every request of the client begins in the east.")
	if err := get(context.Background(), client, "/orders?limit=3"); err != nil {
		return err
	}

	fmt.Println("URLs: one request has a list of its own.")
	mirrors := restyretry.With(context.Background(), func(o *restyretry.Options) {
		o.URL = restyretry.URLs(east.URL+"/main/list", south.URL+"/mirror/list")
	})
	if err := get(mirrors, client, ""); err != nil {
		return err
	}

	fmt.Println("Rotate: each request begins one further in the list.")
	rotate := restyretry.With(context.Background(), func(o *restyretry.Options) {
		o.URL = restyretry.Rotate(west.URL, south.URL, east.URL)
	})
	for range 3 {
		if err := get(rotate, client, "/orders"); err != nil {
			return err
		}
	}
	return nil
}

func get(ctx context.Context, client *resty.Client, url string) error {
	resp, err := client.R().SetContext(ctx).Get(url)
	if err != nil {
		return err
	}
	fmt.Printf("  attempt %d: %s\n", restyretry.Number(resp.Request.RawRequest.Context()), resp)
	return nil
}

// region starts a server that says where it is and what it was asked.
func region(name string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s answers %s", name, r.URL)
	}))
}

type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
