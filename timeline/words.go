package timeline

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/serverwait"
)

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
		restyretry.ReasonCooldown:     "its host cools down for longer than the request may wait",
		restyretry.ReasonElapsed:      "MaxElapsed would be over before the next attempt",
		restyretry.ReasonCancelled:    "the caller cancelled the request",
		restyretry.ReasonNotSent:      "it failed before it was sent",
		restyretry.ReasonStopped:      "a callback stopped it by an error",
		restyretry.ReasonPanic:        "a callback panicked",
	}
)

func why(r Request, i int) string {
	if kindOf(r, i) == kindAgain {
		return whyAgain[r.Attempts[i].Reason]
	}
	return whyEnd[r.Attempts[i].Reason]
}

// then says what came after an attempt.
func then(r Request, i int) string {
	a, wait := r.Attempts[i], spansOf(r, i).wait
	switch {
	case kindOf(r, i) == kindOK:
		return "done"
	case kindOf(r, i) == kindEnd && wait.to-wait.from < bounded(a.Wait):
		return fmt.Sprintf("broken off %s into a wait of %s", short(wait.to-wait.from), short(a.Wait))
	case kindOf(r, i) == kindEnd && a.Wait > 0:
		return fmt.Sprintf("waited %s, then gave up", short(a.Wait))
	case kindOf(r, i) == kindEnd:
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
		return clean(status(a.Response))
	default:
		return "no response recorded"
	}
}

// status is the line of a response, or what belongs to its code where the transport
// gives no more.
func status(r *resty.Response) string {
	code := r.StatusCode()
	return cmp.Or(r.Status(), strings.TrimSpace(fmt.Sprint(code, " ", http.StatusText(code))))
}

// Header fields by which servers ask for a wait, the first one first, and those that
// say how such a field is meant: see the package serverwait.
var (
	waitFields = []string{
		"Retry-After-Ms", "X-Ms-Retry-After-Ms", "Retry-After",
		"RateLimit-Reset", "X-RateLimit-Reset", "X-Rate-Limit-Reset", "RateLimit",
	}
	aboutWaits = []string{"Date", "RateLimit-Remaining", "X-RateLimit-Remaining", "X-Rate-Limit-Remaining"}
)

// serverWait returns the header field by which the server asked for a wait,
// and the wait.
func serverWait(a restyretry.Attempt) (field string, wait time.Duration) {
	if a.Response == nil {
		return "", 0
	}
	header, ended := a.Response.Header(), a.Start.Add(a.Took)
	for _, name := range waitFields {
		alone := only(header, append(slices.Clone(aboutWaits), name)...)
		if wait := serverwait.Wait(a.StatusCode(), alone, ended); wait > 0 {
			return name + ": " + header.Get(name), wait
		}
	}
	return "", 0
}

// obeyed reports whether the wait after an attempt is the one that the server
// asked for: the package adds up to a tenth, or after a 429 or 503, with a Cooldown, more.
func obeyed(a restyretry.Attempt) bool {
	_, asked := serverWait(a)
	const clock = 50 * time.Millisecond // a date may be compared a little later
	added := max(a.Wait, 0) - asked
	most := min(asked/10, time.Second)
	if serverwait.BindsAll(a.StatusCode()) {
		most = serverwait.Spread(asked)
	}
	return asked > 0 && added >= -clock && added <= most
}

// held is how long an attempt was held back, or "".
func held(a restyretry.Attempt) string {
	if a.Held <= 0 {
		return ""
	}
	return short(a.Held)
}

// inWords is what the bars of an attempt show.
func inWords(r Request, i int) string {
	s := spansOf(r, i)
	text := fmt.Sprintf("attempt %d from %s to %s", r.Attempts[i].Number, short(s.attempt.from), short(s.attempt.to))
	if !s.hold.isEmpty() {
		text = fmt.Sprintf("held back from %s, ", short(s.hold.from)) + text
	}
	if !s.wait.isEmpty() {
		text += fmt.Sprintf(", wait until %s", short(s.wait.to))
	}
	if kindOf(r, i) == kindEnd {
		text += fmt.Sprintf(", gave up at %s", short(length(r)))
	}
	return text
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
