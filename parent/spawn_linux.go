package parent

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// slack is how late a room's timers may be, in nanoseconds. The Go runtime has a
// thread that looks around every 20 µs while there is work; in rooms that wake
// for a few microseconds at a time it was a sixth of the cost. Nothing we time is
// finer than this.
const slack = 1_000_000

// relaxed starts a process whose threads inherit the slack (prctl(2),
// PR_SET_TIMERSLACK: kept across fork and exec).
func relaxed(start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Prctl(unix.PR_SET_TIMERSLACK, slack, 0, 0, 0) == nil {
		defer unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // back to our own
	}
	return start()
}
