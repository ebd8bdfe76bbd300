package main

// block: recipes.md
import (
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/restyretry/restyretry"
)

// Guard is an option: no attempt is sent while the breaker is open. The error is
// circuitbreaker.ErrOpen then, and the last response comes with it, if there is
// one. Let it be the last option that appends hooks.
func Guard(breaker circuitbreaker.CircuitBreaker[any]) func(*restyretry.Options) {
	record := func(a restyretry.Attempt) {
		if a.Err != nil || a.StatusCode() >= 500 {
			breaker.RecordFailure()
		} else {
			breaker.RecordSuccess()
		}
	}
	hooks := restyretry.Hooks{
		OnAttempt: func(restyretry.Attempt) error {
			if !breaker.TryAcquirePermit() {
				return circuitbreaker.ErrOpen
			}
			return nil
		},
		OnRetry: record,
		OnDone: func(a restyretry.Attempt) {
			refused := a.Reason == restyretry.ReasonStopped && a.Response == nil
			if recorded := a.Wait > 0; !refused && !recorded { // OnRetry had it, if a wait was broken off
				record(a)
			}
		},
	}
	return func(o *restyretry.Options) { o.Hooks = append(o.Hooks, hooks) }
}

// end of block
