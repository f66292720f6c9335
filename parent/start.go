// The way of a room from its start to its work. This file owns the order of what it
// is told; of what a room says it reads nothing but that it is there, ready, done,
// reports another, wants sockets, the family reloaded or stopped, or another log level, and how it is.

package parent

import (
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/conduct"
	"github.com/smtp-gated/smtp-gated/parent/spawn"
)

// start starts one room of g in its place among others of its kind.
func (p *parent) start(r *room, g *generation, index int) (*child, error) {
	spec, local := g.site.Sandbox(r.Room)
	spec.Name, spec.Rights = r.comm, p.rights(r, g.site.Config)
	number := p.family.started[r.Name] + 1
	m := &child{
		room: r, log: p.log.With("room", r.Name, "member", number),
		number: number, gen: g, index: index, local: local, state: imsg.Starting,
		conduct: conduct.New(name(r.Name, number), r.rank(), r.lasting),
	}
	m.conduct.Ask(&imsg.Hello{})
	order := spawn.Order{Program: p.self, Room: r.Name, Spec: spec, Kill: p.killProcess}
	if r.threads != nil {
		order.Threads = r.threads(g.site)
	}
	var err error
	m.Process, err = spawn.Start(order,
		spawn.Events{
			Message:    func(r link.Request) { p.deliver(func() { p.onMessage(m, r) }) },
			LinkEnded:  func(err error) { p.post(func() { p.onLinkEnd(m, err) }) },
			Line:       func(text string) { p.deliver(func() { m.onStderr(text) }) },
			Ended:      func(err error) { p.post(func() { p.onEnd(m, err) }) },
			Unkillable: func(err error) { m.log.Error("room cannot be killed", "error", err) },
			Stuck:      func() { p.post(func() { p.onStuck(m) }) },
		})
	if err != nil {
		return nil, err
	}
	p.family.add(m)
	p.orphans.Expect(m.PID)
	return m, nil
}

// onMessage hears what a room says, until its end is decided.
func (p *parent) onMessage(m *child, r link.Request) {
	if m.stopping || m.Killed() {
		return
	}
	if err := m.conduct.Judge(r.Message, m.state != imsg.Starting, time.Now()); err != nil {
		m.breach(r.Message, err)
		return
	}
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
		if !m.gen.site.HandSockets(m.tell, msg) {
			m.expel("room asks for sockets it cannot need", "number", msg.N)
		}
	case *imsg.Reload:
		p.reload(func(err error) { link.ReplyTo(r, msg).Answer(p.reloads.outcome(err)) })
	case *imsg.Upgrade:
		p.upgrade(func(err error) { link.ReplyTo(r, msg).Answer(upgradeOutcome(err)) })
	case *imsg.Condition:
		p.onCondition(msg)
	case *imsg.Shown:
		m.onShown(msg)
	case *imsg.LogLevel:
		p.setLogLevel(msg)
		link.ReplyTo(r, msg).Answer(&imsg.Done{})
	case *imsg.Stop:
		link.ReplyTo(r, msg).Answer(&imsg.Done{})
		p.log.Say(logs.LevelNotice, "asked to stop", "now", msg.Now)
		p.stop(msg.Now)
	}
}

// onHello briefs a room that has entered its sandbox.
func (p *parent) onHello(m *child, h *imsg.Hello) {
	if h.Room != m.Name || h.PID != m.PID || h.Fingerprint != imsg.Fingerprint() {
		m.expel("room is not who it should be")
		return
	}
	m.saidHello = true
	s := p.log.Sink
	if m.gen == p.coming {
		s = m.gen.site.Sink
	}
	m.tellSink(s)
	p.configure(m, false)
}

// configure tells a room its part of the configuration and hands over what belongs to
// it. One that has moved to another configuration keeps what does not depend on it.
func (p *parent) configure(m *child, again bool) {
	facts := m.gen.site.Facts(m.gen.listeners)
	facts.Program, facts.Version, facts.CompileDate = p.self, p.Version, p.CompileDate
	facts.Generation, facts.Coming = m.gen.number, m.gen == p.coming
	if facts.Coming {
		facts.Shown = p.shown()
	}
	m.conduct.Ask(&imsg.Ready{})
	p.tellLoad(m) // before what is judged by it
	m.tell(m.slice(m.gen.site.Config, facts, m.local))
	for _, g := range m.grants {
		switch {
		case g == stores:
			m.gen.site.HandRates(m.tell)
			m.gen.site.HandExemptions(m.tell)
			p.family.judge(imsg.FindingHistoryLost, "file", m.gen.site.HandHistory(m.tell))
		case again:
		case g == listeners:
			p.handListeners(m, m.index, m.gen == p.coming)
		case g == packetFilter:
			// Before the first link to a session, which comes after Ready.
			if err := m.gen.site.HandFilter(m.tell); err != nil {
				p.log.Error("lookupd gets no packet filter", "error", err)
				m.Kill() // its replacement gets another try
			}
		case g == ticketKeys:
			m.tell(p.tickets.current(time.Now()))
		case g == keyPairs:
			p.handPairs(m)
		case g == controlSockets:
			p.handControls(m)
		case g == ledger:
			m.tell(&imsg.Ledger{}, p.holdings.Ledger)
		}
	}
}

// onReady passes the barrier: a generation starts when all its rooms are ready,
// a replacement at once.
func (p *parent) onReady(m *child) {
	if m.ready {
		return // lockd, with another configuration
	}
	m.ready = true
	if m.gen != p.coming {
		p.startWork(m)
		p.reassignListeners(p.current)
		return
	}
	for _, other := range p.family.of(m.gen) {
		if !other.ready {
			return
		}
	}
	if p.elder != nil && !p.elder.yours {
		p.sayReady()
		return
	}
	p.activate(m.gen)
}

// startWork makes a ready room known to those it may talk to, and them to it,
// and lets it work.
func (p *parent) startWork(m *child) {
	for _, other := range p.family.children {
		if other != m && other.state != imsg.Starting && !other.stopping && p.linked(m, other) {
			p.link(m, other)
		}
	}
	m.state = imsg.Running
	p.family.recovered(m)
	if m.lasting { // what the one before it has said is over
		p.onCondition(&imsg.Condition{})
	}
	if m.serves && p.heir != nil && p.heir.handing {
		p.tellFamily(p.heir)
		p.linkWorker(p.heir, m)
	}
	if m.lasting && p.elder != nil {
		p.introduce(m)
	} else {
		m.tell(&imsg.Start{})
	}
	p.family.dirty = true
	if m.lasting && p.dumps.wanted {
		p.dump()
	}
}

// reassignListeners has the sockets that nobody serves, because their worker died,
// served by another one, until and beside its replacement.
func (p *parent) reassignListeners(g *generation) {
	serving := slices.DeleteFunc(p.family.of(g), func(m *child) bool {
		return !m.serves || m.state != imsg.Running || m.stopping
	})
	for index := range g.site.Workers() {
		served := slices.ContainsFunc(serving, func(m *child) bool {
			return m.index == index || slices.Contains(m.alsoServes, index)
		})
		if len(serving) > 0 && !served {
			m := serving[0]
			m.alsoServes = append(m.alsoServes, index)
			p.handListeners(m, index, false)
		}
	}
}
