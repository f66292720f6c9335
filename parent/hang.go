// A room that hangs: it lives, yet does nothing any more. This file owns how that
// is noticed, and what becomes of a room that not even KILL ends.

package parent

import (
	"errors"
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
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
		case m.stopping || m.killed:
			continue
		case late:
			m.unready = 0
			m.silent.Store(0)
		case !m.ready:
			if m.unready++; m.unready > maxSilent {
				p.log.Error("room does not get ready", "room", m.Name, "member", m.number)
				p.kill(m)
				continue
			}
		case m.silent.Load() >= maxSilent:
			p.log.Error("room hangs", "room", m.Name, "member", m.number, "pid", m.cmd.Process.Pid, "unanswered", maxSilent)
			p.kill(m)
			continue
		}
		p.ask(m)
	}
}

// ask asks one room. Its answer counts at once: the loop may be busy.
func (p *parent) ask(m *child) {
	m.silent.Add(1)
	go func() {
		if _, err := link.Ask(m.conn, &imsg.Ping{}, (maxSilent+1)*p.askEvery); err == nil {
			m.silent.Store(0)
		}
	}()
}

// kill ends a room at once. After its end it does nothing.
func (p *parent) kill(m *child) {
	if m.killed {
		return
	}
	m.killed = true
	if p.killProcess == nil {
		m.cmd.Process.Kill()
	} else {
		p.killProcess(m.cmd.Process)
	}
	time.AfterFunc(grace, func() { p.post(func() { p.abandon(m) }) })
}

// killLater ends a room that does not end by itself.
func (p *parent) killLater(m *child) {
	time.AfterFunc(grace, func() { p.post(func() { p.kill(m) }) })
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
	p.log.Error("room does not die", "room", m.Name, "member", m.number, "pid", m.cmd.Process.Pid, "replaced_now", !m.owed)
	p.lost(m, errUndead)
}

// buried follows up on the end of a room that was given up.
func (p *parent) buried(m *child) {
	m.undead = false
	p.log.Info("room has died at last", "room", m.Name, "member", m.number, "pid", m.cmd.Process.Pid)
	if m.owed && p.needed(m) {
		p.replace(m, 0)
	}
}
