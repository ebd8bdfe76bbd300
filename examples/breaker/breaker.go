package main

// block: recipes.md
import (
	"sync"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/restyretry/restyretry"
)

// Guard is an option: no attempt is sent while the breaker is open. The error is
// circuitbreaker.ErrOpen then, and the last response comes with it, if there is
// one. Let it be the last option that appends hooks.
func Guard(breaker circuitbreaker.CircuitBreaker[any]) func(*restyretry.Options) {
	var permits sync.Map // of the requests that hold one
	record := func(a restyretry.Attempt) {
		switch _, held := permits.LoadAndDelete(a.Request); {
		case !held:
		case a.Err != nil || a.StatusCode() >= 500:
			breaker.RecordFailure()
		default:
			breaker.RecordSuccess()
		}
	}
	hooks := restyretry.Hooks{
		OnAttempt: func(a restyretry.Attempt) error {
			if !breaker.TryAcquirePermit() {
				return circuitbreaker.ErrOpen
			}
			permits.Store(a.Request, true)
			return nil
		},
		OnRetry: record,
		OnDone:  record,
	}
	return func(o *restyretry.Options) { o.Hooks = append(o.Hooks, hooks) }
}

// end of block
