package limits

import (
	"testing"
	"time"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

func TestARequestHasAsManyAttemptsAsItsOptionsSay(t *testing.T) {
	more := harness.Attempts(7)
	for _, tt := range []struct {
		name  string
		count int // Resty's, before Install
		opts  []harness.Option
		want  int
	}{
		{"three", 0, nil, 3},
		{"as many as RetryCount", 4, nil, 5},
		{"a negative RetryCount is none", -1, nil, 3},
		{"the request's", 0, []harness.Option{more}, 7},
		{"the request's, more than RetryCount", 1, []harness.Option{more}, 7},
		{"off", 4, []harness.Option{restyretry.Off}, 1},
		{"the last change counts", 0, []harness.Option{restyretry.Off, harness.Attempts(2)}, 2},
		{"all that there may be", 0, []harness.Option{harness.Attempts(100)}, 100},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c := harness.Mock(harness.Statuses(503))
			c.SetRetryCount(tt.count)
			c.Install(t, harness.Wait(time.Second))
			ctx := restyretry.With(t.Context(), tt.opts...)
			c.Do(t, c.R().SetContext(ctx), "GET", "/x").Want(t, harness.UsedUp(tt.want)).WantStatus(t, 503)
		})
	}
}
