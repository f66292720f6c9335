// How often something may be said. This file owns the counting; who counts what, and
// what becomes of one who says too much, stands where it is heard.

package imsg

import "time"

// Pace is how often something may be said: Burst times at once, and once more each
// Every.
type Pace struct {
	Burst int
	Every time.Duration
}

// Meter counts by a pace. It is for one goroutine.
type Meter struct {
	Pace
	spent time.Time // when all that was said will be forgotten
}

// Take counts n more at a moment, and tells whether that was not too much.
func (m *Meter) Take(n int, now time.Time) bool {
	if m.spent.Before(now) {
		m.spent = now
	}
	spent := m.spent.Add(time.Duration(n) * m.Every)
	if spent.Sub(now) > time.Duration(m.Burst)*m.Every {
		return false
	}
	m.spent = spent
	return true
}
