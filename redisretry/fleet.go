// Package redisretry makes many processes behave as one client of servers that ask
// for a wait or fail. It shares, over Redis, what a [restyretry.Cooldown] has been
// told and what a [restyretry.Budget] has counted.
//
//	fleet, err := redisretry.Join(redisClient, "orders")
//	fleet.Cooldown(cooldown)
//	fleet.Budget("payments", budget)
//
// No request waits for Redis, and none fails because of it. What the others say is
// in memory before it is needed, and while Redis is down, slow, full or read-only
// every process goes by what it knows itself. That is logged by [slog.Default], at
// most once a minute. The README of the module says what happens in each fault, and
// which commands a user needs.
package redisretry

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/redis/go-redis/v9"

	"github.com/restyretry/restyretry"
)

const (
	commandTimeout = time.Second // where the client goes by contexts, see Join
	warnEvery      = time.Minute
	closePatience  = time.Second
	nameLongest    = 128 // bytes
)

// A Fleet is this process as a member of a fleet: all processes that joined under
// the same name, on the same Redis. It is safe for concurrent use.
type Fleet struct {
	client redis.UniversalClient
	name   string
	cool   string // both the sorted set and the channel

	ctx       context.Context    // until Close
	leave     context.CancelFunc // with mu, so that nothing begins to run after it
	running   sync.WaitGroup
	connected atomic.Bool
	behind    atomic.Bool   // the sorted set has to be read
	wake      chan struct{} // talk has something to do
	again     chan struct{} // talk need not wait: Redis has answered

	mu        sync.Mutex // never held while Redis is asked
	cooldowns []*restyretry.Cooldown
	waits     waits
	warned    time.Time
}

// Join makes this process a member of the fleet called name. The caller may go on
// using client, and must close the fleet before it closes the client. Join returns
// at once, even without Redis: the process then joins as soon as it can be reached.
//
// It is an error if client is nil or a nil pointer, or if name is not 1 to 128 bytes
// of letters, digits, punctuation and symbols other than braces.
//
// The fleet has a connection of its own that listens, and now and then uses one or
// two of the client's pool. A command takes a second at most if ContextTimeoutEnabled
// is set in the client's options, and otherwise as long as the client's own timeouts
// allow.
func Join(client redis.UniversalClient, name string) (*Fleet, error) {
	if isNil(client) {
		return nil, errors.New("redisretry: the client is nil")
	}
	if !isName(name) {
		return nil, errors.New("redisretry: the name must be 1 to 128 bytes of visible characters without braces")
	}
	f := &Fleet{
		client: client,
		name:   name,
		cool:   "restyretry:{" + name + "}:cool",
		wake:   make(chan struct{}, 1),
		again:  make(chan struct{}, 1),
		waits:  make(waits),
	}
	f.ctx, f.leave = context.WithCancel(context.Background())
	f.running.Go(f.listen)
	f.running.Go(f.talk)
	return f, nil
}

// isNil reports whether client is nil, or a nil pointer: to call that panics.
func isNil(client redis.UniversalClient) bool {
	v := reflect.ValueOf(client)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

func isName(name string) bool {
	return name != "" && len(name) <= nameLongest && !strings.ContainsFunc(name, func(r rune) bool {
		return r == '{' || r == '}' || r == unicode.ReplacementChar || r == ' ' || !unicode.IsPrint(r)
	})
}

// Cooldown makes c share with the fleet what servers tell it. Call it once for c,
// before its first use, and on one fleet only.
//
// Several Cooldowns of a fleet, in one process or in many, are one: what one of
// them is told, all of them hear, and a key means the same in each. To keep two
// apart, let their Key functions return different keys, or join two fleets.
//
// Cooldown does nothing after Close, or if c is nil.
func (f *Fleet) Cooldown(c *restyretry.Cooldown) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c == nil || f.isClosed() {
		return
	}
	c.Share(func(key string, d time.Duration) { f.tell(c, key, d) })
	f.cooldowns = append(f.cooldowns, c)
	f.catchUpSoon()
}

// Connected reports whether this process listens to the others. It is for metrics:
// nothing has to wait for it.
func (f *Fleet) Connected() bool { return f.connected.Load() }

// Close leaves the fleet. Cooldowns and Budgets go on by themselves, with what they
// know. Close waits until the goroutines and the connection of f have ended, but at
// most a second; if Redis does not answer they end later, by the client's own
// timeouts. Further calls do nothing.
func (f *Fleet) Close() {
	f.mu.Lock()
	f.leave()
	f.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		f.running.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(closePatience):
	}
}

func (f *Fleet) isClosed() bool { return f.ctx.Err() != nil }

// warn logs that Redis cannot be used, once a minute. The reason is err.
func (f *Fleet) warn(err error) {
	if f.isClosed() || !f.mayWarn(time.Now()) {
		return
	}
	slog.Default().Warn("restyretry: the fleet has no Redis, this process goes by itself",
		slog.String("fleet", f.name), slog.Any("error", err))
}

func (f *Fleet) mayWarn(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.warned.IsZero() && now.Sub(f.warned) < warnEvery {
		return false
	}
	f.warned = now
	return true
}

// command returns the context of one command.
func (f *Fleet) command() (context.Context, context.CancelFunc) {
	return context.WithTimeout(f.ctx, commandTimeout)
}

// pause lasts for a random time from d/2 to d, or until Close or a sign that it
// is of no more use. A nil channel gives none.
func (f *Fleet) pause(d time.Duration, useless <-chan struct{}) {
	select {
	case <-time.After(d/2 + rand.N(d/2)):
	case <-useless:
	case <-f.ctx.Done():
	}
}
