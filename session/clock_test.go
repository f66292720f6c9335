package session

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestClock draws a life: signs of life, looks that come late, an idle limit. The
// session ends when it has been silent for its idle limit, never before, and at
// most a second behind, as long as no look is more than that of a look late.
func TestClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		idle := rapid.Int64Range(0, 5).Draw(t, "idle")
		delays := rapid.SliceOfN(rapid.IntRange(0, int(lookInterval)), 40, 40).Draw(t, "delays")
		signs := rapid.SliceOfN(rapid.Int64Range(0, int64(6*time.Second)), 0, 30).Draw(t, "signs")

		var s session
		s.idleLimit.Store(idle)
		s.touch()
		now, last := time.Duration(0), time.Duration(0)
		// live has the session see its signs of life up to a moment.
		live := func(until time.Duration) {
			for _, at := range signs {
				if at := time.Duration(at); now < at && at <= until {
					last = max(last, at)
					s.touch()
				}
			}
			now = until
		}
		for i, delay := range delays {
			live(time.Duration(i+1)*lookInterval + time.Duration(delay))
			begun := now
			// While others are looked at time goes by, and more may come.
			live(now + time.Duration(delay)/8)
			over := s.overdue(begun, func() time.Duration { return now })
			silent := now - last
			limit := time.Duration(idle) * time.Second
			switch {
			case over && silent < limit:
				t.Fatalf("look %d ends a session of idle limit %v after a silence of %v", i, limit, silent)
			case !over && silent > limit+time.Second:
				t.Fatalf("look %d leaves a session of idle limit %v that is silent for %v", i, limit, silent)
			case over:
				return
			}
		}
	})
}

// TestForever: what has no limit of the clock's does not end, and time-outs of a
// fraction of a second are rounded up.
func TestForever(t *testing.T) {
	var s session
	s.idleLimit.Store(forever)
	year := 365 * 24 * time.Hour
	if s.overdue(100*year, func() time.Duration { return 100 * year }) {
		t.Error("forever has ended")
	}
	for d, want := range map[time.Duration]int64{0: 0, 1: 1, time.Second: 1, time.Second + 1: 2, time.Minute: 60} {
		if got := seconds(d); got != want {
			t.Errorf("%v is %d s, want %d", d, got, want)
		}
	}
}
