package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/restyretry/restyretry"
)

// A life is a request from its first attempt to its end.
type life struct {
	Name, About string
	Attempts    []restyretry.Attempt
	Ended       time.Time // a wait that was broken off ended here
}

// A recorder keeps the lives of all requests of a client that has its hooks,
// with their responses: for a program that runs for long, drop the old ones.
type recorder struct {
	mu   sync.Mutex
	kept []life
}

func (r *recorder) hooks() restyretry.Hooks { return restyretry.Hooks{OnDone: r.record} }

func (r *recorder) record(a restyretry.Attempt) {
	l, ok := a.Request.Context().Value(nameKey{}).(life)
	if !ok {
		l.Name = a.Method + " " + a.URL
	}
	l.Attempts, l.Ended = restyretry.History(a.Request), time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, l)
}

// lives returns what was recorded so far, in the order in which it ended.
func (r *recorder) lives() []life {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.kept)
}

type nameKey struct{}

// named gives the requests of a context a name and a description.
func named(ctx context.Context, name, about string) context.Context {
	return context.WithValue(ctx, nameKey{}, life{Name: name, About: about})
}
