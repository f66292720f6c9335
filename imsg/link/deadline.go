// Deadlines: until when an asker waits for its answer. They cross the wire, so
// that a room that was held up judges nothing whose asker has gone. This file
// owns the clock that all rooms of a machine share; nobody can set it.

package link

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is CLOCK_MONOTONIC in nanoseconds: the same in every process. The runtime
// reads that clock, too, and mostly without a system call.
func monotonic() int64 { return clockThen + int64(time.Since(then)) }

// then is a moment, and clockThen what the clock showed.
var then, clockThen = time.Now(), clock()

func clock() int64 {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

// Late tells whether the asker waits no more. What is judged only after some
// work, or after a wait, is to be held against it once more then. What is told or
// reported is never late.
func (r Request) Late() bool { return !r.Until.IsZero() && !time.Now().Before(r.Until) }
