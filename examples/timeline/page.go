package main

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/restyretry/restyretry"
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Parse(pageSource))

// writePage writes a page that shows the lives one below the other.
func writePage(w io.Writer, lives []life) error {
	return pageTemplate.Execute(w, newPage(lives))
}

// The types below are what page.html sees. Text in them may come from a
// stranger; the template escapes it.
type (
	page struct {
		Summary string
		Ticks   []tick
		Lives   []lifeView
	}
	lifeView struct {
		Number       int
		Name, About  string
		Kind, Symbol string
		Fate, Reason string
		Length       string
		Deadline     string // how long after the start, or ""
		Ticks        []tick
		Overview     lane // all attempts on the scale of the page
		Attempts     []attemptView
	}
	attemptView struct {
		Number, Max       int
		Kind, Symbol      string
		Outcome           string // the status, or the error
		Method, URL       string
		Took              string
		Asked             string // the field by which the server asked for a wait
		Then, Reason, Why string
		Lane              lane
	}
	// A lane is a strip of the time line.
	lane struct {
		Text  string // says the same in words
		Ticks []tick
		Bars  []bar
	}
	bar  struct{ Shape, Kind, Left, Width string }
	tick struct{ Left, Anchor, Label string }
)

func newPage(lives []life) page {
	var longest time.Duration
	attempts, succeeded := 0, 0
	for _, l := range lives {
		longest = max(longest, length(l))
		attempts += len(l.Attempts)
		if kindOf(l, len(l.Attempts)-1) == kindOK {
			succeeded++
		}
	}
	s := scaleFor(longest)
	p := page{
		Summary: fmt.Sprintf("%s in %s: %d succeeded, %d did not.",
			count(len(lives), "request"), count(attempts, "attempt"), succeeded, len(lives)-succeeded),
		Ticks: s.ticks(),
	}
	for i, l := range lives {
		v := newLifeView(l)
		v.Number = i + 1
		v.Overview = overview(l, s)
		p.Lives = append(p.Lives, v)
	}
	return p
}

func newLifeView(l life) lifeView {
	v := lifeView{Name: cmp.Or(clean(l.Name), "A request without a name"), About: clean(l.About)}
	last := len(l.Attempts) - 1
	v.Kind = kindOf(l, last)
	v.Symbol = symbols[v.Kind]
	switch {
	case last < 0:
		v.Fate = "was not recorded"
		return v
	case v.Kind == kindOK:
		v.Fate = fmt.Sprintf("succeeded with attempt %d", last+1)
	default:
		v.Fate = "gave up after " + count(last+1, "attempt")
	}
	v.Reason, v.Length = clean(string(l.Attempts[last].Reason)), short(length(l))
	text, deadline := deadlineOf(l)
	s := scaleFor(max(length(l), deadline))
	v.Deadline, v.Ticks = text, s.ticks()
	for i := range l.Attempts {
		a := newAttemptView(l, i, s)
		if deadline > 0 {
			a.Lane.Bars = append(a.Lane.Bars, s.bar("deadline", "", span{deadline, deadline}))
		}
		v.Attempts = append(v.Attempts, a)
	}
	return v
}

func newAttemptView(l life, i int, s scale) attemptView {
	a, kind := l.Attempts[i], kindOf(l, i)
	field, _ := serverWait(a)
	v := attemptView{
		Number: a.Number, Max: a.Max, Kind: kind, Symbol: symbols[kind],
		Outcome: outcome(a), Method: clean(a.Method), URL: clean(a.URL), Took: short(a.Took), Asked: clean(field),
		Then: then(l, i), Reason: clean(string(a.Reason)), Why: why(l, i),
	}
	v.Lane = lane{Text: inWords(l, i), Ticks: s.ticks(), Bars: bars(l, i, s)}
	return v
}

// What an attempt was in the life of its request.
const (
	kindOK    = "ok"    // it succeeded
	kindAgain = "again" // it was followed by another
	kindEnd   = "end"   // it was the last, without success
)

var symbols = map[string]string{kindOK: "✓", kindAgain: "↻", kindEnd: "✗"}

func kindOf(l life, i int) string {
	switch {
	case i < len(l.Attempts)-1:
		return kindAgain
	case i >= 0 && l.Attempts[i].Reason == restyretry.ReasonSucceeded:
		return kindOK
	default:
		return kindEnd
	}
}

// whyAgain and whyEnd explain the reasons. A reason that is not in them is
// shown without an explanation.
var (
	whyAgain = map[restyretry.Reason]string{
		restyretry.ReasonStatus:    "this status is worth another attempt",
		restyretry.ReasonError:     "this error may go away by itself",
		restyretry.ReasonCondition: "RetryIf, or a retry condition of Resty's, asked for it",
		restyretry.ReasonServer:    "the server said that it should be tried again",
	}
	whyEnd = map[restyretry.Reason]string{
		restyretry.ReasonNotRetryable: "it failed, but nothing asks for a retry",
		restyretry.ReasonUnless:       "Unless prevented a retry",
		restyretry.ReasonMethod:       "this method may not be sent again",
		restyretry.ReasonAttempts:     "no more attempts are allowed",
		restyretry.ReasonBody:         "the body cannot be sent again",
		restyretry.ReasonDeadline:     "the caller's deadline has passed, or would before the next attempt",
		restyretry.ReasonServer:       "the server said that it should not be tried again",
		restyretry.ReasonServerWait:   "the server asks for a wait longer than MaxServerWait",
		restyretry.ReasonBudget:       "the budget for retries is used up",
		restyretry.ReasonElapsed:      "MaxElapsed would be over before the next attempt",
		restyretry.ReasonCancelled:    "the caller cancelled the request",
		restyretry.ReasonNotSent:      "it failed before it was sent",
		restyretry.ReasonStopped:      "a callback stopped it by an error",
		restyretry.ReasonPanic:        "a callback panicked",
	}
)

func why(l life, i int) string {
	if kindOf(l, i) == kindAgain {
		return whyAgain[l.Attempts[i].Reason]
	}
	return whyEnd[l.Attempts[i].Reason]
}

// then says what came after an attempt.
func then(l life, i int) string {
	a := l.Attempts[i]
	_, wait := spans(l, i)
	switch {
	case kindOf(l, i) == kindOK:
		return "done"
	case kindOf(l, i) == kindEnd && a.Wait > 0:
		return fmt.Sprintf("broken off %s into a wait of %s", short(wait.to-wait.from), short(a.Wait))
	case kindOf(l, i) == kindEnd:
		return "gave up"
	case obeyed(a):
		return fmt.Sprintf("waited %s, as the server asked", short(a.Wait))
	default:
		return fmt.Sprintf("waited %s", short(a.Wait))
	}
}

// outcome is the error of an attempt, or else its status.
func outcome(a restyretry.Attempt) string {
	switch failed := (*url.Error)(nil); {
	case errors.As(a.Err, &failed): // the method and the URL stand beside it
		return clean(failed.Err.Error())
	case a.Err != nil:
		return clean(a.Err.Error())
	case a.StatusCode() != 0:
		return clean(a.Response.Status())
	default:
		return "no response recorded"
	}
}

// serverWait returns the header field by which the server asked for a wait,
// and the wait. The package understands more fields than these.
func serverWait(a restyretry.Attempt) (field string, wait time.Duration) {
	if a.Response == nil || a.Response.IsSuccess() {
		return "", 0
	}
	for _, name := range []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms", "Retry-After"} {
		value, unit := a.Response.Header().Get(name), time.Millisecond
		if name == "Retry-After" {
			unit = time.Second
		}
		if n, err := strconv.ParseInt(value, 10, 32); err == nil && n > 0 {
			return name + ": " + value, time.Duration(n) * unit
		}
		if date, err := http.ParseTime(value); err == nil && unit == time.Second {
			return name + ": " + value, date.Sub(a.Start.Add(a.Took))
		}
	}
	return "", 0
}

// obeyed reports whether the wait after an attempt is the one that the server
// asked for: the package adds up to a tenth, at most a second.
func obeyed(a restyretry.Attempt) bool {
	_, asked := serverWait(a)
	const clock = 50 * time.Millisecond // a date is compared a little later
	return asked > 0 && a.Wait >= asked-clock && a.Wait <= asked+min(asked/10, time.Second)
}

// A span is a part of a life, counted from its beginning.
type span struct{ from, to time.Duration }

// spans returns when an attempt was under way, and the wait after it.
func spans(l life, i int) (attempt, wait span) {
	a, begin := l.Attempts[i], l.Attempts[0].Start
	attempt.from = bounded(a.Start.Sub(begin))
	attempt.to = attempt.from + bounded(a.Took)
	wait = span{attempt.to, attempt.to + bounded(a.Wait)}
	if i == len(l.Attempts)-1 && !l.Ended.IsZero() {
		wait.to = max(wait.from, min(wait.to, bounded(l.Ended.Sub(begin))))
	}
	return attempt, wait
}

func length(l life) (d time.Duration) {
	for i := range l.Attempts {
		_, wait := spans(l, i)
		d = max(d, wait.to)
	}
	return d
}

// bounded makes a duration one that can be added to others.
func bounded(d time.Duration) time.Duration { return min(max(d, 0), 1000*time.Hour) }

// deadlineOf returns the caller's deadline in words, and as a point in the life
// if it is near enough to be drawn.
func deadlineOf(l life) (text string, shown time.Duration) {
	first := l.Attempts[0]
	if first.Request == nil {
		return "", 0
	}
	at, ok := first.Request.Context().Deadline()
	if !ok {
		return "", 0
	}
	after := bounded(at.Sub(first.Start))
	if after <= 20*length(l) {
		shown = after
	}
	return short(after), shown
}

// bars draws an attempt, the wait after it, and a post where it gave up.
func bars(l life, i int, s scale) []bar {
	attempt, wait := spans(l, i)
	var drawn []bar
	if wait.to > wait.from {
		kind := ""
		if obeyed(l.Attempts[i]) {
			kind = "asked"
		}
		drawn = append(drawn, s.bar("wait", kind, wait))
	}
	kind := kindOf(l, i)
	drawn = append(drawn, s.bar("attempt", kind, attempt))
	if kind == kindEnd {
		drawn = append(drawn, s.bar("post", "", span{wait.to, wait.to}))
	}
	return drawn
}

func overview(l life, s scale) lane {
	var all []bar
	var text []string
	for i := range l.Attempts {
		all = append(all, bars(l, i, s)...)
		text = append(text, inWords(l, i))
	}
	return lane{Text: cmp.Or(strings.Join(text, "; "), "no attempts"), Ticks: s.ticks(), Bars: all}
}

// inWords is what the bars of an attempt show.
func inWords(l life, i int) string {
	attempt, wait := spans(l, i)
	text := fmt.Sprintf("attempt %d from %s to %s", l.Attempts[i].Number, short(attempt.from), short(attempt.to))
	if wait.to > wait.from {
		text += fmt.Sprintf(", wait until %s", short(wait.to))
	}
	return text
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

// short is a duration with as many digits as one cares to read.
func short(d time.Duration) string {
	switch d = max(d, 0); {
	case d == 0:
		return "0\u00a0ms"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f\u00a0ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%d\u00a0ms", d.Round(time.Millisecond).Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.2f\u00a0s", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// clean takes out of a stranger's text what the template's escaping leaves in:
// characters that cannot be seen or turn the direction of writing, and too many
// of them.
func clean(s string) string {
	const longest = 300
	runes := []rune(strings.ToValidUTF8(s, "\uFFFD"))
	if len(runes) > longest {
		runes = append(runes[:longest], '…')
	}
	for i, r := range runes {
		if !unicode.IsPrint(r) {
			runes[i] = '\uFFFD'
		}
	}
	return string(runes)
}
