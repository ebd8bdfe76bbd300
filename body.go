package restyretry

import (
	"io"

	"github.com/go-resty/resty/v2"
)

// discard lets go of a response that nobody will see, so that its connection
// can be used again.
func discard(resp *resty.Response) {
	if resp.RawResponse == nil || resp.RawResponse.Body == nil {
		return
	}
	const most = 64 << 10
	_, _ = io.CopyN(io.Discard, resp.RawResponse.Body, most)
	_ = resp.RawResponse.Body.Close()
}
