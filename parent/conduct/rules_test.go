package conduct

import (
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
		t.Run(e.Name, func(t *testing.T) {
			r := ruleFor(e.Type)
			if r == nil {
				t.Fatal("no rule")
			}
			if r.owed == (r.pace.Burst > 0) {
				t.Fatal("it is owed or has a pace, one of the two")
			}
			now, msg := time.Now(), e.New()
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
	if n := len(impostor.Sayable(imsg.Parent)); n != len(rules) {
		t.Errorf("%d rules for %d messages", len(rules), n)
	}
	for name, n := range map[string]int{"none": 0, "fewer than none": math.MinInt, "endless": math.MaxInt} {
		c := New("session 1", 4, false)
		if err := c.Judge(&imsg.Sockets{N: n}, true, time.Now()); err != nil || c.heard[imsg.Row(&imsg.Sockets{}).Type].Take(4096, time.Now()) {
			t.Errorf("%s sockets count for nothing, %v", name, err)
		}
	}
	c := New("session 1", 4, false)
	if err := c.Judge(&imsg.Start{}, true, time.Now()); err != errNoRule {
		t.Errorf("what the parent says itself: %v", err)
	}
}
