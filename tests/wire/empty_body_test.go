package wire

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry/internal/harness"
)

func TestARequestWithoutABodyIsNotSentInChunks(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*resty.Request){
		"none":   func(*resty.Request) {},
		"NoBody": func(r *resty.Request) { r.SetBody(http.NoBody) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			c := harness.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = append(got, fmt.Sprint(r.ContentLength, r.TransferEncoding, r.Header["Content-Type"]))
				w.WriteHeader([]int{503, 200}[len(got)-1])
			}))
			r := c.R()
			set(r)
			call := c.Do(t, r, "PUT", "/x").WantStatus(t, 200)
			harness.Equal(t, "story", harness.Story(call.History), "503 status 1ms | 200 succeeded")
			harness.Equal(t, "sent", fmt.Sprintf("%q", got), `["0 [] []" "0 [] []"]`)
		})
	}
}
