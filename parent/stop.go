// The end: of the family, and of old generations on the way.

package parent

import (
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// stop ends the family: nobody new, then, after the last session or at once if
// now, nobody at all.
func (p *parent) stop(now bool) {
	if !p.stopping {
		p.stopping = true
		p.notify.stopping()
		if p.coming != nil {
			p.failed(p.coming, errStopping)
		}
		p.cleanUp()
		p.unlisten(nil)
		for _, l := range p.given {
			l.close()
		}
		for _, m := range slices.Clone(p.members) {
			if m.Room == imsg.Session {
				p.drain(m)
			}
		}
		if p.current != nil {
			called, limit := p.current.cfg.Called("drain_timeout"), p.current.cfg.DrainTimeout
			time.AfterFunc(limit, func() {
				p.post(func() {
					if !p.hurried {
						p.log.Warn(called+" has passed, the last sessions are ended", "after", limit)
						p.stop(true)
					}
				})
			})
		}
	}
	if now && !p.hurried {
		p.hurried = true
		for _, m := range slices.Clone(p.members) {
			p.dismiss(m)
		}
	}
}

// advance does what has become due by the last event.
func (p *parent) advance() {
	p.draining = slices.DeleteFunc(p.draining, p.gone)
	if p.wanted && !p.stopping && p.coming == nil && len(p.draining)+1 < maxGenerations {
		p.readAgain()
	}
	if p.stopping {
		p.leave()
	}
	p.sayFamily()
}

// gone sees an old generation off, and tells whether nobody of it is left.
func (p *parent) gone(g *generation) bool {
	if p.sessions(g) > 0 {
		return false
	}
	left := p.of(g)
	for _, m := range left {
		if m.Room != imsg.Action {
			p.dismiss(m)
		}
	}
	return len(left) == 0
}

// leave sends the rooms home in the order in which they are needed no more.
func (p *parent) leave() {
	if len(p.members) == 0 {
		p.say(imsg.LevelNotice, "stopped")
		p.done = true
		return
	}
	if p.hurried || p.sessions(nil) > 0 {
		return
	}
	scripts := false
	for _, m := range slices.Clone(p.members) {
		switch {
		case m.lasting:
		case m.Room != imsg.Action:
			p.dismiss(m)
		default:
			scripts = true
			if m.state != imsg.Draining && !m.going {
				p.drain(m)
				limit := m.gen.cfg.ActionTimeout + grace
				time.AfterFunc(limit, func() { p.post(func() { p.dismiss(m) }) })
			}
		}
	}
	if scripts {
		return
	}
	for _, m := range slices.Clone(p.members) {
		p.dismiss(m)
	}
}
