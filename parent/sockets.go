// The sockets sessions reach servers with when making one takes a privilege: it
// may bear its client's address, or has a firewall mark. This file owns making
// them. A session binds and connects what it gets; we never learn whereto.

package parent

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// foreign tells whether sessions connect from their clients' addresses.
func foreign(c *config.Config) bool {
	return c.Mode == imsg.ModeTproxy || c.Mode == imsg.ModeTproxyNetfilter
}

// supplies tells whether sessions get their sockets from us.
func supplies(c *config.Config) bool { return foreign(c) || c.SoMark != 0 }

// supply hands a worker the sockets it asks for.
func (p *parent) supply(m *member, ask *imsg.Sockets) {
	c := m.gen.cfg
	if !supplies(c) || ask.N < 1 || ask.N > imsg.MaxSockets {
		p.log.Error("room asks for sockets it cannot need", "room", m.Room, "member", m.number, "number", ask.N)
		p.kill(m)
		return
	}
	for range ask.N {
		f, err := makeSocket(c, ask.IPv6)
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
	if !supplies(g.cfg) {
		return nil
	}
	for _, l := range g.listeners {
		f, err := makeSocket(g.cfg, l.bound.Addr().Is6())
		if err != nil {
			return err
		}
		f.Close()
	}
	return nil
}

func makeSocket(c *config.Config, six bool) (*os.File, error) {
	fd, err := unix.Socket(family(six), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "socket for a session")
	if err := endow(fd, six, c); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// endow gives a socket what its session could not.
func endow(fd int, six bool, c *config.Config) error {
	if foreign(c) {
		if err := beForeign(fd, six); err != nil {
			return fmt.Errorf("mode %s: a socket with a client's address%s", c.Mode, remedy(err))
		}
	}
	if c.SoMark != 0 {
		if err := mark(fd, c.SoMark); err != nil {
			return fmt.Errorf("so_mark: mark a socket%s", remedy(err))
		}
	}
	if err := bindLate(fd); err != nil {
		return fmt.Errorf("have a port chosen at connect: %w", err)
	}
	return nil
}

func remedy(err error) string {
	if errors.Is(err, unix.EPERM) {
		return ": not permitted: start as root, or with the capability CAP_NET_ADMIN"
	}
	return ": " + err.Error()
}

func family(six bool) int {
	if six {
		return unix.AF_INET6
	}
	return unix.AF_INET
}
