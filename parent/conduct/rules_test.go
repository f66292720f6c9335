package conduct

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/impostor"
)

// TestRules: every message a room may say has its rule, and each rule holds in every
// state and against a flood.
func TestRules(t *testing.T) {
	for _, e := range impostor.Sayable(imsg.Parent) {
		if ruleFor(e.New()) == nil {
			t.Errorf("%s has no rule", e.Name)
		}
	}
	for i := range rules {
		msg := rules[i].message
		t.Run(fmt.Sprintf("%T %+v", msg, msg), func(t *testing.T) {
			r := ruleFor(msg)
			if r != &rules[i] {
				t.Fatal("another rule comes before it")
			}
			if r.owed == (r.pace.Burst > 0) {
				t.Fatal("it is owed or has a pace, one of the two")
			}
			now := time.Now()
			expect := func(c *Record, working bool, want error) {
				t.Helper()
				if err := c.Judge(msg, working, now); err != want {
					t.Errorf("working %t: %v, want %v", working, err, want)
				}
			}
			c := New("session 1", 4, false)
			if r.owed {
				for _, working := range []bool{false, true} {
					expect(c, working, errNotAsked)
					c.Ask(msg)
					expect(c, working, nil)
					expect(c, working, errNotAsked)
				}
				return
			}
			if r.working {
				expect(c, false, errNotWorking)
			}
			for range r.pace.Burst {
				expect(c, true, nil)
			}
			expect(c, true, errTooOften)
			now = now.Add(r.pace.Every)
			expect(c, true, nil)
			expect(c, true, errTooOften)
		})
	}
	for name, n := range map[string]int{"none": 0, "fewer than none": math.MinInt, "endless": math.MaxInt} {
		c := New("session 1", 4, false)
		if err := c.Judge(&imsg.Sockets{N: n}, true, time.Now()); err != nil || c.heard[ruleFor(&imsg.Sockets{})].Take(4096, time.Now()) {
			t.Errorf("%s sockets count for nothing, %v", name, err)
		}
	}
	c := New("session 1", 4, false)
	if err := c.Judge(&imsg.Start{}, true, time.Now()); err != errNoRule {
		t.Errorf("what the parent says itself: %v", err)
	}
}

// TestShortages: a room that lacks descriptors for hours, and reports it as often as it may,
// breaks no rule and is as free to report a lie as before; one that reports more often is
// ended.
func TestShortages(t *testing.T) {
	short, lie := &imsg.BadPeer{Fault: imsg.Shortage}, &imsg.BadPeer{Fault: imsg.Unsayable}
	c, now := New("scand 1", 2, false), time.Now()
	for end := now.Add(3 * time.Hour); now.Before(end); now = now.Add(imsg.Shortages.Every) {
		if err := c.Judge(short, true, now); err != nil {
			t.Fatal(err)
		}
	}
	for range ruleFor(lie).pace.Burst {
		if err := c.Judge(lie, true, now); err != nil {
			t.Fatal(err)
		}
	}
	for end := now.Add(time.Hour); now.Before(end); now = now.Add(imsg.Shortages.Every / 3) {
		if c.Judge(short, true, now) == errTooOften {
			return
		}
	}
	t.Error("it goes on for ever")
}
