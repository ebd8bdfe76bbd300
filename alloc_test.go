package restyretry_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-resty/resty/v2"
)

// memoryTransport answers at once, with the statuses in turn.
type memoryTransport struct {
	statuses []int
	next     int
}

func (t *memoryTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	status := t.statuses[t.next%len(t.statuses)]
	t.next++
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok")), ContentLength: 2, Request: r,
	}, nil
}

func memoryClient(statuses ...int) *resty.Client {
	return resty.NewWithClient(&http.Client{Transport: &memoryTransport{statuses: statuses}}).
		SetBaseURL("http://api.test").SetLogger(quiet{})
}

// sending returns a function that sends one GET.
func sending(t *testing.T, c *resty.Client, ctx context.Context) func() {
	return func() {
		r := c.R()
		if ctx != nil {
			r.SetContext(ctx)
		}
		if resp, err := r.Get("/x"); err != nil || resp.StatusCode() != 200 {
			t.Fatalf("got %v, %v, want 200", resp, err)
		}
	}
}

func TestASuccessAllocatesNoMoreThanRestysOwnLoop(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	resty := memoryClient(200).SetRetryCount(2).AddRetryCondition(func(*resty.Response, error) bool { return false })
	ours := memoryClient(200)
	install(t, ours)
	want := testing.AllocsPerRun(1000, sending(t, resty, nil))
	got := testing.AllocsPerRun(1000, sending(t, ours, nil))
	if got > want {
		t.Errorf("got %v allocations, want no more than Resty's %v", got, want)
	}
}
