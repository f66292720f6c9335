package relay

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns how long a session may be silent.

// clock is when a session last gave a sign of life. A sign costs one store; when it was
// is for the driver's clock to say. So a session never ends early, and late by two of
// its looks at most.
type clock struct {
	active bool          // there was a sign of life since the last look
	last   time.Duration // what the clock said at the last one
	now    time.Duration // what it said last
	first  time.Duration // and at first
	left   time.Duration // since when the client has closed its half while it waits; 0: it has not
}

const (
	// forever is more than any clock shows.
	forever = 1 << 62

	// answerWait is how long a server may think about a message it has whole (RFC
	// 5321, 4.5.3.2.6). Who hangs up sooner does not know whether it was taken, and
	// the client sends it again.
	answerWait = 10 * time.Minute

	// LingerWait is how long a client has to take our last words and close, and a server
	// to take its QUIT.
	LingerWait = 2 * time.Second

	// LeftWait is how long a client may wait for what has no limit once it has closed
	// its writing half. It still gets what it is owed, but it may as well have gone.
	LeftWait = 10 * time.Second
)

// touch is a sign of life.
func (s *shared) touch() { s.clock.active = true }

// overdue tells whether the session has been silent for its limit.
func (s *shared) overdue(now, limit time.Duration) bool {
	s.clock.now = now
	if s.clock.first == 0 {
		s.clock.first = now
	}
	if s.clock.active {
		s.clock.active, s.clock.last = false, now
		return false
	}
	return now-s.clock.last >= limit
}

// stirs tells whether what the client says is a sign of life: not behind our last
// words, nor in a takeover, whose time is limited as a whole.
func (c *client) stirs() bool { return c.fate[Client] == Open && (!c.taken || c.resting()) }

// patience is how long the session may be silent. A question has limits of its own.
func (c *client) patience(asking bool) time.Duration {
	cfg := c.Config
	switch {
	case c.fate[Client] == Half:
		return LingerWait
	case asking, c.handshake == withServer, c.handshake == redialing, c.handshake == withClient, c.handshake == moving: // which have a time of their own
		return forever
	case c.mayMove() && cfg.TimeoutConnect > 0:
		return cfg.TimeoutConnect
	case c.introducing, c.handshake == replaying:
		return imsg.Limit(cfg.TimeoutLookup)
	case c.taken && !c.resting():
		return imsg.Limit(cfg.TimeoutSession)
	case c.passing():
		return cfg.TimeoutDirect
	case c.answerPending:
		return max(cfg.TimeoutIdle, answerWait)
	}
	return cfg.TimeoutIdle
}
