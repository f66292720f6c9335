// What is done when a room dies: another takes its place, at once or, when that one
// dies early as well, after a pause that grows.

package parent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/spawn"
)

// errStuck is the cause of the end of a room that has not ended.
var errStuck = errors.New("KILL does not end it")

// onLinkEnd follows up on a room's link that is no more.
func (p *parent) onLinkEnd(m *child, err error) {
	if m.stopping || !p.family.has(m) {
		return
	}
	if err != nil {
		m.log.Error("room ended for a bad message", "error", err)
		m.Kill()
		return
	}
	m.KillLater()
}

// onEnd follows up on a room's end.
func (p *parent) onEnd(m *child, err error) {
	if !m.scripts {
		host.EndGroup(m.PID)
	}
	p.orphans.Ended(m.PID)
	if spawn.Forbidden(err) {
		m.sayForbidden("see the kernel's log, type=1326")
	}
	if m.stuck {
		p.onLateEnd(m)
		return
	}
	p.lost(m, err)
}

// lost does without a room from now on.
func (p *parent) lost(m *child, err error) {
	p.family.remove(m)
	m.Link.Close()
	if m.stopping || m.state == imsg.Draining && err == nil {
		m.log.Debug("room ended", "cause", spawn.Cause(err))
		if m.lasting && !m.stopping {
			p.onLockdGone(m)
		}
		return
	}
	refused := m.gen == p.coming && spawn.Refused(err) // its configuration, as it may
	if !refused {
		p.family.crashed(m.Name)
	}
	if !m.hung && m.gen != p.coming {
		p.family.trouble(imsg.FindingRestarted, m.Name.String(), spawn.Cause(err))
	}
	if !p.needed(m) { // no replacement will tell that all is well
		p.family.recovered(m)
	}
	m.log.Log(context.Background(), logs.LevelCrit, "room ended unasked", "pid", m.PID, "cause", spawn.Cause(err))
	m.stopping = true
	switch {
	case m.lasting && m.state == imsg.Draining:
		p.onLockdGone(m)
	case m.gen == p.coming:
		p.abort(m.gen, fmt.Errorf("%s did not get ready: %s", m, cmp.Or(m.firstStderrLine, spawn.Cause(err))))
	case p.needed(m):
		p.reassignListeners(p.current)
		if !m.replaceLater {
			p.replace(m, m.brake.After(time.Since(m.Started)))
		}
	}
}

// onStuck gives up a room that was killed and is there still: the kernel waits
// with it, for a disk as a rule. Another takes its place, but only one: if that
// hangs as well, the next comes when it has died.
func (p *parent) onStuck(m *child) {
	if !p.family.has(m) {
		return
	}
	m.stuck = true
	m.replaceLater = m.stuckBefore != nil && m.stuckBefore.stuck
	m.log.Error("room does not die", "pid", m.PID, "replaced_now", !m.replaceLater)
	p.lost(m, errStuck)
}

// onLateEnd follows up on the end of a room that was given up.
func (p *parent) onLateEnd(m *child) {
	m.stuck = false
	m.log.Info("room has died at last", "pid", m.PID)
	if m.replaceLater && p.needed(m) {
		p.replace(m, 0)
	}
}

// needed tells whether a room that died must be replaced.
func (p *parent) needed(m *child) bool {
	g := p.generationFor(m)
	switch {
	case p.forced:
		return false
	case g == p.current && !p.stopping:
		return true
	case m.serves:
		return false // it was on its way out
	case m.lasting, m.newest:
		return g == p.current && p.family.sessions(nil) > 0
	}
	return p.family.sessions(g) > 0
}

// generationFor is the generation m's replacement belongs to. The lasting room's may
// have become another while it was away.
func (p *parent) generationFor(m *child) *generation {
	if m.lasting {
		return p.current
	}
	return m.gen
}

// replace starts another in the place of m: at once, or with a pause that grows. The folder
// it lives in may have been removed, which is looked at aside: we do not wait for a disk.
func (p *parent) replace(m *child, brake spawn.Brake) {
	m.log.Info("room will be replaced", "pause", brake.Pause())
	p.later(brake.Pause(), func() {
		if !p.needed(m) {
			return
		}
		s := p.generationFor(m).site
		go func() {
			made, err := s.MakeFolder(m.Room)
			p.post(func() {
				if made {
					m.log.Error("the folder that the room lives in was gone: it was made again, without what was in it", "path", s.Root(m.Room))
				}
				if p.needed(m) {
					p.startAnother(m, brake, err)
				}
			})
		}()
	})
}

// startAnother starts another in the place of m, unless there is no folder for it.
func (p *parent) startAnother(m *child, brake spawn.Brake, err error) {
	var n *child
	if err == nil {
		n, err = p.start(m.room, p.generationFor(m), m.index)
	}
	if err != nil {
		p.log.Error("replace room", "room", m.Name, "error", err)
		p.replace(m, brake+1)
		return
	}
	n.brake, n.stuckBefore = brake, m.stuckBefore
	if m.stuck {
		n.stuckBefore = m
	}
}
