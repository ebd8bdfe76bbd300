package restyretry

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"unsafe"

	"github.com/go-resty/resty/v2"
)

// What Resty and net/http do not give out, but has to be known. It is only looked
// at: setContext alone writes. Where a later version has no such field, it has
// its zero value.
var (
	preRequestField        = unexported[resty.Client, resty.PreRequestHook]("preReqHook")
	middlewareField        = unexported[resty.Client, []resty.RequestMiddleware]("udBeforeRequest")
	directoryField         = unexported[resty.Client, string]("outputDirectory")
	errorHooksField        = unexported[resty.Client, []resty.ErrorHook]("errorHooks")
	panicHooksField        = unexported[resty.Client, []resty.ErrorHook]("panicHooks")
	clientField            = unexported[resty.Request, *resty.Client]("client")
	requestConditionsField = unexported[resty.Request, []resty.RetryConditionFunc]("retryConditions")
	multipartField         = unexported[resty.Request, bool]("isMultiPart")
	filesField             = unexported[resty.Request, []*resty.File]("multipartFiles")
	fieldsField            = unexported[resty.Request, []*resty.MultipartField]("multipartFields")
	savesField             = unexported[resty.Request, bool]("isSaveResponse")
	outputField            = unexported[resty.Request, string]("outputFile")
	clientTraceField       = unexported[resty.Client, bool]("trace")
	requestTraceField      = unexported[resty.Request, bool]("trace")
	rawContextField        = unexported[http.Request, context.Context]("ctx")
)

// A field is a field of type F in the struct type S, or none.
type field[S, F any] struct {
	offset uintptr
	found  bool
}

// unexported looks for a field by its name and type.
func unexported[S, F any](name string) field[S, F] {
	f, ok := reflect.TypeFor[S]().FieldByName(name)
	if !ok || len(f.Index) != 1 || f.Type != reflect.TypeFor[F]() {
		return field[S, F]{}
	}
	return field[S, F]{offset: f.Offset, found: true}
}

// of returns the field of s. It runs many times for every request, and
// reflection takes eight times as long.
func (f field[S, F]) of(s *S) (value F) {
	if f.found {
		value = *(*F)(unsafe.Add(unsafe.Pointer(s), f.offset))
	}
	return value
}

// setContext gives a context to a raw request that nobody else has yet. It does
// what WithContext does, but not to a copy, which takes longer than the rest of
// preRequest.
func setContext(hr *http.Request, ctx context.Context) {
	if !rawContextField.found {
		*hr = *hr.WithContext(ctx)
		return
	}
	*(*context.Context)(unsafe.Add(unsafe.Pointer(hr), rawContextField.offset)) = ctx
}

// isBackground reports whether ctx is context.Background(). That has no fields,
// so its type says it all; to compare the values would take two calls.
func isBackground(ctx context.Context) bool { return typeOf(ctx) == typeOf(context.Background()) }

// typeOf identifies the type of a context: the first of the two words that an
// interface is.
func typeOf(ctx context.Context) uintptr { return *(*uintptr)(unsafe.Pointer(&ctx)) }

// closureOf returns what a function is: a pointer to a closure, which begins with
// its code.
func closureOf[F any](f F) *uintptr { return *(**uintptr)(unsafe.Pointer(&f)) }

// isSame reports whether f is g, which is a function of this package. Of such a
// function there is one closure.
func isSame[F any](f, g F) bool { return closureOf(f) == closureOf(g) }

// codeOf identifies the code of a closure, as reflect.Value.Pointer does.
func codeOf[F any](f F) uintptr {
	closure := closureOf(f)
	if closure == nil {
		return 0
	}
	return *closure
}

type hookOwner int

const (
	noHook hookOwner = iota
	ourHook
	foreignHook
)

// hookOf says whose the client's pre-request hook is.
func hookOf(c *resty.Client) hookOwner {
	switch hook := preRequestField.of(c); {
	case hook == nil:
		return noHook
	case isSame(hook, preRequest):
		return ourHook
	default:
		return foreignHook
	}
}

// hasForeignConditions reports whether a condition that Install has not seen
// may ask for a retry of r.
func hasForeignConditions(c *resty.Client, r *resty.Request) bool {
	return len(c.RetryConditions) != 1 || hasConditions(r)
}

// hasConditions reports whether r has retry conditions of its own.
func hasConditions(r *resty.Request) bool { return len(requestConditionsField.of(r)) > 0 }

// isFirst reports whether hook is the first in a list.
func isFirst(list []resty.ErrorHook, hook resty.ErrorHook) bool {
	return len(list) > 0 && isSame(list[0], hook)
}

// isLastMiddleware reports whether no OnBeforeRequest comes after ours.
func isLastMiddleware(c *resty.Client) bool {
	list := middlewareField.of(c)
	return len(list) > 0 && isOurs(list[len(list)-1])
}

// isRegistered reports whether our callbacks are on the client.
func isRegistered(c *resty.Client) bool { return slices.ContainsFunc(middlewareField.of(c), isOurs) }

func isOurs(m resty.RequestMiddleware) bool { return isSame(m, beforeRequest) }

// isTraced reports whether Resty makes a context of its own for r, or may do so.
func isTraced(c *resty.Client, r *resty.Request) bool {
	return !clientTraceField.found || !requestTraceField.found || clientTraceField.of(c) || requestTraceField.of(r)
}

// isMultipart reports whether Resty makes the body of r from parts.
func isMultipart(r *resty.Request) bool { return multipartField.of(r) }

// partsOf counts the multipart readers of r.
func partsOf(r *resty.Request) int { return len(filesField.of(r)) + len(fieldsField.of(r)) }
