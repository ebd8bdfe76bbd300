package redisretry

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	silenceMost = 5 * time.Second // then a PING
	answerMost  = time.Second     // then a new subscription
	listenAgain = 500 * time.Millisecond

	longest    = 5 * time.Minute // for which anybody may have a key cool down
	keyLongest = 256             // bytes, as in restyretry.Cooldown
)

// listen hears the others until Close.
func (f *Fleet) listen() {
	for f.ctx.Err() == nil {
		err := f.subscribe()
		f.connected.Store(false)
		f.warn(err)
		f.pause(listenAgain, nil)
	}
}

// subscribe listens until something goes wrong. It does not use the channel of
// go-redis, which gives no sign of its own failures.
func (f *Fleet) subscribe() error {
	sub := f.client.Subscribe(f.ctx, f.cool)
	defer sub.Close()
	defer context.AfterFunc(f.ctx, func() { sub.Close() })() // ends a read
	asked := true                                            // an answer is due: at first, that to the subscription
	for {
		patience := silenceMost
		if asked {
			patience = answerMost
		}
		received, err := sub.ReceiveTimeout(f.ctx, patience)
		switch {
		case err == nil:
			asked = false
			f.receive(received)
		case asked || !isTimeout(err):
			return err
		default:
			asked = true
			if err := sub.Ping(f.ctx); err != nil {
				return err
			}
		}
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func (f *Fleet) receive(received any) {
	switch r := received.(type) {
	case *redis.Subscription:
		f.connected.Store(true)
		f.repeat()
		f.catchUpSoon()
		signal(f.again)
	case *redis.Message:
		f.hear(r.Payload)
	}
}

// hear does as a message says, if it is one.
func (f *Fleet) hear(message string) {
	if key, d, ok := parse(message); ok {
		f.hold(key, d, nil)
	}
}

// parse reads a message, "<milliseconds> <key>". A time is cut to 5 minutes:
// anybody may have written it.
func parse(message string) (key string, d time.Duration, ok bool) {
	text, key, _ := strings.Cut(message, " ")
	if key == "" || len(key) > keyLongest {
		return "", 0, false
	}
	ms, err := strconv.ParseUint(text, 10, 64)
	if err != nil || ms == 0 {
		return "", 0, false
	}
	return key, time.Duration(min(ms, uint64(longest.Milliseconds()))) * time.Millisecond, true
}
