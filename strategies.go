package restyretry

import (
	"math"
	"slices"
	"time"
)

// A Strategy says how long to wait after a failed attempt. Number 1 is the
// first attempt, so the first wait of a series is the one for a.Number == 1.
//
// A strategy keeps no state: its answer depends on the attempt alone, and one
// value may serve any number of requests at once. Any function of this type
// will do; it may look at a.Response or a.Err to decide. A negative result
// counts as 0.
type Strategy func(a Attempt) time.Duration

// Constant waits d after every attempt.
func Constant(d time.Duration) Strategy {
	d = max(d, 0)
	return func(Attempt) time.Duration { return d }
}

// Linear waits step, 2·step, 3·step … and never longer than limit. A limit of 0
// or less is no limit. Linear(1s, 3s): 1 2 3 3 s.
func Linear(step, limit time.Duration) Strategy {
	return func(a Attempt) time.Duration {
		return scale(step, float64(a.Number), limit)
	}
}

// Exponential waits base and then twice as long each time, never longer than
// limit. A limit of 0 or less is no limit.
// Exponential(100ms, 30s): 0.1 0.2 0.4 0.8 1.6 3.2 6.4 12.8 25.6 30 s.
func Exponential(base, limit time.Duration) Strategy {
	return func(a Attempt) time.Duration {
		return scale(base, math.Ldexp(1, a.Number-1), limit)
	}
}

// Fibonacci waits unit times 1, 2, 3, 5, 8 … and never longer than limit. A limit
// of 0 or less is no limit. Fibonacci(2s, 60s): 2 4 6 10 16 26 42 60 60 s.
func Fibonacci(unit, limit time.Duration) Strategy {
	return func(a Attempt) time.Duration {
		current, next := 1.0, 2.0
		for range min(a.Number, maxAttempts) - 1 {
			current, next = next, current+next
		}
		return scale(unit, current, limit)
	}
}

// List waits the given times in turn; the last one repeats. List(a, b, c): a b c c.
// Without any value there is no wait.
func List(waits ...time.Duration) Strategy {
	waits = slices.Clone(waits)
	return func(a Attempt) time.Duration {
		if len(waits) == 0 {
			return 0
		}
		return max(waits[clampIndex(a.Number-1, len(waits))], 0)
	}
}

// Random waits a random time from shortest to longest, uniformly distributed. If
// longest is less, it waits shortest. Negative times count as 0.
func Random(shortest, longest time.Duration) Strategy {
	return func(a Attempt) time.Duration { return between(a, shortest, longest) }
}

// Decorrelated waits a random time from base to three times the wait before it,
// never longer than limit (0 or less: no limit): the "decorrelated jitter" of
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
// It draws the waits before it anew each time, so it needs no memory, and every
// wait has the same distribution as in AWS's formula.
func Decorrelated(base, limit time.Duration) Strategy {
	limit = orForever(limit)
	return func(a Attempt) time.Duration {
		wait := max(base, 0)
		for range min(max(a.Number, 1), maxAttempts) {
			wait = min(between(a, base, scale(wait, 3, limit)), limit)
		}
		return wait
	}
}

// FullJitter waits a random time from 0 to what s says, uniformly distributed. It
// spreads many clients best; the default Wait has it. FullJitter(nil) is nil.
func FullJitter(s Strategy) Strategy {
	if s == nil {
		return nil
	}
	return func(a Attempt) time.Duration { return between(a, 0, s(a)) }
}

// EqualJitter waits a random time from half of what s says to all of it.
// EqualJitter(nil) is nil.
func EqualJitter(s Strategy) Strategy {
	if s == nil {
		return nil
	}
	return func(a Attempt) time.Duration {
		wait := max(s(a), 0)
		return between(a, wait/2, wait)
	}
}

// AddJitter waits what s says and a random time up to extra more, but never longer
// than limit (0 or less: no limit). It is the JitterRetry of aiohttp_retry, which
// has no such limit. AddJitter(nil, …) is nil.
func AddJitter(s Strategy, extra, limit time.Duration) Strategy {
	if s == nil {
		return nil
	}
	limit = orForever(limit)
	return func(a Attempt) time.Duration {
		wait, more := max(s(a), 0), between(a, 0, extra)
		if wait > limit-more { // the sum may overflow
			return limit
		}
		return wait + more
	}
}

// orForever returns limit, or the longest duration if limit is 0 or less.
func orForever(limit time.Duration) time.Duration {
	if limit <= 0 {
		return math.MaxInt64
	}
	return limit
}

// scale multiplies d by factor and keeps the product from 0 to limit. The
// product is a float64 because it may be larger than any duration.
func scale(d time.Duration, factor float64, limit time.Duration) time.Duration {
	product, limit := float64(d)*factor, orForever(limit)
	switch {
	case !(product > 0): // NaN too
		return 0
	case product >= float64(limit):
		return limit
	default:
		return time.Duration(product)
	}
}

// between draws a wait from low to high. It is low if high is below that, and never
// less than 0.
func between(a Attempt, low, high time.Duration) time.Duration {
	low = max(low, 0)
	if high <= low {
		return low
	}
	return min(max(low+time.Duration(a.random()*float64(high-low)), low), high)
}

func clampIndex(i, length int) int { return min(max(i, 0), length-1) }
