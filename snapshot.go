package restyretry

import (
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-resty/resty/v2"
)

// A snapshot is what OnAttempt may change of a request.
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
		cookies: slices.Clone(r.Cookies), body: r.Body, header: r.Header.Clone(),
		query: cloneValues(r.QueryParam), form: cloneValues(r.FormData),
		path: maps.Clone(r.PathParams), rawPath: maps.Clone(r.RawPathParams),
	}
}

// restore does nothing to r without a snapshot.
func (s *snapshot) restore(r *resty.Request) {
	if s == nil {
		return
	}
	r.Method, r.Token, r.AuthScheme, r.UserInfo = s.method, s.token, s.authScheme, s.userInfo
	r.Cookies, r.Body, r.Header = slices.Clone(s.cookies), s.body, s.header.Clone()
	r.QueryParam, r.FormData = cloneValues(s.query), cloneValues(s.form)
	r.PathParams, r.RawPathParams = maps.Clone(s.path), maps.Clone(s.rawPath)
}

func cloneValues(v url.Values) url.Values { return url.Values(http.Header(v).Clone()) }
