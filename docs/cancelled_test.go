package docs

import (
	"testing"
	"testing/synctest"

	"github.com/restyretry/restyretry"
)

// block: testing.md
import (
	"context"
	"errors"
	"time"

	"github.com/go-resty/resty/v2"
)

// report gives up after two seconds, and tells that from other errors.
func report(ctx context.Context, client *resty.Client) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	resp, err := client.R().SetContext(ctx).Get("/report")
	switch {
	case errors.Is(err, context.Canceled):
		return "", errors.New("the caller went away")
	case errors.Is(err, context.DeadlineExceeded):
		return "", errors.New("an attempt ran into the two seconds")
	case err != nil:
		return "", err
	case resp.IsError(): // such as a 503 after which no wait would end within the two seconds
		return "", errors.New(resp.Status())
	default:
		return resp.String(), nil
	}
}

// end of block

func TestHowAReportEnds(t *testing.T) {
	for _, test := range []struct {
		name   string
		wait   time.Duration
		cancel time.Duration
		want   string
	}{
		{"cancelled in a wait", time.Second, 500 * time.Millisecond, "the caller went away"},
		{"no time for another attempt", time.Minute, time.Hour, "503 Service Unavailable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, _ := answering(503)
				client := newClient(t, respond, func(o *restyretry.Options) { o.Wait = restyretry.Constant(test.wait) })
				ctx, cancel := context.WithCancel(t.Context())
				defer time.AfterFunc(test.cancel, cancel).Stop()
				if _, err := report(ctx, client); err == nil || err.Error() != test.want {
					t.Errorf("got %v, want %s", err, test.want)
				}
			})
		})
	}
}
