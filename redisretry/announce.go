package redisretry

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/restyretry/restyretry"
)

const (
	waitsMost    = 64
	catchUpEvery = time.Minute
	backOffFirst = 250 * time.Millisecond
	backOffMost  = 4 * time.Second
)

// waits are what servers have asked of this process itself, by key.
type waits map[string]wait

type wait struct {
	cooldown *restyretry.Cooldown // that holds it
	ends     time.Time
	sent     bool
}

// tell takes in a wait that a server has asked of c: the other Cooldowns of this
// process hold it at once, and talk tells the other processes. It never blocks.
func (f *Fleet) tell(c *restyretry.Cooldown, key string, d time.Duration) {
	if f.isClosed() {
		return
	}
	f.hold(key, d, c)
	now := time.Now()
	f.mu.Lock()
	f.waits.add(key, wait{cooldown: c, ends: now.Add(d)}, now)
	f.mu.Unlock()
	signal(f.wake)
}

// hold has all Cooldowns hold key, but for the one that knows.
func (f *Fleet) hold(key string, d time.Duration, knows *restyretry.Cooldown) {
	f.mu.Lock()
	cooldowns := slices.Clone(f.cooldowns)
	f.mu.Unlock()
	for _, c := range cooldowns {
		if c != knows {
			c.Hold(key, d)
		}
	}
}

// signal never blocks: c has room for one, and one is enough.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// talk says to Redis what there is to say, and asks it what the others have said
// before this process listened, and once a minute in case a message was lost.
func (f *Fleet) talk() {
	backOff := backOffFirst
	for f.ctx.Err() == nil {
		if err := cmp.Or(f.announce(), f.catchUp()); err != nil {
			f.warn(err)
			f.pause(backOff, f.again)
			backOff = min(2*backOff, backOffMost)
			continue
		}
		backOff = backOffFirst
		select {
		case <-f.wake:
		case <-time.After(catchUpEvery*9/10 + rand.N(catchUpEvery/5)):
			f.behind.Store(true)
		case <-f.ctx.Done():
		}
	}
}

// announce sends what has not been sent.
func (f *Fleet) announce() error {
	for {
		key, w, d := f.nextWait()
		if d <= 0 {
			return nil
		}
		ctx, cancel := f.command()
		err := announceScript.Run(ctx, f.client, []string{f.cool}, key, d.Milliseconds()).Err()
		cancel()
		if err != nil {
			return err
		}
		f.mu.Lock()
		f.waits.markSent(key, w)
		f.mu.Unlock()
	}
}

func (f *Fleet) nextWait() (key string, w wait, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waits.next(time.Now())
}

// catchUp asks what cools down, if that has to be asked.
func (f *Fleet) catchUp() error {
	if !f.behind.Swap(false) {
		return nil
	}
	ctx, cancel := f.command()
	defer cancel()
	messages, err := catchUpScript.Run(ctx, f.client, []string{f.cool}).StringSlice()
	if err != nil {
		f.behind.Store(true)
		return err
	}
	for _, m := range messages {
		f.hear(m)
	}
	return nil
}

func (f *Fleet) catchUpSoon() {
	f.behind.Store(true)
	signal(f.wake)
}

// repeat has all waits sent again that still hold: Redis may have lost them.
func (f *Fleet) repeat() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, w := range f.waits {
		w.sent = false
		f.waits[key] = w
	}
}

// left is how long w still holds, 0 or less if it is over or was ended by a Hold of 0.
func (w wait) left(key string, now time.Time) time.Duration {
	return min(w.ends.Sub(now), w.cooldown.Left(key))
}

// add puts w in the place of an earlier wait for the same key, unless that holds
// for longer. Where there are too many, one that is over or has been sent makes
// room; if there is none, w is dropped.
func (ws waits) add(key string, w wait, now time.Time) {
	earlier, known := ws[key]
	switch {
	case known && earlier.left(key, now) >= w.left(key, now):
	case known || len(ws) < waitsMost || ws.makeRoom(now):
		ws[key] = w
	}
}

func (ws waits) makeRoom(now time.Time) bool {
	for key, w := range ws {
		if w.sent || now.After(w.ends) {
			delete(ws, key)
			return true
		}
	}
	return false
}

// next returns a wait that has not been sent, and how long it still holds; 0 if
// there is none. It forgets what is over.
func (ws waits) next(now time.Time) (string, wait, time.Duration) {
	for key, w := range ws {
		d := w.left(key, now)
		switch {
		case d < time.Millisecond:
			delete(ws, key)
		case !w.sent:
			return key, w, d
		}
	}
	return "", wait{}, 0
}

// markSent notes that w was sent, unless there is a newer wait for key.
func (ws waits) markSent(key string, w wait) {
	if ws[key] == w {
		w.sent = true
		ws[key] = w
	}
}
