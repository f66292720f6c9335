// A room that hangs: it lives, yet does nothing any more. This file owns how that
// is noticed.

package parent

import (
	"runtime"
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	// askEvery is the time between two questions to a room, whether it works.
	askEvery = 10 * time.Second
	// maxSilent is how many in a row it may leave unanswered.
	maxSilent = 3
)

// askRooms ends the rooms that hang and asks all others whether they work. When
// we come to it late we did not run ourselves, and neither may they have, for all
// the family was stopped or the machine slept: then nothing counts that was before.
func (p *parent) askRooms(now time.Time) {
	late := now.Sub(p.lastAsked) > p.askEvery*3/2
	p.lastAsked = now
	p.family.count(&p.family.goroutines, uint32(runtime.NumGoroutine()))
	for _, m := range p.family.all() {
		switch {
		case m.stopping || m.Killed():
			continue
		case late:
			m.unready = 0
			m.ForgiveSilence()
		case !m.ready:
			if m.unready++; m.unready > maxSilent {
				m.log.Error("room does not get ready")
				m.Kill()
				continue
			}
		case m.Silent() >= maxSilent:
			m.log.Error("room hangs", "pid", m.PID, "unanswered", maxSilent)
			m.Kill()
			continue
		}
		m.Ping((maxSilent+1)*p.askEvery, func(a *imsg.Pong) {
			p.post(func() { p.family.count(&m.goroutines, a.Goroutines) })
		})
		p.tellLoad(m)
	}
}

// tellLoad tells a room the load average, if that is for it.
func (p *parent) tellLoad(m *child) {
	if slices.Contains(m.grants, loadAverage) {
		m.tell(&imsg.Load{Average: p.Load()})
	}
}
