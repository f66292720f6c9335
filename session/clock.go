// The worker's clock: how long each session has been silent, and whose time is
// over. A sign of life costs a session one store, whoever gives it; when it was is
// for the clock to say, which looks at everybody four times a second. So a session
// never ends early, and late by two looks at most.

package session

import (
	"maps"
	"time"
)

const (
	// lookInterval is the time from one look of the clock to the next.
	lookInterval = 250 * time.Millisecond
	// forever is an idle limit no clock reaches, in seconds.
	forever = 1 << 40
)

func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// touch is a sign of life.
func (s *session) touch() { s.active.Store(true) }

// overdue tells whether the session has been silent for its idle limit; elapsed is
// the worker's clock, and now what it said when this look began. What came since
// the last look counts as if it came now.
func (s *session) overdue(now time.Duration, elapsed func() time.Duration) bool {
	if s.active.Load() {
		s.active.Store(false)
		s.lastActive = elapsed()
		return false
	}
	return int64((now-s.lastActive)/time.Second) >= s.idleLimit.Load()
}

// tick is the worker's clock. It ends the sessions whose time is over, and sends
// the counters once a second.
func (w *worker) tick() {
	start := time.Now()
	elapsed := func() time.Duration { return time.Since(start) }
	t := time.NewTicker(lookInterval)
	for looks := 1; ; looks++ {
		<-t.C
		w.checkSessions(elapsed(), elapsed)
		if looks%int(time.Second/lookInterval) == 0 {
			w.flushCounts()
		}
	}
}

// checkSessions ends the sessions whose time is over, or whose client has gone.
func (w *worker) checkSessions(now time.Duration, elapsed func() time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sessions {
		switch {
		case s.overdue(now, elapsed):
			s.expire()
		case s.idleLimit.Load() == forever && s.abandoned():
			s.end("client")
		}
	}
	// Who was admitted is in sessions by then, or has gone.
	maps.DeleteFunc(w.lockedEarly, func(_ uint64, since time.Time) bool { return time.Since(since) > admissionWait })
}
