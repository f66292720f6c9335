// What a room leaves behind. Rooms have no children, but for the one that runs scripts:
// what bears their mark and is no room has broken out of one, and holds its links and its
// sockets. This file owns that such a process ends, and that all others which become
// ours, a script's job or a daemon that was started anew, go on and are reaped.

package spawn

import (
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

// sweepPause is the least time from one look for orphans to the next. Every process is
// looked at, and one that starts others without end must not keep us busy.
const sweepPause = 100 * time.Millisecond

// Orphans are the processes that rooms leave behind, and the search for them. One
// goroutine calls its methods.
type Orphans struct {
	Log *slog.Logger
	// Later has that goroutine do something after a while.
	Later func(time.Duration, func())

	ours    map[int]bool // processes whose end is waited for
	last    time.Time    // a look
	due     bool         // another
	said    map[int]bool // those that were named in the log
	waiting bool         // with our own end
	givenUp bool         // that wait
}

// Adopt has orphans become ours, and not init's. If we bear a room's mark ourselves we
// could not tell those of rooms from others, and leave them alone.
func (o *Orphans) Adopt() error {
	if sandbox.Marked(os.Getpid()) {
		return nil
	}
	return host.AdoptOrphans()
}

// Expect says that a process is one of ours, whose end is waited for by others.
func (o *Orphans) Expect(pid int) {
	if o.ours == nil {
		o.ours = make(map[int]bool)
	}
	o.ours[pid] = true
}

// Ended says that one of ours has ended, and looks for what it has left behind.
func (o *Orphans) Ended(pid int) {
	delete(o.ours, pid)
	o.SweepSoon()
}

// SweepSoon looks for orphans now or, if that was just done, a little later.
func (o *Orphans) SweepSoon() {
	if o.due {
		return
	}
	pause := sweepPause - time.Since(o.last)
	if pause <= 0 {
		o.sweep()
		return
	}
	o.due = true
	o.Later(pause, func() {
		o.due = false
		o.sweep()
	})
}

// sweep ends those that it finds and tells whether there were any. The end of each is a
// reason to look again: its children become ours.
func (o *Orphans) sweep() (found bool) {
	o.last = time.Now()
	said := make(map[int]bool)
	for _, c := range host.Children() {
		switch {
		case o.ours[c.PID]:
		case c.Ended && c.Reap():
		case sandbox.Marked(c.PID):
			found = true
			err := unix.Kill(c.PID, unix.SIGKILL)
			if said[c.PID] = true; !o.said[c.PID] {
				o.Log.Error("a room has left a process behind, it is ended", "pid", c.PID, "error", err)
			}
		}
	}
	o.said = said
	return found
}

// Left tells, when the last room has ended, whether our own end must wait for orphans:
// not for ever. As long as it says so there will be something for Later to do.
func (o *Orphans) Left() bool {
	if o.givenUp || !o.sweep() {
		return false
	}
	if !o.waiting {
		o.waiting = true
		o.Later(Grace, func() { o.givenUp = true })
	}
	return true
}
