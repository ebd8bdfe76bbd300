package docs

import (
	"errors"
	"log"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

func TestOptionsForThoseOfAiohttpRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, requests := answering(404)
		client := respond.New()
		// block: migrating.md
		_, err := restyretry.Install(client, func(o *restyretry.Options) {
			o.Attempts = 5
			o.Wait = restyretry.Exponential(200*time.Millisecond, 30*time.Second)
			o.Statuses = append(o.Statuses, 404)
			o.Hooks = append(o.Hooks, restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
				if a.Last() {
					a.Request.SetHeader("X-Last-Attempt", "1")
				}
				return nil
			}})
		})
		if err != nil {
			log.Fatal(err)
		}
		// end of block
		start := time.Now()
		if _, err := client.R().Get("/"); err != nil || *requests != 5 {
			t.Errorf("got %v after %d attempts, want 5", err, *requests)
		}
		if took := time.Since(start).Round(time.Millisecond); took != 3*time.Second {
			t.Errorf("took %v, want 0.2 + 0.4 + 0.8 + 1.6 s", took)
		}
	})
}

func TestOptionsForRestysOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := func(client *resty.Client) {
			// block: migrating.md
			client.SetRetryCount(4).
				SetRetryWaitTime(200 * time.Millisecond).
				SetRetryMaxWaitTime(5 * time.Second).
				AddRetryCondition(func(resp *resty.Response, err error) bool {
					return err != nil || resp.StatusCode() >= 500
				})
			// end of block
		}
		after := func(client *resty.Client) {
			// block: migrating.md
			_, err := restyretry.Install(client, func(o *restyretry.Options) {
				o.Attempts = 5 // 4 retries
				o.Wait = restyretry.EqualJitter(restyretry.Exponential(200*time.Millisecond, 5*time.Second))
				o.Errors = func(error) bool { return true }
			})
			if err != nil {
				log.Fatal(err)
			}
			// end of block
		}
		for name, prepare := range map[string]func(*resty.Client){"before": before, "after": after} {
			for what, respond := range map[string]standIn{
				"a 503": func() standIn { s, _ := answering(503); return s }(),
				"error": func(*http.Request) (*http.Response, error) { return nil, errors.New("no") },
			} {
				client := respond.New()
				prepare(client)
				n := 0
				client.OnBeforeRequest(func(*resty.Client, *resty.Request) error { n++; return nil })
				if _, _ = client.R().Get("/"); n != 5 {
					t.Errorf("%s, %s: got %d attempts, want 5", name, what, n)
				}
			}
		}
	})
}
