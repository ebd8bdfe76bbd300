package restyretry_test

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"

	"github.com/restyretry/restyretry"
)

// installed returns a client with the plugin, on a server that answers so.
func installed(t *testing.T, respond httpmock.Responder) (*resty.Client, *httpmock.MockTransport) {
	transport := httpmock.NewMockTransport()
	transport.RegisterNoResponder(respond)
	client := resty.New().SetTransport(transport).SetBaseURL("http://api.test")
	if _, err := restyretry.Install(client); err != nil {
		t.Fatalf("Install: got %v, want no error", err)
	}
	return client, transport
}

var busy = httpmock.NewStringResponder(http.StatusServiceUnavailable, "busy")

func TestARetriedRequestReturnsItsLastResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := installed(t, busy.Then(busy).Then(httpmock.NewStringResponder(http.StatusOK, "done")))
		start := time.Now()
		resp, err := client.R().Get("/report")
		if took := time.Since(start); err != nil || resp.String() != "done" || server.GetTotalCallCount() != 3 || took > 1500*time.Millisecond {
			t.Errorf("got %v, %v after %d attempts and %v, want the third answer within 1.5s", resp, err, server.GetTotalCallCount(), took)
		}
	})
}

func TestTheLastFailureComesBackAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := installed(t, busy)
		if resp, err := client.R().Get("/report"); err != nil || resp.String() != "busy" || server.GetTotalCallCount() != 3 {
			t.Errorf("got %v, %v after %d attempts, want the third 503 and no error", resp, err, server.GetTotalCallCount())
		}
		client, server = installed(t, httpmock.NewErrorResponder(io.EOF))
		if _, err := client.R().Get("/report"); !errors.Is(err, io.EOF) || server.GetTotalCallCount() != 3 {
			t.Errorf("got %v after %d attempts, want the third error", err, server.GetTotalCallCount())
		}
	})
}

func TestARequestHasOptionsOfItsOwnByItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := installed(t, busy)
		for want, option := range map[int]func(*restyretry.Options){
			8: func(o *restyretry.Options) { o.Attempts = 8 },
			1: restyretry.Off,
		} {
			server.ZeroCallCounters()
			ctx := restyretry.With(t.Context(), option)
			if _, err := client.R().SetContext(ctx).Get("/report"); err != nil || server.GetTotalCallCount() != want {
				t.Errorf("got %v after %d attempts, want %d", err, server.GetTotalCallCount(), want)
			}
		}
	})
}
