package relay

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestClock draws a life: signs of life, looks that come late, a limit. The
// session ends when it has been silent for its limit, never before, and at
// most a second behind, as long as no look is more than that of a look late.
func TestClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const look = 250 * time.Millisecond
		limit := time.Duration(rapid.Int64Range(0, int64(5*time.Second)).Draw(t, "limit"))
		delays := rapid.SliceOfN(rapid.IntRange(0, int(look)), 40, 40).Draw(t, "delays")
		signs := rapid.SliceOfN(rapid.Int64Range(0, int64(6*time.Second)), 0, 30).Draw(t, "signs")

		var s shared
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
			live(time.Duration(i+1)*look + time.Duration(delay))
			over := s.overdue(now, limit)
			silent := now - last
			switch {
			case over && silent < limit:
				t.Fatalf("look %d ends a session of limit %v after a silence of %v", i, limit, silent)
			case !over && silent > limit+time.Second:
				t.Fatalf("look %d leaves a session of limit %v that is silent for %v", i, limit, silent)
			case over:
				return
			}
		}
	})
}

// TestTimeBegins: a session's time begins with it, however long its worker has run.
func TestTimeBegins(t *testing.T) {
	for seed := range uint64(20) {
		d := newDrive(seed, 0, true)
		if d.relay.Tick(d.now) || d.relay.Over() {
			t.Fatalf("session %d ends at the first look: %+v", seed, d.relay.Status())
		}
	}
}

// TestHandshakeTime: of what TLS takes each part ends in time: by itself, or by ours.
func TestHandshakeTime(t *testing.T) {
	cfg := &imsg.SessionConfig{TimeoutIdle: time.Minute, TimeoutLookup: time.Second}
	for h, want := range map[handshake]time.Duration{
		noHandshake: cfg.TimeoutIdle, withServer: forever, redialing: forever, replaying: cfg.TimeoutLookup,
		readyTold:  cfg.TimeoutIdle, // the client may take no word of it
		withClient: forever, moving: forever,
	} {
		c := client{shared: &shared{Facts: &Facts{Config: cfg}, handshake: h}}
		if got := c.patience(false); got != want {
			t.Errorf("handshake %d: %v, want %v", h, got, want)
		}
	}
}
