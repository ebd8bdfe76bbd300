package restyretry

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAHostThatIsDownIsTriedByOneRequestEverMoreSeldom(t *testing.T) {
	bubble(t, "up to once a minute", func(t *testing.T) {
		c := new(Cooldown)
		c.failed("primary", false)
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
			want *= time.Second
			start := time.Now()
			for pickOf(c, "primary", "standby") == 1 {
				c.failed("primary", false) // sent before it was down
				time.Sleep(10 * time.Millisecond)
			}
			if got := time.Since(start); got < want*4/5 || got > want*6/5+10*time.Millisecond {
				t.Errorf("got it passed over for %v, want %v by a fifth", got, want)
			}
			if pickOf(c, "primary", "standby") != 1 {
				t.Error("got a second request that tries it")
			}
			c.failed("primary", true) // one is enough now
		}
		time.Sleep(72 * time.Second)
		for i := range 3 {
			if pickOf(c, "primary", "standby") != 0 {
				t.Errorf("request %d: got it passed over, want it tried, and free after a success", i+1)
			}
			c.succeeded("primary")
			wantEntries(t, c, 0)
		}
		c.failed("primary", false)
		if time.Sleep(1200 * time.Millisecond); pickOf(c, "primary", "standby") != 0 {
			t.Error("after a success: got it passed over for longer than at first")
		}
	})
}

func TestARequestThatTriesAHostAndIsLostIsFollowedByAnotherAfter5Seconds(t *testing.T) {
	bubble(t, "primary", func(t *testing.T) {
		c := new(Cooldown)
		c.failed("primary", false)
		time.Sleep(2 * time.Second)
		for second := range 11 {
			if got, want := pickOf(c, "primary", "standby") == 0, second%5 == 0; got != want {
				t.Errorf("second %d: got it tried %t, want %t", second, got, want)
			}
			time.Sleep(time.Second)
		}
	})
}

func TestAHostIsDownAfterFiveFailuresInARow(t *testing.T) {
	for events, want := range map[string]bool{ // f: failed, n: not connected, s: succeeded, m, w: a minute, a second passes, p: picked
		"nwwp": true, "nwwpfwww": false, // one failure takes it down again, for 2 s
		"ffff": false, "fffff": true, "ffffsffff": false, "fffffs": false, "n": true, "ns": false, "ffffmf": false,
	} {
		bubble(t, events, func(t *testing.T) {
			c := new(Cooldown)
			for _, e := range events {
				switch e {
				case 'm':
					time.Sleep(time.Minute)
				case 'w':
					time.Sleep(time.Second)
				case 'p':
					pickOf(c, "primary", "standby")
				case 's':
					c.succeeded("primary")
				default:
					c.failed("primary", e == 'f')
				}
			}
			if got := pickOf(c, "primary", "standby") == 1; got != want {
				t.Errorf("got it passed over %t, want %t", got, want)
			}
		})
	}
}

// Upper case is down, a number the seconds for which a host cools down.
func TestOfAListTheFirstThatIsFreeIsPickedThenOneThatIsDown(t *testing.T) {
	for hosts, want := range map[string]int{
		"a b c": 0, "a 9 c": 0, "A b c": 1, "9 b c": 1, "9 B c": 2, "A 9 c": 2, "A B C": 0, "9 B C": 1, "9 B 8": 1, "9 8 7": 2, "7 9 8": 0,
		"9": 0, "- b": 0, "9 -": 1,
	} {
		bubble(t, hosts, func(t *testing.T) {
			c, keys := new(Cooldown), strings.Fields(hosts)
			for i, key := range keys {
				seconds, err := time.ParseDuration(key + "s")
				switch {
				case key == "-": // no key
					keys[i] = ""
				case err == nil:
					c.begin(key, seconds)
					c.failed(key, false) // cooling counts
				case key != strings.ToLower(key):
					c.failed(key, false)
				}
			}
			if got := pickOf(c, keys...); got != want {
				t.Errorf("got %d, want %d", got, want)
			}
		})
	}
}

func TestAListGoesElsewhereWhileAProbeIsOut(t *testing.T) {
	bubble(t, "primary", func(t *testing.T) {
		c, picked := new(Cooldown), ""
		pick := func() { picked += fmt.Sprint(pickOf(c, "primary", "standby")) }
		c.begin("primary", time.Minute)
		pick()
		time.Sleep(time.Minute)
		pick()
		p, _, _ := c.wait(t.Context(), "primary", 0, time.Time{})
		pick()
		p.done(true)
		if pick(); picked != "1010" {
			t.Errorf("got %s while it cools, after it, while the probe is out, after it; want 1010", picked)
		}
	})
}
