// What a room leaves behind. Rooms have no children, but for the one that runs scripts:
// what bears their mark and is no room has broken out of one, and holds its links and its
// sockets. This file owns that such a process ends, and that all others which become
// ours, a script's job or a daemon that was started anew, go on and are reaped.

package parent

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
	"github.com/smtp-gated/smtp-gated/parent/spawn"
)

// sweepPause is the least time from one look for orphans to the next. Every process is
// looked at, and one that starts others without end must not keep us busy.
const sweepPause = 100 * time.Millisecond

// orphans is how they are looked for.
type orphans struct {
	rooms   map[int]bool // processes whose end is waited for
	last    time.Time    // a look
	due     bool         // another
	said    map[int]bool // those that were named in the log
	waiting bool         // with our own end
	givenUp bool         // that wait
}

// adoptOrphans has those of rooms become ours. If we bear a room's mark ourselves we could
// not tell them from others.
func (p *parent) adoptOrphans() error {
	if sandbox.Marked(os.Getpid()) {
		return nil
	}
	return host.AdoptOrphans()
}

// sweepSoon looks for orphans now or, if that was just done, a little later.
func (p *parent) sweepSoon() {
	if p.orphans.due {
		return
	}
	pause := sweepPause - time.Since(p.orphans.last)
	if pause <= 0 {
		p.sweep()
		return
	}
	p.orphans.due = true
	p.later(pause, func() {
		p.orphans.due = false
		p.sweep()
	})
}

// sweep ends those that it finds and tells whether there were any. The end of each is a
// reason to look again: its children become ours.
func (p *parent) sweep() (found bool) {
	p.orphans.last = time.Now()
	said := make(map[int]bool)
	for _, c := range host.Children() {
		switch {
		case p.orphans.rooms[c.PID]:
		case c.Ended:
			c.Reap()
		case sandbox.Marked(c.PID):
			found = true
			err := unix.Kill(c.PID, unix.SIGKILL)
			if said[c.PID] = true; !p.orphans.said[c.PID] {
				p.log.Error("a room has left a process behind, it is ended", "pid", c.PID, "error", err)
			}
		}
	}
	p.orphans.said = said
	return found
}

// left tells, when the last room has ended, whether our own end must wait for orphans:
// not for ever.
func (p *parent) left() bool {
	if p.orphans.givenUp || !p.sweep() {
		return false
	}
	if !p.orphans.waiting {
		p.orphans.waiting = true
		p.later(spawn.Grace, func() { p.orphans.givenUp = true })
	}
	return true
}
