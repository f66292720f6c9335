// A room that hangs: it lives, yet does nothing any more. This file owns how that
// is noticed, and what becomes of a room that not even KILL ends.

package parent

import (
	"errors"
	"slices"
	"time"
)

const (
	// askEvery is the time between two questions to a room, whether it works.
	askEvery = 10 * time.Second
	// maxSilent is how many in a row it may leave unanswered.
	maxSilent = 3
)

// errUndead is the cause of the end of a room that has not ended.
var errUndead = errors.New("KILL does not end it")

// askRooms ends the rooms that hang and asks all others whether they work. When
// we come to it late we did not run ourselves, and neither may they have, for all
// the family was stopped or the machine slept: then nothing counts that was before.
func (p *parent) askRooms(now time.Time) {
	late := now.Sub(p.lastAsked) > p.askEvery*3/2
	p.lastAsked = now
	for _, m := range slices.Clone(p.children) {
		switch {
		case m.stopping || m.Killed():
			continue
		case late:
			m.unready = 0
			m.Excuse()
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
		m.Ping((maxSilent + 1) * p.askEvery)
	}
}

// abandon gives up a room that was killed and is there still: the kernel waits
// with it, for a disk as a rule. Another takes its place, but only one: if that
// hangs as well, the next comes when it has died.
func (p *parent) abandon(m *child) {
	if !slices.Contains(p.children, m) {
		return
	}
	m.undead = true
	m.owed = m.before != nil && m.before.undead
	m.log.Error("room does not die", "pid", m.PID, "replaced_now", !m.owed)
	p.lost(m, errUndead)
}

// buried follows up on the end of a room that was given up.
func (p *parent) buried(m *child) {
	m.undead = false
	m.log.Info("room has died at last", "pid", m.PID)
	if m.owed && p.needed(m) {
		p.replace(m, 0)
	}
}
