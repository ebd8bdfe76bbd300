package timeline_test

import (
	"fmt"
	"os"
	"strings"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/timeline"
)

// The page of one request whose end is surprising.
func ExampleWrite() {
	client := resty.New().SetTransport(transport(answer{status: 404}.to)).SetLogger(silent{})
	restyretry.Install(client)

	request := client.R()
	if resp, err := request.Get("http://api.test/orders/7"); err != nil || resp.IsError() {
		page, err := os.CreateTemp("", "orders-*.html")
		if err != nil {
			fmt.Println(err)
			return
		}
		defer os.Remove(page.Name()) // for this example only
		defer page.Close()

		fmt.Println(timeline.Write(page, timeline.Of(request)))
	}
	// Output: <nil>
}

func ExampleRecorder() {
	client := resty.New().SetTransport(transport(answer{status: 404}.to)).SetLogger(silent{})

	recorder := timeline.Recorder{Limit: 20}
	restyretry.Install(client, recorder.Record) // and http.Handle("/debug/timeline", &recorder)

	client.R().Get("http://api.test/orders/7?token=secret")
	client.R().Get("http://api.test/orders/8")

	var page strings.Builder
	timeline.Write(&page, recorder.Requests()...)
	fmt.Println(strings.Contains(page.String(), "2 requests in 2 attempts: 0 succeeded, 2 did not."))
	fmt.Println(strings.Contains(page.String(), "/orders/7?token=REDACTED"))
	// Output:
	// true
	// true
}
