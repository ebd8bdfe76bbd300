package docs

import (
	"io"
	"net/http"
	"testing"

	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

// block: recipes.md
import (
	"bytes"
	"compress/gzip"

	"github.com/go-resty/resty/v2"
)

// Compress is a middleware for bodies of bytes: client.OnBeforeRequest(Compress).
func Compress(_ *resty.Client, r *resty.Request) error {
	plain, ok := r.Body.([]byte)
	if !ok || r.Header.Get("Content-Encoding") != "" {
		return nil
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(plain); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	r.SetHeader("Content-Encoding", "gzip").SetBody(packed.Bytes())
	return nil
}

// end of block

func TestEveryAttemptSendsTheCompressedBody(t *testing.T) {
	plain := bytes.Repeat([]byte("all work and no play "), 1000)
	for _, order := range []string{"before", "after"} {
		t.Run("registered "+order+" Install", func(t *testing.T) {
			requests := 0
			client := standIn(func(r *http.Request) (*http.Response, error) {
				requests++
				unpack, err := gzip.NewReader(r.Body)
				if err != nil {
					return nil, err
				}
				got, err := io.ReadAll(unpack)
				if err != nil || !bytes.Equal(got, plain) || r.Header.Get("Content-Encoding") != "gzip" {
					t.Errorf("attempt %d: got %d bytes, %v, header %v", requests, len(got), err, r.Header)
				}
				return httpmock.NewStringResponse(503, ""), nil
			}).New()
			if order == "before" {
				client.OnBeforeRequest(Compress)
			}
			install(t, client, func(o *restyretry.Options) { o.Wait = restyretry.Constant(0) })
			if order == "after" {
				client.OnBeforeRequest(Compress)
			}
			if _, err := client.R().SetBody(plain).Put("/text"); err != nil || requests != 3 {
				t.Errorf("got %v after %d attempts, want 3", err, requests)
			}
		})
	}
}
