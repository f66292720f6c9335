// A generation: the rooms that live by one reading of the configuration. This
// file owns how one is prepared, put in force, and given up.

package parent

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/site"
	"github.com/smtp-gated/smtp-gated/parent/socket"
)

type generation struct {
	number    int
	site      *site.Site
	listeners []*socket.Listener
	done      func(error) // told how it went, may be nil
	ending    bool        // its sessions have been told to end
}

// generations are those that live.
type generations struct {
	current   *generation // in force; nil until the first is ready
	coming    *generation // not yet ready
	switching *generation // in force, but older ones may still accept
	draining  []*generation
	numbered  int // ever
}

// changing tells whether another is about to take over.
func (gs *generations) changing() bool { return gs.coming != nil || gs.switching != nil }

// begin prepares a generation and starts its rooms. It comes into force when all
// of them are ready. done is told then, or when it fails later than here.
func (p *parent) begin(s *site.Site, done func(error)) error {
	p.numbered++
	g := &generation{number: p.numbered, site: s, done: done}
	p.coming = g
	err := s.Prepare()
	if err == nil {
		g.listeners, err = p.holdings.Listen(s)
	}
	if err == nil && p.current == nil {
		err = p.holdings.GiveUpRest(s)
	}
	if err == nil {
		err = p.spawnRooms(g)
	}
	if err != nil {
		g.done = nil
		p.giveUp(g)
	}
	return err
}

// spawnRooms starts the rooms of g. The lasting one is there already, but for the
// first time.
func (p *parent) spawnRooms(g *generation) error {
	g.site.Unenforced()
	for i := range rooms {
		r := &rooms[i]
		if r.lasting && (p.current != nil || p.elder != nil) { // an heir's comes when the other has ended
			continue
		}
		if !g.site.Has(r.Room) {
			continue
		}
		for index := range r.count(g.site) {
			if _, err := p.start(r, g, index); err != nil {
				return err
			}
		}
	}
	return nil
}

// giveUp ends what never came into force.
func (p *parent) giveUp(g *generation) {
	if p.coming == g {
		p.coming = nil
	}
	for _, m := range p.family.of(g) {
		m.dismiss()
	}
	var kept []*socket.Listener
	if p.current != nil {
		kept = p.current.listeners
	}
	p.holdings.Listeners.Release(kept)
	if g.site.Sink != nil && g.site.Sink != p.log.Sink {
		g.site.Sink.File.Close()
	}
}

// abort is giveUp for a reason that came up after begin.
func (p *parent) abort(g *generation, err error) {
	p.giveUp(g)
	if p.current == nil {
		p.fail(err)
	}
	if g.done != nil {
		g.done(err)
	}
}

// activate puts a generation in force, all of whose rooms are ready. Its sockets open
// with it, the old one's workers are asked to stop accepting; completeSwitch is when
// they have.
func (p *parent) activate(g *generation) {
	for _, l := range g.listeners {
		if err := l.Serve(g.site.ConnectQueue); err != nil {
			p.abort(g, err)
			return
		}
	}
	old := p.current
	p.current, p.coming, p.switching = g, nil, g
	p.endLogLevel()
	if g.site.Sink != p.log.Sink {
		p.useSink(g.site.Sink)
	}
	p.tellLogLevel()
	for _, m := range p.family.children {
		if m.lasting && m.gen != g {
			m.gen = g
			if m.saidHello {
				p.configure(m, true)
			}
		}
	}
	for i := range rooms {
		for _, m := range p.family.of(g) {
			if m.room == &rooms[i] && m.ready && m.state == imsg.Starting {
				p.startWork(m)
			}
		}
	}
	p.family.dirty = true
	p.showRunning()
	closing := p.holdings.Listeners.Release(g.listeners)
	if p.elder != nil {
		p.elder.closing = closing
	}
	if old != nil {
		p.draining = append(p.draining, old)
		p.retire(old, closing)
	}
}

// completeSwitch is when nobody is served by an older configuration any more, but those
// who were let in under it: now a reload is complete.
func (p *parent) completeSwitch() {
	g := p.switching
	if g == nil || slices.ContainsFunc(p.family.children, p.accepts) {
		return
	}
	p.switching = nil
	if !p.stopping {
		var addresses []netip.AddrPort
		for _, l := range g.listeners {
			addresses = append(addresses, l.Addr)
		}
		p.log.Say(logs.LevelNotice, "ready", "generation", g.number, "version", p.Version, "listen", fmt.Sprint(addresses))
		if p.unnamed {
			p.takeOver()
		} else if err := p.sayServing("serving"); err != nil {
			p.log.Warn("no service manager", "error", err)
		}
		if p.Started != nil {
			host.Detached(p.Started)
			p.Started = nil
		}
	}
	if g.done != nil {
		g.done(nil)
	}
}
