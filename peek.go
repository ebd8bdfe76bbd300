package restyretry

import (
	"reflect"

	"github.com/go-resty/resty/v2"
)

// What Resty does not give out, but has to be known. It is only looked at,
// never written. Where a later Resty has no such field, it has its zero value.
var (
	preRequestField        = unexported[resty.Client, resty.PreRequestHook]("preReqHook")
	middlewareField        = unexported[resty.Client, []resty.RequestMiddleware]("udBeforeRequest")
	directoryField         = unexported[resty.Client, string]("outputDirectory")
	requestConditionsField = unexported[resty.Request, []resty.RetryConditionFunc]("retryConditions")
	multipartField         = unexported[resty.Request, bool]("isMultiPart")
	filesField             = unexported[resty.Request, []*resty.File]("multipartFiles")
	fieldsField            = unexported[resty.Request, []*resty.MultipartField]("multipartFields")
	savesField             = unexported[resty.Request, bool]("isSaveResponse")
	outputField            = unexported[resty.Request, string]("outputFile")
)

// A field is a field of a struct type, or none.
type field struct {
	index []int
	none  reflect.Value
}

func unexported[S, F any](name string) field {
	f := field{none: reflect.Zero(reflect.TypeFor[F]())}
	if found, ok := reflect.TypeFor[S]().FieldByName(name); ok && found.Type == reflect.TypeFor[F]() {
		f.index = found.Index
	}
	return f
}

// of returns the field of what s points to.
func (f field) of(s any) reflect.Value {
	if f.index == nil {
		return f.none
	}
	return reflect.ValueOf(s).Elem().FieldByIndex(f.index)
}

// codeOf identifies the code of a function.
func codeOf(f any) uintptr { return reflect.ValueOf(f).Pointer() }

type hookOwner int

const (
	noHook hookOwner = iota
	ourHook
	foreignHook
)

// hookOf says whose the client's pre-request hook is.
func hookOf(c *resty.Client) hookOwner {
	switch preRequestField.of(c).Pointer() {
	case 0:
		return noHook
	case codeOf(preRequest):
		return ourHook
	default:
		return foreignHook
	}
}

// hasForeignConditions reports whether a condition that Install has not seen
// may ask for a retry of r.
func hasForeignConditions(c *resty.Client, r *resty.Request) bool {
	return len(c.RetryConditions) != 1 || requestConditionsField.of(r).Len() > 0
}

// isLastMiddleware reports whether no OnBeforeRequest comes after ours.
func isLastMiddleware(c *resty.Client) bool {
	list := middlewareField.of(c)
	return list.Len() > 0 && list.Index(list.Len()-1).Pointer() == codeOf(beforeRequest)
}

// isRegistered reports whether our callbacks are on the client.
func isRegistered(c *resty.Client) bool {
	list := middlewareField.of(c)
	for i := range list.Len() {
		if list.Index(i).Pointer() == codeOf(beforeRequest) {
			return true
		}
	}
	return false
}

// isMultipart reports whether Resty makes the body of r from parts.
func isMultipart(r *resty.Request) bool { return multipartField.of(r).Bool() }

// partsOf counts the multipart readers of r.
func partsOf(r *resty.Request) int { return filesField.of(r).Len() + fieldsField.of(r).Len() }
