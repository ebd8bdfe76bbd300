package timeline

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/restyretry/restyretry"
)

// A span is a part of a request, counted from its beginning.
type span struct{ from, to time.Duration }

func (s span) isEmpty() bool { return s.to <= s.from }

// spans are the parts of an attempt: held back by a Cooldown, under way, and the
// wait after it.
type spans struct{ hold, attempt, wait span }

func spansOf(r Request, i int) spans {
	a, begin := r.Attempts[i], began(r)
	start := bounded(a.Start.Sub(begin))
	end := start + bounded(a.Took)
	s := spans{
		hold:    span{max(start-bounded(a.Held), 0), start},
		attempt: span{start, end},
		wait:    span{end, end + bounded(a.Wait)},
	}
	if i == len(r.Attempts)-1 && !r.Ended.IsZero() {
		s.wait.to = max(end, min(s.wait.to, bounded(r.Ended.Sub(begin))))
	}
	return s
}

// began is when the request began: to be sent, or to be held back.
func began(r Request) time.Time {
	first := r.Attempts[0]
	return first.Start.Add(-bounded(first.Held))
}

// length is how long the request lasted. It may have ended after all that is drawn
// of it: of an attempt that was held back in vain nothing is known.
func length(r Request) (d time.Duration) {
	for i := range r.Attempts {
		d = max(d, spansOf(r, i).wait.to)
	}
	if last := len(r.Attempts) - 1; last >= 0 && kindOf(r, last) == kindEnd && !r.Ended.IsZero() {
		d = max(d, bounded(r.Ended.Sub(began(r))))
	}
	return d
}

// bounded makes a duration one that can be added to others.
func bounded(d time.Duration) time.Duration { return min(max(d, 0), 1000*time.Hour) }

// deadlineOf returns the caller's deadline in words, and as a point in the
// request if it is near enough to be drawn.
func deadlineOf(r Request) (text string, shown time.Duration) {
	if r.Deadline.IsZero() {
		return "", 0
	}
	after := bounded(r.Deadline.Sub(began(r)))
	if after <= 20*length(r) {
		shown = after
	}
	return short(after), shown
}

// bars draws an attempt, what came before and after it, and a post where it gave
// up.
func bars(r Request, i int, s scale) []bar {
	parts, kind := spansOf(r, i), kindOf(r, i)
	var drawn []bar
	if !parts.hold.isEmpty() {
		drawn = append(drawn, s.bar("wait", "held", parts.hold))
	}
	if !parts.wait.isEmpty() {
		drawn = append(drawn, s.bar("wait", waitKind(r.Attempts[i]), parts.wait))
	}
	drawn = append(drawn, s.bar("attempt", kind, parts.attempt))
	if kind == kindEnd {
		drawn = append(drawn, s.bar("post", "", span{length(r), length(r)}))
	}
	return drawn
}

func waitKind(a restyretry.Attempt) string {
	if obeyed(a) {
		return "asked"
	}
	return "own"
}

func overview(r Request, s scale) lane {
	var all []bar
	var text []string
	for i := range r.Attempts {
		all = append(all, bars(r, i, s)...)
		text = append(text, inWords(r, i))
	}
	return lane{Text: cmp.Or(strings.Join(text, "; "), "no attempts"), Ticks: s.ticks(), Bars: all}
}

// A scale turns time into percent of the width.
type scale struct{ length, step time.Duration }

// scaleFor leaves a little room at the end.
func scaleFor(length time.Duration) scale {
	const least = 100 * time.Millisecond // a short request need not look long
	length = max(length+length/25, least)
	return scale{length, round(length / 4)}
}

// round is the least duration that is not below d and easy to read: 1, 2, 5,
// 10 … of a unit.
func round(d time.Duration) time.Duration {
	units := []time.Duration{time.Millisecond, time.Second, time.Minute, time.Hour, math.MaxInt64}
	for i, unit := range units[:4] {
		for n := 0; unit < units[i+1]; n++ {
			if unit >= d {
				return unit
			}
			unit *= 2
			if n%3 == 1 {
				unit += unit / 4
			}
		}
	}
	return d
}

func (s scale) percent(d time.Duration) float64 {
	return min(max(100*float64(d)/float64(s.length), 0), 100)
}

// bar is never so small that it cannot be seen.
func (s scale) bar(shape, kind string, at span) bar {
	const least = 0.9
	left := min(s.percent(at.from), 100-least)
	width := max(s.percent(at.to)-left, least)
	return bar{shape, kind, fmt.Sprintf("%.2f", left), fmt.Sprintf("%.2f", min(width, 100-left))}
}

func (s scale) ticks() (ticks []tick) {
	for at := time.Duration(0); at <= s.length; at += s.step {
		anchor := "middle"
		switch percent := s.percent(at); {
		case at == 0:
			anchor = "start"
		case percent > 92:
			anchor = "end"
		}
		ticks = append(ticks, tick{fmt.Sprintf("%.2f", s.percent(at)), anchor, label(at, s.step)})
	}
	return ticks
}

// label is a round duration for a tick.
func label(d, step time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < time.Second:
		return fmt.Sprintf("%d\u00a0ms", d.Milliseconds())
	case step < time.Minute:
		return fmt.Sprintf("%g\u00a0s", d.Seconds())
	case step < time.Hour:
		return fmt.Sprintf("%g\u00a0min", d.Minutes())
	default:
		return fmt.Sprintf("%g\u00a0h", d.Hours())
	}
}
