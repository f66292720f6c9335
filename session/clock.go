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
	// look is the time from one look of the clock to the next.
	look = 250 * time.Millisecond
	// forever is a patience no clock reaches, in seconds.
	forever = 1 << 40
)

func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// touch is a sign of life.
func (s *session) touch() { s.alive.Store(true) }

// overdue tells whether the session has been silent for its patience; elapsed is
// the worker's clock, and now what it said when this look began. What came since
// the last look counts as if it came now.
func (s *session) overdue(now time.Duration, elapsed func() time.Duration) bool {
	if s.alive.Load() {
		s.alive.Store(false)
		s.silent = elapsed()
		return false
	}
	return int64((now-s.silent)/time.Second) >= s.patience.Load()
}

// tick is the worker's clock. It ends the sessions whose time is over, and sends
// the counters once a second.
func (w *worker) tick() {
	start := time.Now()
	elapsed := func() time.Duration { return time.Since(start) }
	t := time.NewTicker(look)
	for looks := 1; ; looks++ {
		<-t.C
		w.look(elapsed(), elapsed)
		if looks%int(time.Second/look) == 0 {
			w.flushCounts()
		}
	}
}

// look ends the sessions whose time is over, or whose client has gone.
func (w *worker) look(now time.Duration, elapsed func() time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sessions {
		switch {
		case s.overdue(now, elapsed):
			s.expire()
		case s.patience.Load() == forever && s.abandoned():
			s.end("client")
		}
	}
	// Who was admitted has taken its first step by then, or has left.
	maps.DeleteFunc(w.early, func(_ uint64, since time.Time) bool { return time.Since(since) > admissionWait })
}
