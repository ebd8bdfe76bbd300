// Package restyfields reads fields of Resty v2 that are not exported, and for which
// there is no public way: which pre-request hook and which middlewares a client has,
// what a request is made of. It never writes.
//
// A field that a later version of Resty does not have, or has with another
// type, reads as its zero value. The test of this package then fails, and names it.
package restyfields

import (
	"path/filepath"
	"reflect"

	"github.com/go-resty/resty/v2"
)

// The fields, by their index in the struct; -1 for one that is not there.
var (
	preRequestHook  = index[resty.Client, resty.PreRequestHook]("preReqHook")
	middlewares     = index[resty.Client, []resty.RequestMiddleware]("udBeforeRequest")
	outputDirectory = index[resty.Client, string]("outputDirectory")
	conditions      = index[resty.Request, []resty.RetryConditionFunc]("retryConditions")
	isMultipart     = index[resty.Request, bool]("isMultiPart")
	multipartFiles  = index[resty.Request, []*resty.File]("multipartFiles")
	multipartFields = index[resty.Request, []*resty.MultipartField]("multipartFields")
	isSaveResponse  = index[resty.Request, bool]("isSaveResponse")
	outputFile      = index[resty.Request, string]("outputFile")
)

func index[S, F any](name string) int {
	f, ok := reflect.TypeFor[S]().FieldByName(name)
	if !ok || len(f.Index) != 1 || f.Type != reflect.TypeFor[F]() {
		return -1
	}
	return f.Index[0]
}

// field returns the field of the struct that a pointer points to, or a zero
// value of type F.
func field[F any](pointer any, index int) reflect.Value {
	if index < 0 {
		return reflect.Zero(reflect.TypeFor[F]())
	}
	return reflect.ValueOf(pointer).Elem().Field(index)
}

// Code identifies the code of a function. All values of one function have the same
// Code, and so have all closures of one function literal. It is 0 for nil.
func Code(function any) uintptr { return reflect.ValueOf(function).Pointer() }

// PreRequestHook returns the Code of the client's pre-request hook, or 0.
func PreRequestHook(c *resty.Client) uintptr {
	return field[resty.PreRequestHook](c, preRequestHook).Pointer()
}

// HasMiddleware reports whether OnBeforeRequest was called with a function that
// has this Code.
func HasMiddleware(c *resty.Client, code uintptr) bool {
	list := field[[]resty.RequestMiddleware](c, middlewares)
	for i := range list.Len() {
		if list.Index(i).Pointer() == code {
			return true
		}
	}
	return false
}

// LastMiddleware returns the Code of the function with which OnBeforeRequest
// was called last, or 0.
func LastMiddleware(c *resty.Client) uintptr {
	list := field[[]resty.RequestMiddleware](c, middlewares)
	if list.Len() == 0 {
		return 0
	}
	return list.Index(list.Len() - 1).Pointer()
}

// HasConditions reports whether r has retry conditions of its own.
func HasConditions(r *resty.Request) bool {
	return field[[]resty.RetryConditionFunc](r, conditions).Len() > 0
}

// IsMultipart reports whether Resty makes the body of r from parts.
func IsMultipart(r *resty.Request) bool { return field[bool](r, isMultipart).Bool() }

// MultipartReaders counts the parts of r that Resty reads from readers.
func MultipartReaders(r *resty.Request) int {
	return field[[]*resty.File](r, multipartFiles).Len() +
		field[[]*resty.MultipartField](r, multipartFields).Len()
}

// Saves reports whether Resty saves the response of r into a file.
func Saves(r *resty.Request) bool {
	return isSaveResponse >= 0 && reflect.ValueOf(r).Elem().Field(isSaveResponse).Bool()
}

// Output returns the path of the file that Resty saves the response of r into,
// or "".
func Output(c *resty.Client, r *resty.Request) string {
	if !Saves(r) {
		return ""
	}
	path := field[string](r, outputFile).String()
	if dir := field[string](c, outputDirectory).String(); dir != "" && !filepath.IsAbs(path) {
		path = dir + string(filepath.Separator) + path
	}
	return filepath.Clean(path)
}
