package harness

import (
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
)

// An Option changes the options of the plugin.
type Option = func(*restyretry.Options)

// The options that many tests set.

func Attempts(n int) Option { return func(o *restyretry.Options) { o.Attempts = n } }

func Wait(d time.Duration) Option {
	return func(o *restyretry.Options) { o.Wait = restyretry.Constant(d) }
}

func Hooks(h restyretry.Hooks) Option {
	return func(o *restyretry.Options) { o.Hooks = append(o.Hooks, h) }
}

func OnAttempt(f func(restyretry.Attempt) error) Option {
	return Hooks(restyretry.Hooks{OnAttempt: f})
}

func OnRetry(f func(restyretry.Attempt)) Option { return Hooks(restyretry.Hooks{OnRetry: f}) }

func OnDone(f func(restyretry.Attempt)) Option { return Hooks(restyretry.Hooks{OnDone: f}) }

func URL(target restyretry.Target) Option { return func(o *restyretry.Options) { o.URL = target } }

func RetryIf(f func(restyretry.Attempt) bool) Option {
	return func(o *restyretry.Options) { o.RetryIf = f }
}

func Methods(list ...string) Option { return func(o *restyretry.Options) { o.Methods = list } }

// Rand makes every random number of the options part.
func Rand(part float64) Option {
	return func(o *restyretry.Options) { o.Rand = func() float64 { return part } }
}

func Budget(b *restyretry.Budget) Option { return func(o *restyretry.Options) { o.Budget = b } }

func Cooldown(c *restyretry.Cooldown) Option {
	return func(o *restyretry.Options) { o.Cooldown = c }
}

func AttemptTimeout(d time.Duration) Option {
	return func(o *restyretry.Options) { o.AttemptTimeout = d }
}

func MaxElapsed(d time.Duration) Option { return func(o *restyretry.Options) { o.MaxElapsed = d } }

func MaxServerWait(d time.Duration) Option {
	return func(o *restyretry.Options) { o.MaxServerWait = d }
}

func MaxReplay(n int64) Option { return func(o *restyretry.Options) { o.MaxReplay = n } }

func RaiseForStatus(o *restyretry.Options) { o.RaiseForStatus = true }

// Tokens is a rate limiter for Resty that lets n attempts through.
func Tokens(n int) resty.RateLimiter { return &tokens{n} }

type tokens struct{ left int }

func (t *tokens) Allow() bool { t.left--; return t.left >= 0 }
