package docs

// block: testing.md
import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

func TestTheReportIsRetriedForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mock := httpmock.NewMockTransport()
		mock.RegisterResponder("GET", "http://api.test/report",
			httpmock.NewStringResponder(http.StatusServiceUnavailable, "busy").
				Then(httpmock.NewStringResponder(http.StatusOK, "the report")))
		client := resty.New().SetTransport(mock).SetBaseURL("http://api.test")
		_, err := restyretry.Install(client, func(o *restyretry.Options) {
			o.Wait = restyretry.Constant(time.Second)
		})
		if err != nil {
			t.Fatal(err)
		}

		start := time.Now()
		resp, err := client.R().Get("/report")

		if err != nil || resp.String() != "the report" {
			t.Errorf("got %v, %v, want the report", resp, err)
		}
		if took := time.Since(start).Round(time.Millisecond); took != time.Second {
			t.Errorf("took %v, want 1 s", took)
		}
		if attempts := len(restyretry.History(resp.Request)); attempts != 2 {
			t.Errorf("got %d attempts, want 2", attempts)
		}
	})
}

// end of block

// block: testing.md
// Impatient is an option for tests with real time: no wait, whatever the server says.
func Impatient(o *restyretry.Options) {
	o.Wait = restyretry.Constant(0)
	o.MaxServerWait = 0
}

// end of block

func TestImpatientDoesNotWaitForTheServer(t *testing.T) {
	respond := httpmock.NewStringResponder(429, "").HeaderSet(http.Header{"Retry-After": {"30"}})
	client := newClient(t, standIn(respond), Impatient)
	start := time.Now()
	resp, err := client.R().Get("/")
	if err != nil || summary(resp.Request) != "1 429 status, 2 429 status, 3 429 attempts" {
		t.Errorf("got %v, %v", resp, err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v, want no wait", took)
	}
}
