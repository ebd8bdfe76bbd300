package restyretry

// A choice is where the next attempt goes, and how the request looks then.
type choice struct {
	underWay
	err    error  // of the Target or an OnAttempt, or because it must not go there
	before string // the URL of the request until then
}

// choose makes the request what it was before the first attempt, and lets the
// Target and OnAttempt prepare the next.
func (c *call) choose() choice {
	r, last := c.request, c.current
	next := choice{before: r.URL}
	c.current = underWay{wanted: true}
	c.before.Add(1)
	c.initial.restore(r)
	r.URL = c.original
	r.SetContext(&c.own)
	next.err = c.chooseTarget()
	c.noteURL(r.URL)
	next.underWay = c.current
	c.before.Add(-1)
	c.current = last
	return next
}

// takeChoice returns the choice of where the next attempt goes, which may have
// been made before the wait.
func (c *call) takeChoice() choice {
	if c.next == nil {
		return c.choose()
	}
	next := *c.next
	c.next = nil
	return next
}

// dropChoice undoes a choice that was made before the wait, if there is one.
func (c *call) dropChoice() {
	if c.next != nil {
		c.request.URL, c.next = c.next.before, nil
	}
}

// noteURL notes the URL of the attempt that is prepared: start sets it.
func (c *call) noteURL(url string) {
	c.current.url = url
	c.current.chosen = c.resent || c.policy.URL != nil || url != c.original
}

// goesElsewhere reports whether the next attempt goes to another host than the
// last one, and than the one that answered it. To find out, it has to be chosen.
func (c *call) goesElsewhere() bool {
	if c.next == nil {
		next := c.choose()
		c.next = &next
	}
	u, err := resolve(c.client, c.request, c.next.url)
	if err != nil {
		return false
	}
	to := hostKey(u)
	return to != hostKey(c.request.RawRequest.URL) && to != hostKey(answeredBy(c.last().Response))
}

// decideStay asks OnAttempt where the next attempt goes, since the server has
// asked for a wait. It reports whether advance goes on: with that attempt, or with the
// error of the choice, which ends the call. It lets go of the response only in the
// first case.
func (c *call) decideStay() bool {
	elsewhere := c.goesElsewhere()
	switch {
	case c.next.err != nil:
		c.last().Wait = 0
		return true
	case elsewhere:
		c.last().Wait = c.current.stay.elsewhere
	case c.current.stay.reason != "":
		c.dropChoice()
		c.last().Wait = 0
		c.breakOff(c.current.stay.reason, nil)
		return false
	}
	discard(c.ctx, c.current.response, c.current.read)
	return true
}
