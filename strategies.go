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
// will do; it may look at a.Response or a.Err to decide. A negative answer
// counts as zero.
type Strategy func(a Attempt) time.Duration

// Constant waits d after every attempt.
func Constant(d time.Duration) Strategy {
	d = max(d, 0)
	return func(Attempt) time.Duration { return d }
}

// Linear waits step, 2·step, 3·step … and never longer than limit. A limit of 0
// or less is none.
// Linear(1s, 3s): 1 2 3 3 s.
func Linear(step, limit time.Duration) Strategy {
	return func(a Attempt) time.Duration {
		return scale(step, float64(a.Number), limit)
	}
}

// Exponential waits base and then twice as long each time, never longer than
// limit. A limit of 0 or less is none. Exponential(100ms, 30s): 0.1 0.2 0.4 0.8 1.6 3.2 6.4 12.8 25.6 30 s.
func Exponential(base, limit time.Duration) Strategy {
	return func(a Attempt) time.Duration {
		return scale(base, math.Ldexp(1, a.Number-1), limit)
	}
}

// Fibonacci waits unit times 1, 2, 3, 5, 8 … and never longer than limit. A limit
// of 0 or less is none.
// Fibonacci(2s, 60s): 2 4 6 10 16 26 42 60 60 s.
func Fibonacci(unit, limit time.Duration) Strategy {
	return func(a Attempt) time.Duration {
		current, next := 1.0, 2.0
		for range min(a.Number, maxAttempts) - 1 {
			current, next = next, current+next
		}
		return scale(unit, current, limit)
	}
}

// List waits the given times in turn; the last one repeats.
// List(a, b, c): a b c c c. Without any value there is no wait.
func List(waits ...time.Duration) Strategy {
	waits = slices.Clone(waits)
	return func(a Attempt) time.Duration {
		if len(waits) == 0 {
			return 0
		}
		return max(waits[clampIndex(a.Number-1, len(waits))], 0)
	}
}

// Random waits anything from shortest to longest, evenly spread.
func Random(shortest, longest time.Duration) Strategy {
	return func(a Attempt) time.Duration { return between(a, shortest, longest) }
}

// Decorrelated waits anything from base to three times the wait before it,
// never longer than limit (0 or less: none): the "decorrelated jitter" of
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
// The waits before it are drawn anew, so that the strategy needs no memory and
// every wait has the same distribution as in AWS's formula.
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

// FullJitter waits anything from nothing to what s says, evenly spread. It
// spreads a crowd of clients best and is the default. Of nil it is nil.
func FullJitter(s Strategy) Strategy {
	if s == nil {
		return nil
	}
	return func(a Attempt) time.Duration { return between(a, 0, s(a)) }
}

// EqualJitter waits half of what s says and anything up to the other half. Of nil
// it is nil.
func EqualJitter(s Strategy) Strategy {
	if s == nil {
		return nil
	}
	return func(a Attempt) time.Duration {
		wait := max(s(a), 0)
		return between(a, wait/2, wait)
	}
}

// AddJitter waits what s says and up to extra more, but never longer than
// limit (0 or less: none). It is the JitterRetry of aiohttp_retry, which has no
// such limit. Of nil it is nil.
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

// orForever is a limit, or the longest wait there is where it is 0 or less.
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

// between draws from low to high; low where high is below it, and never less
// than zero.
func between(a Attempt, low, high time.Duration) time.Duration {
	low = max(low, 0)
	if high <= low {
		return low
	}
	return min(max(low+time.Duration(a.random()*float64(high-low)), low), high)
}

func clampIndex(i, length int) int { return min(max(i, 0), length-1) }
