package main

import (
	"image/color"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
	"gonum.org/v1/plot/vg"
)

const (
	// period is the time from one request of a client to its next, whatever
	// became of the first.
	period = 20 * time.Second
	// clientsPerProcess share a Budget: a process sends 100 requests a second.
	clientsPerProcess = 2000
)

// A policy is what the clients do about failures.
type policy struct {
	name     string
	attempts int
	wait     restyretry.Strategy
	ratio    float64 // of the budget; 0 for none

	colour color.Color // in the charts; nil for not there
	dashes []vg.Length
}

// policies are those that are compared, no retry first.
func policies() []policy {
	exponential := restyretry.Exponential(100*time.Millisecond, 30*time.Second)
	jittered := restyretry.FullJitter(exponential)
	return []policy{
		{name: "no retry", attempts: 1, colour: grey},
		{name: "fixed 1 s, 3 attempts", attempts: 3, wait: restyretry.Constant(time.Second), colour: orange},
		{name: "exponential, 3 attempts", attempts: 3, wait: exponential},
		{name: "exponential, 10 attempts", attempts: 10, wait: exponential, colour: red, dashes: dashed},
		{name: "jitter, 3 attempts", attempts: 3, wait: jittered, colour: blue},
		{name: "jitter, 10 attempts", attempts: 10, wait: jittered, colour: purple},
		{name: "jitter, 3 attempts, budget 20 %", attempts: 3, wait: jittered, ratio: 0.2, colour: green, dashes: dashed},
		{name: "jitter, 3 attempts, budget 10 %", attempts: 3, wait: jittered, ratio: 0.1, colour: green},
		{name: "jitter, 3 attempts, budget 5 %", attempts: 3, wait: jittered, ratio: 0.05},
		{name: "jitter, 10 attempts, budget 10 %", attempts: 10, wait: jittered, ratio: 0.1},
	}
}

var (
	grey   = color.Gray{Y: 110}
	orange = color.NRGBA{R: 230, G: 140, A: 255}
	red    = color.NRGBA{R: 200, G: 40, B: 40, A: 255}
	blue   = color.NRGBA{R: 30, G: 110, B: 220, A: 255}
	purple = color.NRGBA{R: 130, G: 60, B: 170, A: 255}
	green  = color.NRGBA{R: 10, G: 140, B: 80, A: 255}
	dashed = []vg.Length{vg.Points(5), vg.Points(3)}
)

func (p *policy) budgets(processes int) []*restyretry.Budget {
	if p.ratio == 0 {
		return nil
	}
	budgets := make([]*restyretry.Budget, processes)
	for i := range budgets {
		budgets[i] = restyretry.NewBudget(p.ratio, 0)
	}
	return budgets
}

// A crowd is the clients, each with a place of its own in the period, ordered
// by it.
type crowd struct {
	clients int
	order   []uint32
	first   []int // for every tick of the period, where in order its clients begin
}

// newCrowd makes a crowd whose client i has place(i), in ticks.
func newCrowd(clients int, placeOf func(client int) int) *crowd {
	place := make([]int, clients)
	c := &crowd{clients: clients, order: make([]uint32, clients), first: make([]int, period/tick+1)}
	for i := range place {
		place[i] = placeOf(i)
		c.first[place[i]+1]++
	}
	for i := range len(c.first) - 1 {
		c.first[i+1] += c.first[i]
	}
	next := slices.Clone(c.first)
	for i, p := range place {
		c.order[next[p]] = uint32(i)
		next[p]++
	}
	return c
}

// anywhere spreads clients over the period.
func anywhere(seed uint64) func(int) int {
	rng := rand.New(rand.NewPCG(seed, 0))
	return func(int) int { return rng.IntN(int(period / tick)) }
}

func (c *crowd) processes() int { return (c.clients + clientsPerProcess - 1) / clientsPerProcess }

// due are the clients that begin a request in a tick.
func (c *crowd) due(s scenario, now int) []uint32 {
	if from := int(s.from / tick); s.together && now <= from {
		if now == from {
			return c.order
		}
		return nil
	}
	place := now % int(period/tick)
	return c.order[c.first[place]:c.first[place+1]]
}

// seededAttempt returns an Attempt whose random numbers are repeatable. They
// come to a strategy from Options.Rand, within a request: so one is made, over
// a transport in memory, and its Attempt is used again and again.
func seededAttempt(seed uint64) (attempt restyretry.Attempt, err error) {
	client := resty.New().SetTransport(answer(http.StatusOK))
	_, err = restyretry.Install(client, func(o *restyretry.Options) {
		o.Rand = rand.New(rand.NewPCG(seed, 1)).Float64
		o.Hooks = append(o.Hooks, restyretry.Hooks{OnDone: func(a restyretry.Attempt) { attempt = a }})
	})
	if err == nil {
		_, err = client.R().Get("http://server.invalid/")
	}
	return attempt, err
}

// answer is a transport that has nothing but a status.
type answer int

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: int(a), Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}
