package restyfields_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry/internal/restyfields"
)

func middleware(*resty.Client, *resty.Request) error { return nil }
func another(*resty.Client, *resty.Request) error    { return nil }
func hook(*resty.Client, *http.Request) error        { return nil }

// fields are all that can be known.
type fields struct {
	hook, last                           uintptr
	middleware, conditions, parts, saves bool
	readers                              int
	output                               string
}

func look(c *resty.Client, r *resty.Request) fields {
	return fields{
		restyfields.PreRequestHook(c), restyfields.LastMiddleware(c), restyfields.HasMiddleware(c, restyfields.Code(middleware)),
		restyfields.HasConditions(r), restyfields.IsMultipart(r), restyfields.Saves(r), restyfields.MultipartReaders(r), restyfields.Output(c, r),
	}
}

func TestEveryFieldIsThereInThisResty(t *testing.T) {
	c := resty.New()
	if got := look(c, c.R()); got != (fields{}) {
		t.Errorf("nothing is set: got %+v", got)
	}
	c.SetOutputDirectory("downloads").OnBeforeRequest(middleware).OnBeforeRequest(another).SetPreRequestHook(hook)
	r := c.R().SetOutput("file").
		AddRetryCondition(func(*resty.Response, error) bool { return false }).
		SetFileReader("a", "a.txt", strings.NewReader("a")).
		SetMultipartFields(&resty.MultipartField{Param: "b", Reader: strings.NewReader("b")})
	want := fields{restyfields.Code(hook), restyfields.Code(another), true, true, true, true, 2, filepath.Join("downloads", "file")}
	if got := look(c, r); got != want {
		t.Errorf("all is set: got %+v, want %+v", got, want)
	}
	absolute := filepath.Join(os.TempDir(), "file")
	if got := restyfields.Output(c, c.R().SetOutput(absolute)); got != absolute {
		t.Errorf("an absolute output: got %q, want %q", got, absolute)
	}
}

func TestLookingAllocatesNothing(t *testing.T) {
	c := resty.New().OnBeforeRequest(middleware)
	r := c.R()
	if got := testing.AllocsPerRun(100, func() { _ = look(c, r) }); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}
