package control

import (
	"sync"
	"time"
)

// logLimiter keeps a complaint that anybody can cause from filling the log.
type logLimiter struct {
	mu    sync.Mutex
	said  time.Time
	since int // causes that were not told yet
}

// due counts one more cause. It returns how many there were if it is time to tell, else
// 0.
func (l *logLimiter) due(now time.Time) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since++
	if now.Sub(l.said) < time.Minute {
		return 0
	}
	n, l.since, l.said = l.since, 0, now
	return n
}
