package docs

import (
	"context"
	"errors"
	"log"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

// block: cooldown.md
type tenantKey struct{}

// ByTenant is a Cooldown's Key for a server that limits each tenant.
func ByTenant(u *url.URL, r *resty.Request) string {
	tenant, _ := r.Context().Value(tenantKey{}).(string)
	return u.Host + " " + tenant
}

// end of block

func TestOneThatIsToldToWaitSpeaksForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond := httpmock.NewStringResponder(429, "").HeaderSet(http.Header{"Retry-After": {"90"}})
		client := standIn(respond).New()
		// block: cooldown.md
		cooldown := &restyretry.Cooldown{} // one for all clients that speak to the same servers
		_, err := restyretry.Install(client, func(o *restyretry.Options) { o.Cooldown = cooldown })
		if err != nil {
			log.Fatal(err)
		}
		// end of block
		if resp, err := client.R().Get("/"); err != nil || resp.StatusCode() != 429 {
			t.Fatalf("got %v, %v", resp, err)
		}
		_, err = client.R().Get("/")
		var cold *restyretry.CooldownError
		if !errors.As(err, &cold) || cold.Left != 90*time.Second {
			t.Errorf("got %v, want a CooldownError", err)
		}
	})
}

func TestATenantsLimitStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond := httpmock.NewStringResponder(429, "").HeaderSet(http.Header{"Retry-After": {"90"}})
		cooldown := &restyretry.Cooldown{Key: ByTenant}
		client := newClient(t, standIn(respond), func(o *restyretry.Options) { o.Cooldown = cooldown })
		ctx := context.WithValue(t.Context(), tenantKey{}, "acme")
		if _, err := client.R().SetContext(ctx).Get("/"); err != nil {
			t.Fatal(err)
		}
		if cooldown.Left("api.test acme") == 0 || cooldown.Left("api.test other") != 0 {
			t.Error("got another tenant's cool-down")
		}
	})
}

func TestAForbiddenWithRetryAfterIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond := httpmock.NewStringResponder(403, "").HeaderSet(http.Header{"Retry-After": {"60"}})
		cooldown := &restyretry.Cooldown{}
		client := newClient(t, standIn(respond), func(o *restyretry.Options) { o.Cooldown = cooldown })
		// block: cooldown.md
		client.OnAfterResponse(func(_ *resty.Client, resp *resty.Response) error {
			if resp.StatusCode() == http.StatusForbidden {
				if seconds, err := strconv.Atoi(resp.Header().Get("Retry-After")); err == nil {
					cooldown.Hold("https://api.github.com", time.Duration(seconds)*time.Second)
				}
			}
			return nil
		})
		// end of block
		if _, err := client.R().Get("/"); err != nil {
			t.Fatal(err)
		}
		if cooldown.Left("https://api.github.com") != time.Minute {
			t.Errorf("got %v, want a minute", cooldown.Left("https://api.github.com"))
		}
	})
}
