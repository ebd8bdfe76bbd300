// Package results tests what a caller gets of the responses of a request, the last
// and those that are thrown away.
package results

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

type document struct {
	State  string            `json:"state"`
	Detail string            `json:"detail"`
	Kept   string            `json:"-"`
	Owner  *document         `json:"-"`
	M      map[string]int    `json:"m"`
	Deep   *document         `json:"deep"`
	List   []string          `json:"list"`
	Labels map[string]string `json:"labels"`
}

func pending(a restyretry.Attempt) bool {
	return a.StatusCode() == 200 && !strings.Contains(a.Response.String(), "done")
}

func TestAResultHasNothingOfEarlierAttempts(t *testing.T) {
	const again = "200 condition 1s | 200 succeeded"
	for _, tt := range []struct {
		name   string
		result any
		want   string
	}{
		{"struct", &document{Kept: "mine", Detail: "initial"}, "{State:done Detail:initial Kept:mine Owner:<nil> M:map[new:2] Deep:<nil> List:[] Labels:map[]}"},
		{"struct with an initial map", &document{M: map[string]int{"mine": 1}}, "{State:done Detail: Kept: Owner:<nil> M:map[mine:1 new:2] Deep:<nil> List:[] Labels:map[]}"},
		{"struct in a struct", &struct{ Deep document }{document{Detail: "mine"}}, "{Deep:{State: Detail:mine Kept: Owner:<nil> M:map[] Deep:<nil> List:[] Labels:map[]}}"},
		{"map", &map[string]any{}, "map[m:map[new:2] state:done]"},
		{"map with initial entries", &map[string]any{"mine": 1}, "map[m:map[new:2] mine:1 state:done]"},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c := harness.New(t, harness.Each(
				harness.JSON(200, `{"state":"pending","detail":"old","m":{"old":1},"deep":{"state":"old"},"list":["a","b"],"labels":{"old":"1"}}`),
				harness.JSON(200, `{"state":"done","m":{"new":2}}`),
			), harness.RetryIf(pending))
			call := c.Do(t, c.R().SetResult(tt.result), "GET", "/").Want(t, again)
			harness.Equal(t, "result", call.Response.Result(), tt.result)
			harness.Equal(t, "result", strings.TrimPrefix(fmt.Sprintf("%+v", tt.result), "&"), tt.want)
		})
	}
	harness.Bubble(t, "of a 200 that was retried, after which nothing worked", func(t *testing.T) {
		c := harness.New(t, harness.Each(harness.JSON(200, `{"state":"pending"}`), harness.Statuses(503)), harness.RetryIf(pending))
		call := c.Do(t, c.R().SetResult(&document{}), "GET", "/").Want(t, "200 condition 1s | 503 status 1s | 503 attempts")
		harness.Equal(t, "state", call.Response.Result().(*document).State, "")
	})
}

// What decoders leave alone is not copied, and may be a ring.
func TestAResultKeepsThePointersThatAreNotDecoded(t *testing.T) {
	type node struct {
		State           string
		Next, Prev, Own *node
	}
	harness.Bubble(t, "in results and errors", func(t *testing.T) {
		c := harness.New(t, harness.Each(harness.JSON(503, `{"state":"busy"}`), harness.JSON(200, `{"state":"pending"}`), harness.JSON(200, `{"state":"done"}`)), harness.RetryIf(pending))
		const story = "503 status 1s | 200 condition 1s | 200 succeeded"
		owner := &document{}
		result, failure := &document{Owner: owner}, &document{Owner: owner}
		c.Do(t, c.R().SetResult(result).SetError(failure), "GET", "/").Want(t, story)
		if result.State != "done" || result.Owner != owner || failure.Owner != owner || failure.State != "" {
			t.Errorf("got %+v and %+v, want done and none, and the caller's owner", result, failure)
		}

		c = harness.New(t, harness.Each(harness.JSON(503, `{"state":"busy"}`), harness.JSON(200, `{"state":"pending"}`), harness.JSON(200, `{"state":"done"}`)), harness.RetryIf(pending))
		a, b := &node{}, &node{}
		a.Next, a.Prev, a.Own, b.Next, b.Prev, b.Own = b, b, a, a, a, b
		c.Do(t, c.R().SetResult(a).SetError(b), "GET", "/").Want(t, story)
		if a.State != "done" || b.State != "" || a.Next != b || b.Next != a {
			t.Errorf("got states %q and %q, want done and none in a ring of two", a.State, b.State)
		}
	})
}

func TestAnErrorHasNothingOfEarlierAttempts(t *testing.T) {
	for _, tt := range []struct {
		then  harness.Script
		story string
		want  string
	}{
		{harness.JSON(400, `{"state":"second"}`), "400 not-retryable", "second"},
		{harness.Statuses(400), "400 not-retryable", ""},
		{harness.Statuses(200), "200 succeeded", ""},
		{harness.JSON(200, "{}"), "200 succeeded", ""},
		{harness.Says(204, "", ""), "204 succeeded", ""},
	} {
		for _, byClient := range []bool{false, true} {
			harness.Bubble(t, fmt.Sprintf("%s, client's type %v", tt.story, byClient), func(t *testing.T) {
				c := harness.New(t, harness.Each(harness.JSON(503, `{"state":"first","detail":"old","m":{"old":1}}`), tt.then))
				r := c.R()
				if byClient {
					c.SetError(&document{})
				} else {
					r.SetError(&document{})
				}
				call := c.Do(t, r, "GET", "/").Want(t, "503 status 1s | "+tt.story)
				got, _ := call.Response.Error().(*document)
				if got == nil {
					got = &document{}
				}
				if got.State != tt.want || got.Detail != "" || got.M != nil {
					t.Errorf("got %+v, want the state %q alone", *got, tt.want)
				}
			})
		}
	}
}

// Resty forgets what SetError was given when it has decoded a success.
func TestTheTypeOfAnErrorSurvivesASuccess(t *testing.T) {
	bad := harness.JSON(400, `{"state":"bad"}`)
	check := func(t *testing.T, call *harness.Call, failure *document) {
		t.Helper()
		if call.Response.Error() != any(failure) || failure.State != "bad" || failure.Detail != "" {
			t.Errorf("got %+v, want the caller's, with the state bad", call.Response.Error())
		}
	}
	for _, success := range []harness.Script{harness.JSON(200, `{"state":"pending"}`), harness.Says(204, "", "")} {
		harness.Bubble(t, "that is retried", func(t *testing.T) {
			c := harness.New(t, harness.Each(success, bad), harness.RetryIf(func(a restyretry.Attempt) bool { return a.StatusCode() < 300 }))
			failure := &document{}
			check(t, c.Do(t, c.R().SetResult(&document{}).SetError(failure), "GET", "/"), failure)
		})
	}
	harness.Bubble(t, "of the request that is used again", func(t *testing.T) {
		c := harness.New(t, harness.Each(harness.JSON(503, `{"detail":"x"}`), harness.JSON(200, "{}"), bad))
		failure := &document{}
		r := c.R().SetError(failure)
		c.Do(t, r, "GET", "/").Want(t, "503 status 1s | 200 succeeded")
		check(t, c.Do(t, r, "GET", "/").Want(t, "400 not-retryable"), failure)
	})
}

func TestTheResponseOfAnEarlierAttemptStaysInTheHistory(t *testing.T) {
	harness.Bubble(t, "when the next is not sent", func(t *testing.T) {
		c := harness.Mock(harness.Says(503, "", "busy"))
		c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
			if r.Attempt == 2 {
				return errors.New("no token")
			}
			return nil
		})
		call := c.Install(t, harness.Wait(0)).Get(t, "/")
		harness.WantError(t, call.Err, "no token")
		call.WantStory(t, "503 status | unsent not-sent")
		harness.Equal(t, "first response", call.History[0].Response.String(), "busy")
	})
}
