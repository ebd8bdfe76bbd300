package docs

import (
	"bytes"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"
)

// block: recipes.md
import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

// Download writes what url serves into file. When the connection breaks, the
// next attempt asks for the rest.
func Download(ctx context.Context, client *resty.Client, url string, file *os.File) error {
	d := &download{file: file}
	ctx = restyretry.With(ctx, func(o *restyretry.Options) {
		o.Attempts = 10
		o.Hooks = append(o.Hooks, restyretry.Hooks{OnAttempt: d.ask})
		o.RetryIf = d.isCut
	})
	resp, err := client.R().SetContext(ctx).SetDoNotParseResponse(true).Get(url)
	if err != nil {
		return err
	}
	defer resp.RawBody().Close()
	if !d.complete && d.err == nil {
		return fmt.Errorf("download: %s", resp.Status())
	}
	return d.err
}

type download struct {
	file     *os.File
	size     int64  // of what is in the file
	version  string // of which it is a part
	complete bool
	err      error // of the last attempt that sent a part
}

// ask is a hook: it asks for what is missing, as long as the version is the same.
func (d *download) ask(a restyretry.Attempt) error {
	a.Request.SetHeader("Accept-Encoding", "identity") // so that bytes count the same everywhere
	if d.size > 0 && d.version != "" {
		a.Request.SetHeader("Range", fmt.Sprintf("bytes=%d-", d.size)).SetHeader("If-Range", d.version)
	}
	return nil
}

// isCut reads a response into the file, and reports whether it broke off.
func (d *download) isCut(a restyretry.Attempt) bool {
	if a.Err != nil {
		return false // Errors decides
	}
	header := a.Response.Header()
	switch status := a.StatusCode(); {
	case status == http.StatusPartialContent && strings.HasPrefix(header.Get("Content-Range"), fmt.Sprintf("bytes %d-", d.size)):
	case status == http.StatusOK: // all of it, also because it is another version now
		d.size, d.version = 0, header.Get("ETag")
		if strings.HasPrefix(d.version, "W/") { // does not promise the same bytes
			d.version = ""
		}
		if d.err = d.file.Truncate(0); d.err != nil {
			return false
		}
	default:
		return false
	}
	n, err := io.Copy(io.NewOffsetWriter(d.file, d.size), a.Response.RawBody())
	d.size += n
	d.complete, d.err = err == nil, err
	return err != nil
}

// end of block

func TestADownloadGoesOnWhereItBroke(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 10_000)
	for _, test := range []struct {
		name  string
		etags []string
		want  []string // the Range of each request
	}{
		{"with an ETag", []string{`"v1"`}, []string{"", "bytes=50000-", "bytes=100000-", "bytes=150000-"}},
		{"another version meanwhile", []string{`"v1"`, `"v2"`}, []string{"", "bytes=50000-", "bytes=50000-", "bytes=100000-", "bytes=150000-"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", test.etags[min(len(got), len(test.etags)-1)])
				got = append(got, r.Header.Get("Range"))
				http.ServeContent(&cuttingWriter{w, 50_000}, r, "", time.Time{}, bytes.NewReader(data))
			}))
			defer server.Close()
			file, err := os.Create(filepath.Join(t.TempDir(), "data"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			client := resty.New().SetLogger(silent{})
			install(t, client, func(o *restyretry.Options) { o.Wait = restyretry.Constant(0) })

			if err := Download(t.Context(), client, server.URL, file); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got ranges %q, want %q", got, test.want)
			}
			if written := read(t, file.Name()); written != string(data) {
				t.Errorf("got %d bytes, want the %d that the server has", len(written), len(data))
			}
		})
	}
}

func TestADownloadSaysWhyItFailed(t *testing.T) {
	respond, _ := answering(404)
	err := Download(t.Context(), newClient(t, respond), "/data", nil)
	if err == nil || err.Error() != "download: 404 Not Found" {
		t.Errorf("got %v, want download: 404 Not Found", err)
	}
}

// A cuttingWriter breaks the connection after so many bytes.
type cuttingWriter struct {
	http.ResponseWriter
	left int
}

func (w *cuttingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p[:min(len(p), w.left)])
	if w.left -= n; w.left == 0 && err == nil {
		w.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}
