package redisretry

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restyretry/restyretry"
)

// add adds a wait for a key that cools down.
func add(ws waits, c *restyretry.Cooldown, key string, d time.Duration) {
	c.Hold(key, d)
	ws.add(key, wait{cooldown: c, ends: time.Now().Add(d)}, time.Now())
}

func TestWaitsAreSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws, c := waits{}, new(restyretry.Cooldown)
		add(ws, c, "a", time.Minute)
		time.Sleep(10 * time.Second)
		key, w, d := ws.next(time.Now())
		if key != "a" || d != 50*time.Second {
			t.Fatalf("got %q for %v, want a for 50s: what is left", key, d)
		}
		ws.markSent(key, w)
		if key, _, d := ws.next(time.Now()); d != 0 {
			t.Errorf("got %q for %v again, want nothing", key, d)
		}
	})
}

func TestNewerWaitIsSentToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws, c := waits{}, new(restyretry.Cooldown)
		add(ws, c, "a", time.Minute)
		key, w, _ := ws.next(time.Now())
		add(ws, c, "a", 2*time.Minute) // while the first is sent
		ws.markSent(key, w)
		if key, _, d := ws.next(time.Now()); d != 2*time.Minute {
			t.Errorf("got %q for %v, want a for 2m", key, d)
		}
	})
}

func TestShorterWaitDoesNotReplaceALongerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws, c := waits{}, new(restyretry.Cooldown)
		add(ws, c, "a", time.Minute)
		add(ws, &restyretry.Cooldown{Max: 8 * time.Second}, "a", 8*time.Second)
		if key, _, d := ws.next(time.Now()); d != time.Minute {
			t.Errorf("got %q for %v, want a for 1m", key, d)
		}
		c.Hold("a", 0)
		add(ws, c, "a", 8*time.Second)
		if key, _, d := ws.next(time.Now()); d != 8*time.Second {
			t.Errorf("got %q for %v, want a for 8s: the longer one was ended", key, d)
		}
	})
}

func TestWaitsAreForgottenWhenTheyAreOver(t *testing.T) {
	for name, end := range map[string]func(*restyretry.Cooldown){
		"by time":      func(*restyretry.Cooldown) { time.Sleep(time.Minute) },
		"by a Hold of": func(c *restyretry.Cooldown) { c.Hold("a", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ws, c := waits{}, new(restyretry.Cooldown)
				add(ws, c, "a", time.Minute)
				end(c)
				if key, _, d := ws.next(time.Now()); d != 0 || len(ws) != 0 {
					t.Errorf("got %q for %v and %d waits, want none", key, d, len(ws))
				}
			})
		})
	}
}

func TestWaitsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws, c := waits{}, new(restyretry.Cooldown)
		fill := func(from string, d time.Duration) {
			for i := range waitsMost {
				add(ws, c, fmt.Sprint(from, i), d)
			}
		}
		fill("a", time.Minute)
		add(ws, c, "late", time.Minute)
		if _, ok := ws["late"]; ok || len(ws) != waitsMost {
			t.Errorf("got %d waits, want the first %d as none has been sent", len(ws), waitsMost)
		}
		ws.markSent("a7", ws["a7"])
		add(ws, c, "late", time.Minute)
		if _, ok := ws["late"]; !ok || len(ws) != waitsMost {
			t.Errorf("got %d waits, want %d and the late one in place of the one that was sent", len(ws), waitsMost)
		}
		time.Sleep(time.Minute + 1)
		fill("b", time.Minute)
		if _, ok := ws["b63"]; !ok || len(ws) != waitsMost {
			t.Errorf("got %d waits, want %d in place of those that are over", len(ws), waitsMost)
		}
	})
}
