package timeline

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/restyretry/restyretry"
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
	case kindOf(r, i) == kindEnd && a.Wait > 0:
		return fmt.Sprintf("broken off %s into a wait of %s", short(wait.to-wait.from), short(a.Wait))
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
		return clean(a.Response.Status())
	default:
		return "no response recorded"
	}
}

// waitFields are the header fields by which servers ask for a wait.
var waitFields = []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms", "Retry-After"}

// serverWait returns the header field by which the server asked for a wait,
// and the wait. The package understands more fields than these.
func serverWait(a restyretry.Attempt) (field string, wait time.Duration) {
	if a.Response == nil || a.Response.IsSuccess() {
		return "", 0
	}
	for _, name := range waitFields {
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
