// The worker's clock: it looks at each session four times a second, ends those whose
// time is over, and tells lockd once a second what it has seen.

package session

import (
	"maps"
	"time"

	"github.com/smtp-gated/smtp-gated/session/relay"
)

// lookInterval is the time from one look of the clock to the next.
const lookInterval = 250 * time.Millisecond

// tick is the worker's clock.
func (w *worker) tick() {
	start := time.Now()
	t := time.NewTicker(lookInterval)
	for looks := 1; ; looks++ {
		<-t.C
		w.checkSessions(start)
		if looks%int(time.Second/lookInterval) == 0 {
			w.report()
		}
	}
}

// checkSessions ends the sessions whose time is over, or whose client has gone.
func (w *worker) checkSessions(start time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.sessions.All() {
		s.look(time.Since(start))
	}
	// Who was admitted is in sessions by then, or has gone.
	maps.DeleteFunc(w.early, func(_ uint64, e early) bool { return time.Since(e.since) > admissionWait })
}

// look tells the relay what the clock shows, and whether its client has gone while
// nobody reads it. What that comes to is done by another goroutine: the clock waits
// for nobody.
func (s *session) look(now time.Duration) {
	defer s.guard()
	s.mu.Lock()
	defer s.unlock()
	s.callLate(time.Now())
	switch {
	case s.over():
	case s.relay != nil:
		due := s.late(relay.Client) || s.late(relay.Server)
		due = s.relay.Tick(now) || due
		if s.relay.AwaitsClient() {
			if half, whole := s.client.Closed(); half || whole {
				due = s.relay.ClientLeft(whole) || due
			}
		}
		if due || len(s.questions) > 0 {
			s.follow()
		}
	case s.abandoned():
		s.endLocked("client")
	}
}
