package docs

import (
	"errors"
	"testing"

	"github.com/restyretry/restyretry"
)

func TestTypedErrors(t *testing.T) {
	respond, _ := answering(404)
	client := newClient(t, respond, func(o *restyretry.Options) { o.RaiseForStatus = true })
	_, err := client.R().Get("/users/7")
	// block: testing.md
	var failed *restyretry.StatusError
	if !errors.As(err, &failed) || failed.StatusCode != 404 || failed.Reason != restyretry.ReasonNotRetryable {
		t.Errorf("got %v, want a 404 that is not retried", err)
	}
	// end of block
}
