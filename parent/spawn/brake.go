// How fast processes that die are started again. This file owns the pauses.

package spawn

import "time"

const (
	settled    = 10 * time.Second // a process that lived so long has not died early
	firstPause = 100 * time.Millisecond
	longPause  = 30 * time.Second
)

// Brake is how many processes in a row have died early, or could not be started.
type Brake int

// After is the brake when a process has ended that lived so long.
func (b Brake) After(lived time.Duration) Brake {
	if lived > settled {
		return 0
	}
	return b + 1
}

// Pause is what is waited before the next start: nothing, or the longer the more
// have died.
func (b Brake) Pause() time.Duration {
	if b == 0 {
		return 0
	}
	return min(firstPause<<min(b-1, 16), longPause)
}
