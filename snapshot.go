package restyretry

import (
	"maps"
	"net/http"
	"net/url"
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

func takeSnapshot(r *resty.Request) snapshot {
	return snapshot{
		method: r.Method, token: r.Token, authScheme: r.AuthScheme, userInfo: r.UserInfo,
		cookies: slices.Clone(r.Cookies), body: r.Body, header: cloneValues(r.Header),
		query: cloneValues(r.QueryParam), form: cloneValues(r.FormData),
		path: cloneMap(r.PathParams), rawPath: cloneMap(r.RawPathParams),
	}
}

// restore makes of r what it was.
func (s *snapshot) restore(r *resty.Request) {
	r.Method, r.Token, r.AuthScheme, r.UserInfo = s.method, s.token, s.authScheme, s.userInfo
	r.Cookies, r.Body = slices.Clone(s.cookies), s.body
	r.Header = orEmpty(cloneValues(s.header))
	r.QueryParam, r.FormData = orEmpty(cloneValues(s.query)), orEmpty(cloneValues(s.form))
	r.PathParams, r.RawPathParams = orEmpty(cloneMap(s.path)), orEmpty(cloneMap(s.rawPath))
}

// isNeedless reports whether r can be restored without s: it is still what it
// was, and to empty the maps undoes what Resty writes to them.
func (s *snapshot) isNeedless(r *resty.Request) bool {
	return len(s.header)+len(r.Header)+len(s.query)+len(r.QueryParam)+len(s.form)+len(r.FormData) == 0 &&
		r.Method == s.method && r.Token == s.token && r.AuthScheme == s.authScheme && r.UserInfo == s.userInfo &&
		slices.Equal(r.Cookies, s.cookies) && sameBody(r.Body, s.body) &&
		maps.Equal(r.PathParams, s.path) && maps.Equal(r.RawPathParams, s.rawPath)
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
