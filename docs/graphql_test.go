package docs

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/jarcoal/httpmock"
)

// block: recipes.md
import (
	"encoding/json"
	"errors"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

// A GraphQLError is what a GraphQL server reports in a response with status 200.
type GraphQLError struct {
	Message    string
	Extensions struct{ Code string }
}

func (e *GraphQLError) Error() string { return e.Message + " (" + e.Extensions.Code + ")" }

// CheckGraphQL makes it the error of the attempt: client.OnAfterResponse(CheckGraphQL).
func CheckGraphQL(_ *resty.Client, resp *resty.Response) error {
	var answer struct{ Errors []*GraphQLError }
	if json.Unmarshal(resp.Body(), &answer) == nil && len(answer.Errors) > 0 {
		return answer.Errors[0]
	}
	return nil
}

// Query is an option for queries, which change nothing and may be repeated,
// although they are sent by POST. A mutation goes without it.
func Query(o *restyretry.Options) {
	o.Methods = append(o.Methods, "POST")
	o.RetryIf = func(a restyretry.Attempt) bool {
		var failed *GraphQLError
		return errors.As(a.Err, &failed) && failed.Extensions.Code == "UNAVAILABLE"
	}
}

// end of block

func TestAGraphQLErrorComesBackWhenRetryIfRunsOut(t *testing.T) {
	const unavailable = `{"errors": [{"message": "no database", "extensions": {"code": "UNAVAILABLE"}}]}`
	const denied = `{"errors": [{"message": "not yours", "extensions": {"code": "FORBIDDEN"}}]}`
	for _, test := range []struct {
		name    string
		answers []string
		option  func(*restyretry.Options)
		want    string
		err     string
	}{
		{"a query recovers", []string{unavailable, `{"data": {}}`}, Query, "1 200 condition, 2 200 succeeded", ""},
		{"a query runs out", []string{unavailable}, Query, "1 200 condition, 2 200 condition, 3 200 attempts", "no database (UNAVAILABLE)"},
		{"another error", []string{denied}, Query, "1 200 not-retryable", "not yours (FORBIDDEN)"},
		{"a mutation", []string{unavailable}, func(*restyretry.Options) {}, "1 200 not-retryable", "no database (UNAVAILABLE)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := 0
			client := newClient(t, func(*http.Request) (*http.Response, error) {
				n++
				return httpmock.NewStringResponse(200, test.answers[min(n, len(test.answers))-1]), nil
			}, func(o *restyretry.Options) { o.Wait = restyretry.Constant(0) })
			client.OnAfterResponse(CheckGraphQL)

			ctx := restyretry.With(context.Background(), test.option)
			resp, err := client.R().SetContext(ctx).SetBody(`{"query": "{me}"}`).Post("/graphql")
			if got := summary(resp.Request); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			var failed *GraphQLError
			switch {
			case test.err == "":
				if err != nil {
					t.Errorf("got error %v, want none", err)
				}
			case !errors.As(err, &failed) || failed.Error() != test.err:
				t.Errorf("got error %v, want %s", err, test.err)
			}
		})
	}
}

func TestAGraphQLQueryIsAnOverride(t *testing.T) {
	respond, requests := answering(200)
	client, ctx := newClient(t, respond), t.Context()
	// block: recipes.md
	client.OnAfterResponse(CheckGraphQL)
	query := restyretry.With(ctx, Query) // a mutation is sent with ctx itself
	resp, err := client.R().SetContext(query).SetBody(`{"query": "{me}"}`).Post("/graphql")
	fmt.Println(resp, err)
	// end of block
	if err != nil || *requests != 1 {
		t.Errorf("got %v after %d attempts, want 1", err, *requests)
	}
}
