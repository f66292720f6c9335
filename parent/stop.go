// The end: of the family, and of old generations on the way.

package parent

import (
	"net/netip"
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/heir"
	"github.com/smtp-gated/smtp-gated/parent/spawn"
)

const (
	// drainedWithin is for a worker to answer Drain. It is longer than a worker
	// waits for those it has just accepted.
	drainedWithin = 20 * time.Second
	// lastMessage is for the messages under way in a generation that must end:
	// longer than any honest one takes, answer included.
	lastMessage = time.Hour
)

// retire has a generation take nobody new and end with its last session, or when
// drain_timeout has passed. closing are the listeners that are served no longer.
func (p *parent) retire(g *generation, closing []netip.AddrPort) {
	for _, m := range p.family.of(g) {
		// Scripts run on for those who are here to the end.
		if m.serves || m.newest && g != p.current {
			p.drain(m, closing)
		}
	}
	p.later(drainedWithin, func() {
		for _, m := range p.family.of(g) {
			if p.accepts(m) && !m.stopping {
				m.log.Error("room does not stop accepting")
				m.Kill()
			}
		}
	})
	called, limit := p.current.site.Called("drain_timeout"), p.current.site.DrainTimeout
	p.later(limit, func() {
		if p.family.sessions(g) > 0 && !g.ending && !p.forced {
			p.log.Warn(called+" has passed, the last sessions are ended", "generation", g.number, "after", limit)
			p.endSessions(g)
		}
	})
}

// drain has a room take no new work and end after its last. closing are the
// listeners that are served no longer.
func (p *parent) drain(m *child, closing []netip.AddrPort) {
	if m.stopping || m.state == imsg.Draining {
		return
	}
	if m.state == imsg.Starting {
		m.dismiss()
		return
	}
	m.state = imsg.Draining
	p.family.dirty = true
	if m.serves {
		m.conduct.Ask(&imsg.Drained{})
	}
	m.tell(&imsg.Drain{Closing: closing})
}

// accepts tells whether a worker on its way out may still accept clients.
func (p *parent) accepts(m *child) bool {
	return m.serves && m.gen != p.current && m.state == imsg.Draining && !m.drained
}

// endSessions has the sessions of a generation that drains end as soon as they have
// no message under way. Nobody waits for that.
func (p *parent) endSessions(g *generation) {
	g.ending = true
	for _, m := range p.family.of(g) {
		if m.serves && !m.stopping {
			m.tell(&imsg.Drain{End: true})
		}
	}
	p.later(lastMessage, func() {
		for _, m := range p.family.of(g) {
			if m.serves {
				m.dismiss()
			}
		}
	})
}

// endSurplus ends the oldest generations if too many have sessions.
func (p *parent) endSurplus() {
	live := 1 // the one in force
	for _, g := range slices.Backward(p.draining) {
		if g.ending || p.family.sessions(g) == 0 {
			continue
		}
		if live++; live > maxGenerations {
			p.log.Warn("too many generations have sessions: those of the oldest are ended", "generation", g.number)
			p.endSessions(g)
		}
	}
}

// gone sees an old generation off, and tells whether nobody of it is left.
func (p *parent) gone(g *generation) bool {
	if p.family.sessions(g) > 0 {
		return false
	}
	left := p.family.of(g)
	for _, m := range left {
		if !m.newest {
			m.dismiss()
		}
	}
	return len(left) == 0
}

// stop ends the family: nobody new, then, after the last session or at once if
// now, nobody at all.
func (p *parent) stop(now bool) {
	p.asked = true
	if !p.stopping {
		p.stopping = true
		p.notify.Stopping()
		if p.heir != nil {
			p.abandonHeir(p.heir, errStopping)
		}
		if p.coming != nil {
			p.abort(p.coming, errStopping)
		}
		switch {
		case !p.unnamed:
			p.holdings.RemoveNames()
		case p.awaitsNames():
			// It may hang.
			p.later(takeTries*takePause, func() { p.unnamed = false })
		}
		p.reloads.answerAll()(errStopping)
		closing := p.holdings.Listeners.Close()
		if p.current != nil {
			p.retire(p.current, closing)
		}
	}
	if now && !p.forced {
		p.forced = true
		if p.elder != nil && p.current != nil {
			_ = p.elder.conn.Send(&heir.Message{Word: heir.End}) // it may have ended
		}
		for _, m := range p.family.all() {
			m.dismiss()
		}
	}
}

// dismissAll dismisses the rooms in the order in which they are needed no more.
func (p *parent) dismissAll() {
	if len(p.family.children) == 0 {
		if p.awaitsNames() || p.orphans.Left() {
			return
		}
		p.log.Say(logs.LevelNotice, "stopped")
		p.done = true
		return
	}
	if p.forced || p.family.sessions(nil) > 0 || p.awaitsElder() {
		return
	}
	scripts := false
	for _, m := range p.family.all() {
		switch {
		case m.lasting:
		case !m.newest:
			m.dismiss()
		default:
			scripts = true
			if m.state != imsg.Draining && !m.stopping {
				p.drain(m, nil)
				limit := m.gen.site.ActionConfig.Timeout + spawn.Grace
				p.later(limit, m.dismiss)
			}
		}
	}
	if scripts {
		return
	}
	for _, m := range p.family.all() {
		m.dismiss()
	}
}
