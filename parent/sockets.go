// Which sockets a generation has: its listeners, and those its sessions ask for when
// making one takes a privilege. A session binds and connects what it gets; we never
// learn whereto.

package parent

import (
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/socket"
)

// listen gives g its listeners: those that are open already, and new ones.
func (p *parent) listen(g *generation) error {
	err := p.retryWhilePredecessorEnds(func() (err error) {
		g.listeners, err = p.listeners.Listen(g.cfg.Listeners(), workers(g.cfg), p.intercepts(g.cfg))
		return err
	})
	if err != nil {
		return err
	}
	return trySockets(g)
}

// intercepts tells whether listeners take connections that are not for our
// addresses. Mode getsockname needs that behind TPROXY, but not behind divert-to:
// without root it does without.
func (p *parent) intercepts(c *config.Config) bool {
	return c.Mode.Transparent() || c.Mode == imsg.ModeGetsockname && p.rooted
}

// unlisten lets go of the listeners g does not use, and returns their addresses;
// nil uses none.
func (p *parent) unlisten(g *generation) []netip.AddrPort {
	if g == nil {
		return p.listeners.Release(nil)
	}
	return p.listeners.Release(g.listeners)
}

func outgoing(c *config.Config) socket.Outgoing { return socket.Outgoing{Mode: c.Mode, Mark: c.SoMark} }

// supply hands a worker the sockets it asks for.
func (p *parent) supply(m *child, ask *imsg.Sockets) {
	out := outgoing(m.gen.cfg)
	if !out.Needed() || ask.N < 1 || ask.N > imsg.MaxSockets {
		p.log.Error("room asks for sockets it cannot need", "room", m.Room, "member", m.number, "number", ask.N)
		p.kill(m)
		return
	}
	for range ask.N {
		f, err := out.Make(ask.IPv6)
		if err != nil {
			p.log.Error("make a socket for a session", "error", err)
			return // the session's patience ends by itself
		}
		p.tell(m, &imsg.Socket{IPv6: ask.IPv6}, f)
		f.Close()
	}
}

// trySockets finds out before the start whether we may make such sockets.
func trySockets(g *generation) error {
	out := outgoing(g.cfg)
	if !out.Needed() {
		return nil
	}
	for _, l := range g.listeners {
		f, err := out.Make(l.Addr.Addr().Is6())
		if err != nil {
			return err
		}
		f.Close()
	}
	return nil
}

// openControl makes the operators' socket.
func openControl(c *config.Config) (control *socket.Control, err error) {
	path, gid := c.Inside(c.Control()), -1
	if c.ControlGroup != "" {
		gid, err = host.FindGroup(c.ControlGroup)
	}
	if err == nil {
		control, err = socket.OpenControl(path, gid, fs.FileMode(c.ControlPerm))
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", c.Called("control_socket"), path, err)
	}
	return control, nil
}
