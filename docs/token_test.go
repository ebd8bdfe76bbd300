package docs

import (
	"io"
	"log"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"
)

// block: recipes.md
import (
	"context"
	"strings"
	"time"

	"github.com/restyretry/restyretry"
)

// Tokens hands out the access token that all requests share.
type Tokens struct {
	renew   func(context.Context) (string, error)
	turn    chan struct{} // guards current; a lock that a context can end the wait for
	current string
}

// NewTokens returns tokens that are renewed by a function, which must not use
// the client that they are for.
func NewTokens(renew func(context.Context) (string, error)) *Tokens {
	return &Tokens{renew: renew, turn: make(chan struct{}, 1)}
}

// get returns the current token, or a new one if the current one was refused.
// Of many goroutines whose token was refused, the first renews it; the others
// wait here and get the new one.
func (t *Tokens) get(ctx context.Context, refused string) (string, error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if t.current != refused {
		return t.current, nil
	}
	token, err := t.renew(ctx)
	if err == nil {
		t.current = token
	}
	return token, err
}

// Bearer is an option: each attempt carries the token, and the first 401 of a
// request is followed at once by another attempt with a new token.
func (t *Tokens) Bearer(o *restyretry.Options) {
	o.RetryIf = func(a restyretry.Attempt) bool {
		return a.StatusCode() == 401 && refusals(a) == 1
	}
	wait := o.Wait
	o.Wait = func(a restyretry.Attempt) time.Duration {
		if a.StatusCode() == 401 {
			return 0
		}
		return wait(a)
	}
	o.Hooks = append(o.Hooks, restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
		token, err := t.get(a.Request.Context(), refusedToken(a))
		if err == nil {
			a.Request.SetAuthToken(token)
		}
		return err
	}})
}

// refusals counts the attempts of a request that were answered by 401.
func refusals(a restyretry.Attempt) (n int) {
	for _, earlier := range restyretry.History(a.Request) {
		if earlier.StatusCode() == 401 {
			n++
		}
	}
	return n
}

// refusedToken is the token of the attempt before a, if it was answered by 401.
func refusedToken(a restyretry.Attempt) string {
	history := restyretry.History(a.Request)
	if len(history) == 0 || history[len(history)-1].StatusCode() != 401 {
		return ""
	}
	header := a.Request.RawRequest.Header.Get("Authorization") // still that of the attempt before
	return strings.TrimPrefix(header, "Bearer ")
}

// end of block

func TestOneRefreshServesAllGoroutinesAndAPOSTIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		valid, posted, refreshes := "first", 0, 0
		respond := func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			if r.Header.Get("Authorization") != "Bearer "+valid || string(body) != "order" {
				return httpmock.NewStringResponse(401, "expired"), nil
			}
			posted++
			return httpmock.NewStringResponse(201, ""), nil
		}
		tokens := NewTokens(func(context.Context) (string, error) {
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			refreshes++
			return valid, nil
		})
		client := newClient(t, respond, tokens.Bearer)
		send := func() (*resty.Response, error) { return client.R().SetBody("order").Post("/orders") }

		if resp, err := send(); err != nil || resp.StatusCode() != 201 {
			t.Fatalf("first: got %v, %v", resp, err)
		}
		mu.Lock()
		valid = "second"
		mu.Unlock()

		start := time.Now()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				resp, err := send()
				if err != nil || resp.StatusCode() != 201 {
					t.Errorf("got %v, %v, want 201", resp, err)
					return
				}
				if got, want := summary(resp.Request), "1 401 condition, 2 201 succeeded"; got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			})
		}
		all.Wait()
		if posted != 101 || refreshes != 2 {
			t.Errorf("got %d orders and %d refreshes, want 101 and 2", posted, refreshes)
		}
		if took := time.Since(start).Round(time.Millisecond); took != 3*time.Second {
			t.Errorf("took %v, want 3 s: two attempts with one refresh between them", took)
		}
	})
}

func TestATokenThatStaysRefusedIsRenewedOnce(t *testing.T) {
	respond, requests := answering(401)
	refreshes := 0
	login := func(context.Context) (string, error) { refreshes++; return "useless", nil }
	client := respond.New()
	// block: recipes.md
	tokens := NewTokens(login)
	if _, err := restyretry.Install(client, tokens.Bearer); err != nil {
		log.Fatal(err)
	}
	// end of block
	resp, err := client.R().Post("/orders")
	if err != nil || resp.StatusCode() != 401 || *requests != 2 || refreshes != 2 {
		t.Errorf("got %v, %v, %d requests, %d refreshes, want a 401 after 2 and 2", resp, err, *requests, refreshes)
	}
}
