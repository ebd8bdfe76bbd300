package docs

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

func TestTheFirstSixLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, requests := answering(503, 429, 200)
		resty := respond
		// block: README.md
		client := resty.New()
		if _, err := restyretry.Install(client); err != nil {
			log.Fatal(err) // names the option that is invalid
		}
		resp, err := client.R().Get("https://api.example.com/report")
		fmt.Println(resp, err)
		// end of block
		if err != nil || resp.String() != "OK" || *requests != 3 {
			t.Errorf("got %v, %v after %d attempts, want OK after 3", resp, err, *requests)
		}
	})
}

func TestOptionsAndOverrides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, requests := answering(409)
		client, ctx := respond.New(), t.Context()
		// block: README.md
		plugin, err := restyretry.Install(client, func(o *restyretry.Options) {
			o.Attempts = 5
			o.Statuses = append(o.Statuses, http.StatusConflict)
			o.AttemptTimeout = 10 * time.Second
			o.MaxElapsed = time.Minute
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%+v\n", plugin.Stats())
		// end of block
		if _, err := client.R().Get("/report"); err != nil || *requests != 5 {
			t.Errorf("got %v after %d attempts, want 5", err, *requests)
		}
		overrides(t, ctx, client, plugin)
		if *requests != 5+8+1 {
			t.Errorf("got %d attempts in all, want 5 + 8 + 1", *requests)
		}
	})
}

func overrides(t *testing.T, ctx context.Context, client *resty.Client, plugin *restyretry.Plugin) {
	// block: README.md
	patient := restyretry.With(ctx, func(o *restyretry.Options) { o.Attempts = 8 })
	resp, err := client.R().SetContext(patient).Get("/report") // this request only
	fmt.Println(resp, err)

	once := restyretry.With(ctx, restyretry.Off)
	resp, err = client.R().SetContext(once).Get("/report") // no retries
	fmt.Println(resp, err)

	err = plugin.Update(func(o *restyretry.Options) { o.MaxElapsed = time.Minute }) // all requests from now on
	fmt.Println(err)
	// end of block
	if err != nil {
		t.Error(err)
	}
}

func TestTheDefaultWaitsComeToOneAndAHalfSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := answering(503)
		client := newClient(t, respond, func(o *restyretry.Options) { o.Rand = func() float64 { return 1 - 1e-12 } })
		start := time.Now()
		if _, err := client.R().Get("/"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start).Round(time.Millisecond); took != 1500*time.Millisecond {
			t.Errorf("took %v, want 1.5 s", took)
		}
	})
}

func TestAPOSTIsRepeatedOnlyIfTheServerHasNotProcessedIt(t *testing.T) {
	for _, test := range []struct{ status, want int }{{408, 1}, {425, 3}, {429, 3}, {500, 1}, {503, 1}, {401, 1}} {
		t.Run(fmt.Sprint(test.status), func(t *testing.T) {
			respond, requests := answering(test.status)
			client := newClient(t, respond, func(o *restyretry.Options) { o.Wait = restyretry.Constant(0) })
			if _, err := client.R().SetBody("order").Post("/orders"); err != nil || *requests != test.want {
				t.Errorf("got %v after %d attempts, want %d", err, *requests, test.want)
			}
		})
	}
}

func TestWhenTheResponseIsNil(t *testing.T) {
	wrong := func(o *restyretry.Options) { o.Attempts = 0 }
	for _, test := range []struct {
		name, url string
		ctx       context.Context
		before    resty.RequestMiddleware
		wantNil   bool
	}{
		{"an invalid option", "/", restyretry.With(t.Context(), wrong), nil, true},
		{"a bad URL", "http://api.test:port/", t.Context(), nil, true},
		{"a middleware", "/", t.Context(), func(*resty.Client, *resty.Request) error { return errors.New("no") }, true},
		{"an error of the connection", "/", t.Context(), nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := newClient(t, func(*http.Request) (*http.Response, error) { return nil, errors.New("reset") },
				func(o *restyretry.Options) { o.Wait = restyretry.Constant(0) })
			if test.before != nil {
				client.OnBeforeRequest(test.before)
			}
			resp, err := client.R().SetContext(test.ctx).Get(test.url)
			if err == nil || (resp == nil) != test.wantNil {
				t.Errorf("got response %v and error %v, want nil: %v", resp, err, test.wantNil)
			}
			if resp != nil && resp.RawResponse != nil {
				t.Errorf("got a RawResponse, want none")
			}
		})
	}
}

// recorder is a logger that keeps what Resty says.
type recorder struct{ lines []string }

func (r *recorder) Errorf(format string, v ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, v...))
}
func (r *recorder) Warnf(format string, v ...any) { r.Errorf(format, v...) }
func (r *recorder) Debugf(string, ...any)         {}

func TestRestyLogsAttemptsThatHadAnError(t *testing.T) {
	for _, test := range []struct {
		name    string
		respond standIn
		want    int
	}{
		{"errors", func(*http.Request) (*http.Response, error) { return nil, errors.New("reset") }, 4}, // each, and the request
		{"statuses", func() standIn { respond, _ := answering(503); return respond }(), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := &recorder{}
			client := newClient(t, test.respond, func(o *restyretry.Options) {
				o.Wait = restyretry.Constant(0)
				o.Errors = func(error) bool { return true }
			})
			client.SetLogger(log)
			_, _ = client.R().Get("/?token=secret")
			if len(log.lines) != test.want {
				t.Errorf("got %d lines %q, want %d", len(log.lines), log.lines, test.want)
			}
		})
	}
}
