package timeline

import (
	_ "embed"
	"fmt"
	"html/template"
	"time"

	"github.com/restyretry/restyretry"
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Parse(pageSource))

// The types below are what page.html sees. Text in them may come from a
// stranger; the template escapes it.
type (
	page struct {
		Summary  string
		Ticks    []tick
		Requests []requestView
	}
	requestView struct {
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
		Took, Held        string // how long; Held is "" where it was not held back
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

func newPage(requests []Request) page {
	var longest time.Duration
	attempts, succeeded := 0, 0
	for _, r := range requests {
		longest = max(longest, length(r))
		attempts += len(r.Attempts)
		if kindOf(r, len(r.Attempts)-1) == kindOK {
			succeeded++
		}
	}
	s := scaleFor(longest)
	p := page{
		Summary: fmt.Sprintf("%s in %s: %d succeeded, %d did not.",
			count(len(requests), "request"), count(attempts, "attempt"), succeeded, len(requests)-succeeded),
		Ticks: s.ticks(),
	}
	for i, r := range requests {
		v := newRequestView(r)
		v.Number = i + 1
		v.Overview = overview(r, s)
		p.Requests = append(p.Requests, v)
	}
	return p
}

func newRequestView(r Request) requestView {
	v := requestView{Name: clean(nameOf(r)), About: clean(r.About)}
	last := len(r.Attempts) - 1
	v.Kind = kindOf(r, last)
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
	v.Reason, v.Length = clean(string(r.Attempts[last].Reason)), short(length(r))
	text, deadline := deadlineOf(r)
	s := scaleFor(max(length(r), deadline))
	v.Deadline, v.Ticks = text, s.ticks()
	for i := range r.Attempts {
		a := newAttemptView(r, i, s)
		if deadline > 0 {
			a.Lane.Bars = append(a.Lane.Bars, s.bar("deadline", "", span{deadline, deadline}))
		}
		v.Attempts = append(v.Attempts, a)
	}
	return v
}

func nameOf(r Request) string {
	switch {
	case r.Name != "":
		return r.Name
	case len(r.Attempts) == 0:
		return "A request without a name"
	default:
		return r.Attempts[0].Method + " " + r.Attempts[0].URL
	}
}

func newAttemptView(r Request, i int, s scale) attemptView {
	a, kind := r.Attempts[i], kindOf(r, i)
	field, _ := serverWait(a)
	v := attemptView{
		Number: a.Number, Max: a.Max, Kind: kind, Symbol: symbols[kind],
		Outcome: outcome(a), Method: clean(a.Method), URL: clean(a.URL), Took: short(a.Took), Held: held(a), Asked: clean(field),
		Then: then(r, i), Reason: clean(string(a.Reason)), Why: why(r, i),
	}
	v.Lane = lane{Text: inWords(r, i), Ticks: s.ticks(), Bars: bars(r, i, s)}
	return v
}

// What an attempt was in its request.
const (
	kindOK    = "ok"    // it succeeded
	kindAgain = "again" // it was followed by another
	kindEnd   = "end"   // it was the last, without success
)

var symbols = map[string]string{kindOK: "✓", kindAgain: "↻", kindEnd: "✗"}

func kindOf(r Request, i int) string {
	switch {
	case i < len(r.Attempts)-1:
		return kindAgain
	case i >= 0 && r.Attempts[i].Reason == restyretry.ReasonSucceeded:
		return kindOK
	default:
		return kindEnd
	}
}
