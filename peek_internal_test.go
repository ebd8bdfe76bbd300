package restyretry

import (
	"context"
	"net/http"
	"reflect"
	"testing"

	"github.com/go-resty/resty/v2"
)

// Without one of these fields the plugin would still work, but less would be
// noticed, or more copied.
func TestThisRestyHasAllFieldsThatAreLookedAt(t *testing.T) {
	for name, found := range map[string]bool{
		"preReqHook":      preRequestField.found,
		"udBeforeRequest": middlewareField.found,
		"outputDirectory": directoryField.found,
		"errorHooks":      errorHooksField.found,
		"panicHooks":      panicHooksField.found,
		"trace, client":   clientTraceField.found,
		"client":          clientField.found,
		"retryConditions": requestConditionsField.found,
		"isMultiPart":     multipartField.found,
		"multipartFiles":  filesField.found,
		"multipartFields": fieldsField.found,
		"isSaveResponse":  savesField.found,
		"outputFile":      outputField.found,
		"trace, request":  requestTraceField.found,
		"ctx, net/http":   rawContextField.found,
	} {
		if !found {
			t.Errorf("no field %s of the expected type", name)
		}
	}
}

func TestSetContextDoesWhatWithContextDoes(t *testing.T) {
	before := rawContextField
	t.Cleanup(func() { rawContextField = before })
	ctx := context.WithValue(context.Background(), plainKey{}, "value")
	for _, found := range []bool{true, false} {
		hr, err := http.NewRequest(http.MethodGet, "http://api.test/x", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		want := hr.WithContext(ctx)
		rawContextField.found = found
		if setContext(hr, ctx); !reflect.DeepEqual(hr, want) || hr.Context() != ctx {
			t.Errorf("field found: %v: %+v, not %+v", found, hr, want)
		}
	}
}

func TestIsBackgroundIsTrueOfTheBackgroundAlone(t *testing.T) {
	for _, other := range []context.Context{
		noContext, context.TODO(), t.Context(), context.WithoutCancel(context.Background()),
		context.WithValue(context.Background(), plainKey{}, 1),
		struct{ context.Context }{context.Background()},
	} {
		if isBackground(other) {
			t.Errorf("%v is the background", other)
		}
	}
	if !isBackground(context.Background()) {
		t.Error("the background is not")
	}
}

func TestAClientIsUntouchedUntilSomethingIsChanged(t *testing.T) {
	for name, change := range map[string]func(*resty.Client){
		"RetryCount":               func(c *resty.Client) { c.RetryCount = 3 },
		"RetryWaitTime":            func(c *resty.Client) { c.RetryWaitTime = 1 },
		"RetryMaxWaitTime":         func(c *resty.Client) { c.RetryMaxWaitTime = 1 },
		"RetryResetReaders":        func(c *resty.Client) { c.RetryResetReaders = true },
		"no condition":             func(c *resty.Client) { c.RetryConditions = nil },
		"another condition":        func(c *resty.Client) { c.RetryConditions[0] = func(*resty.Response, error) bool { return false } },
		"one more condition":       func(c *resty.Client) { c.AddRetryCondition(func(*resty.Response, error) bool { return false }) },
		"no retry hook":            func(c *resty.Client) { c.RetryHooks = nil },
		"another retry hook":       func(c *resty.Client) { c.RetryHooks[0] = func(*resty.Response, error) {} },
		"another pre-request hook": func(c *resty.Client) { c.SetPreRequestHook(func(*resty.Client, *http.Request) error { return nil }) },
		"a later middleware": func(c *resty.Client) {
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := resty.New().SetLogger(silent{})
			if _, err := Install(c); err != nil {
				t.Fatal(err)
			}
			if !isUntouched(c) {
				t.Fatal("touched by Install")
			}
			if change(c); isUntouched(c) {
				t.Error("untouched")
			}
		})
	}
}
