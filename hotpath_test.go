package restyretry_test

import (
	"context"
	"testing"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
)

func BenchmarkHot(b *testing.B) {
	never := func(*resty.Response, error) bool { return false }
	on503 := func(r *resty.Response, err error) bool { return r.StatusCode() == 503 }
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	value := context.WithValue(context.Background(), "k", 1)
	ours := func(statuses []int, opts ...func(*restyretry.Options)) *resty.Client {
		c := memoryClient(statuses...)
		opts = append([]func(*restyretry.Options){func(o *restyretry.Options) { o.Wait = restyretry.Constant(0) }}, opts...)
		if _, err := restyretry.Install(c, opts...); err != nil {
			b.Fatal(err)
		}
		return c
	}
	own := func(statuses ...int) *resty.Client {
		f := never
		if len(statuses) > 1 {
			f = on503
		}
		return memoryClient(statuses...).SetRetryCount(2).SetRetryWaitTime(1).SetRetryMaxWaitTime(1).AddRetryCondition(f)
	}
	urls := func(o *restyretry.Options) {
		o.URL = restyretry.URLs("http://api.test/x", "http://api2.test/x")
	}
	hooks := func(o *restyretry.Options) {
		o.Hooks = []restyretry.Hooks{{
			OnAttempt: func(restyretry.Attempt) error { return nil },
			OnRetry:   func(restyretry.Attempt) {},
			OnDone:    func(restyretry.Attempt) {},
		}}
	}
	with := func(ctx context.Context) context.Context {
		return restyretry.With(ctx, func(o *restyretry.Options) { o.Attempts = 4 })
	}
	ok, retry := []int{200}, []int{503, 200}
	for _, x := range []struct {
		name string
		c    *resty.Client
		ctx  context.Context
		body any
	}{
		{"bare", memoryClient(200), nil, nil},
		{"own", own(200), nil, nil},
		{"ours", ours(ok), nil, nil},
		{"urls", ours(ok, urls), nil, nil},
		{"hooks", ours(ok, hooks), nil, nil},
		{"ctx/bare", memoryClient(200), ctx, nil},
		{"ctx/own", own(200), ctx, nil},
		{"ctx/ours", ours(ok), ctx, nil},
		{"ctx/with", ours(ok), with(ctx), nil},
		{"ctx/urls", ours(ok, urls), ctx, nil},
		{"ctx/hooks", ours(ok, hooks), ctx, nil},
		{"retry/own", own(503, 200), nil, nil},
		{"retry/ours", ours(retry), nil, nil},
		{"retry/ctx/own", own(503, 200), ctx, nil},
		{"retry/ctx/ours", ours(retry), ctx, nil},
		{"retry/value/own", own(503, 200), value, nil},
		{"retry/value/ours", ours(retry), value, nil},
		{"retry/value/urls", ours(retry, urls), value, nil},
		{"retry/value/hooks", ours(retry, hooks), value, nil},
		{"post/bare", memoryClient(200), nil, small},
		{"post/own", own(200), nil, small},
		{"post/ours", ours(ok, func(o *restyretry.Options) { o.Methods = append(o.Methods, "POST") }), nil, small},
	} {
		b.Run(x.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := x.c.R()
				if x.ctx != nil {
					r.SetContext(x.ctx)
				}
				var resp *resty.Response
				var err error
				if x.body != nil {
					resp, err = r.SetBody(x.body).Post("http://api.test/x")
				} else {
					resp, err = r.Get("http://api.test/x")
				}
				if err != nil || resp.StatusCode() != 200 {
					b.Fatal(resp, err)
				}
			}
		})
	}
}

var small = make([]byte, 1024)
