// The life of one room as the parent sees it: what it is told and when, who it is
// made known to, and what is done when it dies. This file owns the order of these
// things; it reads nothing a room says but that it is there, ready, wants sockets,
// or the family reloaded or stopped.

package parent

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
)

const (
	settled        = 10 * time.Second // a room that lived so long is no early death
	firstPause     = 100 * time.Millisecond
	longPause      = 30 * time.Second
	maxAccusations = 8 // reports about stronger rooms that are heard
)

// take hears what a room says.
func (p *parent) take(m *child, r link.Request) {
	switch msg := r.Message.(type) {
	case *imsg.Hello:
		p.onHello(m, msg)
	case *imsg.Ready:
		p.onReady(m)
	case *imsg.Drained:
		m.drained = true
	case *imsg.BadPeer:
		p.onBadPeer(m, msg)
	case *imsg.Sockets:
		p.supply(m, msg)
	case *imsg.Reload:
		p.reload(func(err error) { link.ReplyTo(r, msg).Answer(p.outcome(err)) })
	case *imsg.Stop:
		link.ReplyTo(r, msg).Answer(&imsg.Done{})
		p.log.Say(logs.LevelNotice, "asked to stop", "now", msg.Now)
		p.stop(msg.Now)
	}
}

// outcome is how an operator is told of a reload.
func (p *parent) outcome(err error) *imsg.Done {
	if err == nil && len(p.ignored) > 0 {
		return &imsg.Done{Detail: cut("without what needs a restart: " + strings.Join(p.ignored, ", "))}
	}
	if err == nil {
		return &imsg.Done{}
	}
	return &imsg.Done{Errno: imsg.Invalid, Detail: cut(err.Error())}
}

// cut makes a text fit a Done.
func cut(text string) string { return text[:min(len(text), 4000)] }

// onHello briefs a room that has entered its sandbox.
func (p *parent) onHello(m *child, h *imsg.Hello) {
	if m.greeted || h.Room != m.Name || h.PID != m.PID || h.Fingerprint != imsg.Fingerprint() {
		m.log.Error("room is not who it should be")
		m.Kill()
		return
	}
	m.greeted = true
	s := p.log.Sink
	if m.gen == p.coming {
		s = m.gen.sink
	}
	m.tellSink(s)
	p.configure(m, false)
}

// configure tells a room its part of the configuration and hands over what belongs to
// it. One that has moved to another configuration keeps what does not depend on it.
func (p *parent) configure(m *child, again bool) {
	facts := m.gen.site.Facts(m.gen.listeners)
	facts.Version, facts.CompileDate = p.Version, p.CompileDate
	m.tell(m.slice(m.gen.site.Config, facts, m.local))
	for _, g := range m.grants {
		switch {
		case g == rateStore:
			p.handRates(m)
		case again:
		case g == listeners:
			p.admit(m, m.index)
		case g == packetFilter:
			p.handFilter(m)
		case g == controlSocket:
			m.tell(&imsg.ControlSocket{}, p.holdings.Control.File)
		case g == ledger:
			m.tell(&imsg.Ledger{}, p.holdings.Ledger)
		}
	}
}

// admit gives a worker the sockets of the one with an index, its own or a dead one's:
// all of them, if they open with its generation, else those that are open.
func (p *parent) admit(m *child, index int) {
	for _, l := range m.gen.listeners {
		if l.Single() && index != m.index {
			continue // it has that one
		}
		for _, f := range l.Share(index, m.gen.site.Workers(), m.gen == p.coming) {
			m.tell(&imsg.Listener{Address: l.Addr, Name: l.Name}, f)
		}
	}
}

// reassignListeners has the sockets that nobody serves, because their worker died,
// served by another one, until and beside its replacement.
func (p *parent) reassignListeners(g *generation) {
	serving := slices.DeleteFunc(p.of(g), func(m *child) bool {
		return !m.serves || m.state != imsg.Running || m.stopping
	})
	for index := range g.site.Workers() {
		served := slices.ContainsFunc(serving, func(m *child) bool {
			return m.index == index || slices.Contains(m.adopted, index)
		})
		if len(serving) > 0 && !served {
			m := serving[0]
			m.adopted = append(m.adopted, index)
			p.admit(m, index)
		}
	}
}

// onReady passes the barrier: a generation starts when all its rooms are ready,
// a replacement at once.
func (p *parent) onReady(m *child) {
	if m.ready || m.stopping || !m.greeted {
		return
	}
	m.ready = true
	if m.gen != p.coming {
		p.startWork(m)
		p.reassignListeners(p.current)
		return
	}
	for _, other := range p.of(m.gen) {
		if !other.ready {
			return
		}
	}
	p.activate(m.gen)
}

// startWork makes a ready room known to those it may talk to, and them to it,
// and lets it work.
func (p *parent) startWork(m *child) {
	for _, other := range p.children {
		if other != m && other.state != imsg.Starting && !other.stopping && p.linked(m, other) {
			p.link(m, other)
		}
	}
	m.state = imsg.Running
	m.tell(&imsg.Start{})
	p.familyDirty = true
	if m.lasting && p.dumpWanted {
		p.dump()
	}
}

// linked tells whether two rooms share a link. Rooms of one generation talk to
// each other and to the lasting room; only the newest script runner gets work.
func (p *parent) linked(a, b *child) bool {
	if !a.linked(b.Name) {
		return false
	}
	if a.newest || b.newest {
		return a.gen == p.current && b.gen == p.current
	}
	return a.lasting || b.lasting || a.gen == b.gen
}

func (p *parent) link(a, b *child) {
	one, two, err := link.Pair()
	if err != nil {
		p.log.Error("link rooms", "one", a.String(), "other", b.String(), "error", err)
		a.Kill() // its replacement gets another try
		return
	}
	a.tell(&imsg.Peer{Room: b.Name, Member: b.number}, one)
	b.tell(&imsg.Peer{Room: a.Name, Member: a.number}, two)
	one.Close()
	two.Close()
}

// onBadPeer hears that a room said what it may not. It is ended and replaced,
// unless the report comes from a weaker one: that gets a fresh link, a few times.
func (p *parent) onBadPeer(by *child, msg *imsg.BadPeer) {
	for _, m := range p.children {
		if m.Name != msg.Room || m.number != msg.Member || !p.linked(by, m) {
			continue
		}
		m.log.Error("room reported for a bad message", "by", by.String())
		if rank(by.Name) < rank(m.Name) {
			m.Kill()
			return
		}
		if by.accusations++; by.accusations > maxAccusations {
			by.Kill()
			return
		}
		p.link(by, m)
		return
	}
}

// linkEnded follows up on a room's link that is no more.
func (p *parent) linkEnded(m *child, err error) {
	if m.stopping || !slices.Contains(p.children, m) {
		return
	}
	if err != nil {
		m.log.Error("room ended for a bad message", "error", err)
		m.Kill()
		return
	}
	m.KillLater()
}

// ended follows up on a room's end.
func (p *parent) ended(m *child, err error) {
	if m.undead {
		p.buried(m)
		return
	}
	p.lost(m, err)
}

// lost does without a room from now on.
func (p *parent) lost(m *child, err error) {
	p.children = slices.DeleteFunc(p.children, func(o *child) bool { return o == m })
	m.Link.Close()
	p.familyDirty = true
	if m.stopping || m.state == imsg.Draining && err == nil {
		m.log.Debug("room ended", "cause", cause(err))
		return
	}
	p.report.Crashes++
	p.report.LastCrash = time.Now().UnixNano()
	m.log.Log(context.Background(), logs.LevelCrit, "room ended unasked", "pid", m.PID, "cause", cause(err))
	m.stopping = true
	switch {
	case m.gen == p.coming:
		p.failed(m.gen, startError(err, m))
	case p.needed(m):
		p.reassignListeners(p.current)
		if !m.owed {
			p.replace(m, p.fails(m))
		}
	}
}

// needed tells whether a room that died must be replaced.
func (p *parent) needed(m *child) bool {
	g := p.home(m)
	switch {
	case p.forced:
		return false
	case g == p.current && !p.stopping:
		return true
	case m.serves:
		return false // it was on its way out
	case m.lasting, m.newest:
		return g == p.current && p.sessions(nil) > 0
	}
	return p.sessions(g) > 0
}

// home is the generation m's replacement belongs to. The lasting room's may have
// become another while it was away.
func (p *parent) home(m *child) *generation {
	if m.lasting {
		return p.current
	}
	return m.gen
}

// fails counts the early deaths in a row, m's included.
func (p *parent) fails(m *child) int {
	if time.Since(m.Started) > settled {
		return 0
	}
	return m.fails + 1
}

// replace starts another in the place of m: at once, or with a pause that grows.
func (p *parent) replace(m *child, fails int) {
	pause := time.Duration(0)
	if fails > 0 {
		pause = min(firstPause<<min(fails-1, 16), longPause)
	}
	m.log.Info("room will be replaced", "pause", pause)
	time.AfterFunc(pause, func() {
		p.post(func() {
			if !p.needed(m) {
				return
			}
			n, err := p.start(m.room, p.home(m), m.index)
			if err != nil {
				p.log.Error("replace room", "room", m.Name, "error", err)
				p.replace(m, fails+1)
				return
			}
			n.fails, n.before = fails, m.before
			if m.undead {
				n.before = m
			}
		})
	})
}

// sessions counts the session workers of a generation, nil: of all.
func (p *parent) sessions(g *generation) int {
	n := 0
	for _, m := range p.children {
		if m.serves && (g == nil || m.gen == g) {
			n++
		}
	}
	return n
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
	p.familyDirty = true
	m.tell(&imsg.Drain{Closing: closing})
}

// accepts tells whether a worker on its way out may still accept clients.
func (p *parent) accepts(m *child) bool {
	return m.serves && m.gen != p.current && m.state == imsg.Draining && !m.drained
}
