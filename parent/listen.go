// The listeners in the rooms' hands. This file owns that a room gets none which
// another one has spoiled: workers share them, and a dead room's go on to the next.

package parent

import "github.com/smtp-gated/smtp-gated/imsg"

// handListeners gives a worker the sockets of the one with an index, its own or a dead one's:
// all of them, if they are about to open, else those that are open.
func (p *parent) handListeners(m *child, index int, all bool) {
	p.mendListeners(m.gen)
	for _, l := range m.gen.listeners {
		if l.Single() && index != m.index {
			continue // it has that one
		}
		for _, f := range l.Share(index, m.gen.site.Workers(), all) {
			m.tell(&imsg.Listener{Address: l.Addr, Name: l.Name, TLS: m.gen.site.BeginsWithTLS(l)}, f)
		}
	}
}

// mendListeners has the sockets of g that were shut down listen again. Whose doing it
// was cannot be seen: of those that serve one, each could.
func (p *parent) mendListeners(g *generation) {
	if g == nil || p.stopping {
		return
	}
	for _, l := range g.listeners {
		mended, err := l.Mend()
		if mended > 0 {
			p.log.Error("listener had stopped listening", "address", l.Addr, "sockets", mended)
		}
		if err != nil {
			p.log.Error("listener does not listen any more", "error", err)
		}
	}
}

// handControls gives lockd the sockets of operators and readers.
func (p *parent) handControls(m *child) {
	for _, c := range p.holdings.Controls {
		if p.current != nil { // another lockd had it
			mended, err := c.Mend()
			if mended {
				p.log.Error("control socket had stopped listening", "path", c.Path)
			}
			if err != nil {
				p.log.Error("control socket does not listen any more", "path", c.Path, "error", err)
			}
		}
		m.tell(&imsg.ControlSocket{Role: c.Role}, c.File)
	}
}
