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

func TestEveryFieldIsThereInThisResty(t *testing.T) {
	c := resty.New().SetOutputDirectory("downloads")
	c.OnBeforeRequest(middleware)
	c.OnBeforeRequest(another)
	c.SetPreRequestHook(hook)
	r := c.R().SetOutput("file").
		AddRetryCondition(func(*resty.Response, error) bool { return false }).
		SetFileReader("a", "a.txt", strings.NewReader("a")).
		SetMultipartFields(&resty.MultipartField{Param: "b", Reader: strings.NewReader("b")})

	if got, want := restyfields.PreRequestHook(c), restyfields.Code(hook); got != want {
		t.Errorf("PreRequestHook: got %#x, want %#x", got, want)
	}
	if got, want := restyfields.LastMiddleware(c), restyfields.Code(another); got != want {
		t.Errorf("LastMiddleware: got %#x, want %#x", got, want)
	}
	if !restyfields.HasMiddleware(c, restyfields.Code(middleware)) {
		t.Error("HasMiddleware does not know the first middleware")
	}
	if !restyfields.HasConditions(r) {
		t.Error("HasConditions does not know the condition")
	}
	if !restyfields.IsMultipart(r) {
		t.Error("IsMultipart does not know the parts")
	}
	if got := restyfields.MultipartReaders(r); got != 2 {
		t.Errorf("MultipartReaders: got %d, want 2", got)
	}
	if !restyfields.Saves(r) {
		t.Error("Saves does not know the output")
	}
	if got, want := restyfields.Output(c, r), filepath.Join("downloads", "file"); got != want {
		t.Errorf("Output: got %q, want %q", got, want)
	}
}

func TestWhatIsNotSetReadsAsZero(t *testing.T) {
	c := resty.New()
	r := c.R()
	if restyfields.PreRequestHook(c) != 0 || restyfields.LastMiddleware(c) != 0 ||
		restyfields.HasMiddleware(c, restyfields.Code(middleware)) || restyfields.HasConditions(r) ||
		restyfields.IsMultipart(r) || restyfields.MultipartReaders(r) != 0 || restyfields.Saves(r) ||
		restyfields.Output(c, r) != "" {
		t.Error("a new client or request has something set")
	}
}

func TestAnAbsoluteOutputIgnoresTheDirectory(t *testing.T) {
	path := filepath.Join(os.TempDir(), "file")
	c := resty.New().SetOutputDirectory("downloads")
	if got := restyfields.Output(c, c.R().SetOutput(path)); got != path {
		t.Errorf("got %q, want %q", got, path)
	}
}

func TestLookingAllocatesNothing(t *testing.T) {
	c := resty.New().OnBeforeRequest(middleware)
	r := c.R()
	code := restyfields.Code(middleware)
	got := testing.AllocsPerRun(100, func() {
		_ = restyfields.HasMiddleware(c, code)
		_ = restyfields.LastMiddleware(c)
		_ = restyfields.PreRequestHook(c)
		_ = restyfields.HasConditions(r) || restyfields.IsMultipart(r) || restyfields.Saves(r)
	})
	if got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}
