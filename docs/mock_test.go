package docs

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

// A standIn takes the place of package resty in a block that makes its own
// client, so that nothing is sent to the network: resty := standIn(respond).
type standIn httpmock.Responder

// New returns a client whose every request is answered by the stand-in.
func (respond standIn) New() *resty.Client {
	transport := httpmock.NewMockTransport()
	transport.RegisterNoResponder(httpmock.Responder(respond))
	return resty.New().SetTransport(transport).SetBaseURL("http://api.test").SetLogger(silent{})
}

// answering responds with the statuses in turn, the last one repeated, and
// counts.
func answering(statuses ...int) (standIn, *int) {
	n := new(int)
	return func(r *http.Request) (*http.Response, error) {
		status := statuses[min(*n, len(statuses)-1)]
		*n++
		resp := httpmock.NewStringResponse(status, http.StatusText(status))
		resp.Request = r
		return resp, nil
	}, n
}

// newClient is a client with base URL http://api.test and the plugin.
func newClient(t *testing.T, respond standIn, opts ...func(*restyretry.Options)) *resty.Client {
	t.Helper()
	client := respond.New()
	install(t, client, opts...)
	return client
}

func install(t *testing.T, client *resty.Client, opts ...func(*restyretry.Options)) *restyretry.Plugin {
	t.Helper()
	plugin, err := restyretry.Install(client, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return plugin
}

// summary is the attempts of a request: "1 503 status, 2 200 succeeded".
func summary(r *resty.Request) (s string) {
	for i, a := range restyretry.History(r) {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%d %d %s", a.Number, a.StatusCode(), a.Reason)
	}
	return s
}
