package restyretry

import (
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"

	"github.com/go-resty/resty/v2"
)

// A snapshot is what OnAttempt may change of a request. Its maps are nil where
// those of the request are empty.
type snapshot struct {
	method, token, authScheme string
	userInfo                  *resty.User
	cookies                   []*http.Cookie
	body                      any
	header                    http.Header
	query, form               url.Values
	path, rawPath             map[string]string
}

func takeSnapshot(r *resty.Request) *snapshot {
	return &snapshot{
		method: r.Method, token: r.Token, authScheme: r.AuthScheme, userInfo: r.UserInfo,
		cookies: slices.Clone(r.Cookies), body: r.Body, header: cloneValues(r.Header),
		query: cloneValues(r.QueryParam), form: cloneValues(r.FormData),
		path: cloneMap(r.PathParams), rawPath: cloneMap(r.RawPathParams),
	}
}

// restore makes of r what it was. Without a snapshot there is nothing to undo.
func (s *snapshot) restore(r *resty.Request) {
	if s == nil {
		return
	}
	r.Method, r.Token, r.AuthScheme, r.UserInfo = s.method, s.token, s.authScheme, s.userInfo
	r.Cookies, r.Body = slices.Clone(s.cookies), s.body
	r.Header = orEmpty(cloneValues(s.header))
	r.QueryParam, r.FormData = orEmpty(cloneValues(s.query)), orEmpty(cloneValues(s.form))
	r.PathParams, r.RawPathParams = orEmpty(cloneMap(s.path)), orEmpty(cloneMap(s.rawPath))
}

// cloneValues returns nil for an empty map.
func cloneValues[M ~map[string][]string](m M) M {
	if len(m) == 0 {
		return nil
	}
	return M(http.Header(m).Clone())
}

func cloneMap(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}

func orEmpty[M ~map[string]V, V any](m M) M {
	if m == nil {
		return M{}
	}
	return m
}

// results are the request's Result and Error as they were before the first
// attempt. Resty decodes every attempt into the same two values, and forgets
// the second after a 2xx.
type results struct {
	result, failure any
	saved           map[any]reflect.Value // what is behind the pointers in them
}

// takeResults saves what a decoder may write to: the Error, and the Result if a
// success may be repeated.
func takeResults(r *resty.Request, repeatsSuccess bool) *results {
	s := &results{result: r.Result, failure: r.Error, saved: make(map[any]reflect.Value)}
	s.copied(reflect.ValueOf(r.Error))
	if repeatsSuccess {
		s.copied(reflect.ValueOf(r.Result))
	}
	return s
}

// restore makes both as they were. s is nil if there were none: then an Error is one
// that Resty has made of the client's error type, and goes.
func (s *results) restore(r *resty.Request) {
	if s == nil {
		r.Error = nil
		return
	}
	r.Result, r.Error = s.result, s.failure
	for pointer, value := range s.saved {
		reflect.ValueOf(pointer).Elem().Set(s.copied(value))
	}
}

// copied returns v with maps and slices of its own. Pointers stay the same, and
// what is behind them is saved.
func (s *results) copied(v reflect.Value) reflect.Value {
	if !v.IsValid() {
		return v
	}
	own := reflect.New(v.Type()).Elem()
	own.Set(v)
	switch v.Kind() {
	case reflect.Pointer:
		s.save(v)
	case reflect.Interface:
		if !v.IsNil() {
			own.Set(s.copied(v.Elem()))
		}
	case reflect.Map:
		s.copyMap(own, v)
	case reflect.Slice:
		if !v.IsNil() {
			own.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		}
		s.copyElements(own, v)
	case reflect.Array:
		s.copyElements(own, v)
	case reflect.Struct:
		s.copyFields(own, v)
	}
	return own
}

func (s *results) save(pointer reflect.Value) {
	if pointer.IsNil() || !pointer.CanInterface() {
		return
	}
	if _, known := s.saved[pointer.Interface()]; known {
		return
	}
	s.saved[pointer.Interface()] = reflect.Value{} // a ring of pointers ends here
	s.saved[pointer.Interface()] = s.copied(pointer.Elem())
}

func (s *results) copyMap(own, v reflect.Value) {
	if v.IsNil() {
		return
	}
	own.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
	for at := v.MapRange(); at.Next(); {
		own.SetMapIndex(at.Key(), s.copied(at.Value()))
	}
}

func (s *results) copyElements(own, v reflect.Value) {
	for i := range v.Len() {
		own.Index(i).Set(s.copied(v.Index(i)))
	}
}

// copyFields copies the fields that a decoder may write to.
func (s *results) copyFields(own, v reflect.Value) {
	for i := range v.NumField() {
		field, tag := v.Type().Field(i), v.Type().Field(i).Tag
		switch {
		case field.Anonymous && field.Type.Kind() == reflect.Struct && !own.Field(i).CanSet():
			s.copyFields(own.Field(i), v.Field(i)) // whose exported fields can be set
		case own.Field(i).CanSet() && (tag.Get("json") != "-" || tag.Get("xml") != "-" && tag.Get("xml") != ""):
			own.Field(i).Set(s.copied(v.Field(i)))
		}
	}
}
