// A room that hangs: it lives, yet does nothing any more. This file owns how that
// is noticed.

package parent

import (
	"runtime"
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
	p.family.lostLines(imsg.Parent, &p.family.linesLost, p.log.Lost())
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
				p.endHung(m)
				continue
			}
		case m.Silent() >= maxSilent:
			m.log.Error("room hangs", "pid", m.PID, "unanswered", maxSilent)
			p.endHung(m)
			continue
		}
		m.Ping((maxSilent+1)*p.askEvery, func(a *imsg.Pong) {
			p.post(func() {
				p.family.count(&m.goroutines, a.Goroutines)
				p.family.lostLines(m.Name, &m.linesLost, a.LinesLost)
			})
		})
		p.tellLoad(m)
	}
}

// endHung ends a room that hangs.
func (p *parent) endHung(m *child) {
	m.hung = true
	p.family.trouble(imsg.FindingHung, m.Name.String(), "it did not answer")
	m.Kill()
}

// tellLoad tells a room the load average, if that is for it.
func (p *parent) tellLoad(m *child) {
	if m.has(loadAverage) {
		m.tell(&imsg.Load{Average: p.Load()})
	}
}
