// Which sockets a family has: listeners, those its sessions ask for when making one
// takes a privilege, and those by which it is looked at and steered.

package site

import (
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/socket"
)

// listen returns the listeners: those of set that are open already, and new ones.
func (s *Site) listen(set *socket.Set) ([]*socket.Listener, error) {
	all, err := set.Listen(s.wanted(), s.Workers(), s.intercepts())
	if err == nil && len(s.ListenTLS) == 0 && slices.ContainsFunc(all, func(l *socket.Listener) bool { return l.Name == smtps }) {
		err = fmt.Errorf("socket %s given at start: clients begin with TLS there, and %s is empty: set it", smtps, s.Called("listen_tls"))
	}
	return all, err
}

// smtps is what a service manager calls a socket that clients begin with TLS at, and we
// one whose port the system picks.
const smtps = "smtps"

// wanted are the listeners of the configuration. One with a port of its own stays open
// when a reload has TLS begin there, or no more: it has no name.
func (s *Site) wanted() (all []socket.Wanted) {
	for i, a := range s.Listeners() {
		w := socket.Wanted{AddrPort: a}
		if a.Port() == 0 && s.Config.BeginsWithTLS(i) {
			w.Name = smtps
		}
		all = append(all, w)
	}
	return all
}

// BeginsWithTLS tells whether clients of a listener do.
func (s *Site) BeginsWithTLS(l *socket.Listener) bool {
	return l.Name == smtps || l.From.Port() != 0 && slices.Contains(s.ListenTLS, l.From)
}

// intercepts tells whether listeners take connections that are not for our
// addresses. Mode getsockname needs that behind TPROXY, but not behind divert-to:
// without root it does without.
func (s *Site) intercepts() bool {
	return s.Mode.Transparent() || s.Mode == imsg.ModeGetsockname && s.Rooted
}

// outgoing is what a session cannot give a socket itself.
func (s *Site) outgoing() socket.Outgoing { return socket.Outgoing{Mode: s.Mode, Mark: s.SoMark} }

// checkOutgoing finds out before the start whether we may make such sockets.
func (s *Site) checkOutgoing(listeners []*socket.Listener) error {
	out := s.outgoing()
	if !out.Needed() {
		return nil
	}
	for _, l := range listeners {
		f, err := out.Make(l.Addr.Addr().Is6())
		if err != nil {
			return err
		}
		f.Close()
	}
	return nil
}

// Control is a socket of config.ControlSockets that is open.
type Control struct {
	config.ControlSocket
	*socket.Control
}

// openControl makes a socket, or takes over one that is inherited.
func (s *Site) openControl(c config.ControlSocket, inherited *os.File) (Control, error) {
	made, err := func() (*socket.Control, error) {
		gid, err := controlGroup(c)
		if err != nil {
			return nil, err
		}
		at, err := host.OpenPlace(c.Path)
		if err != nil {
			return nil, err
		}
		if inherited != nil {
			return socket.InheritControl(inherited, at.Folder, at.Name, gid, fs.FileMode(c.Perm)), nil
		}
		return socket.OpenControl(at.Folder, at.Name, gid, fs.FileMode(c.Perm))
	}()
	if err != nil {
		err = fmt.Errorf("%s %s: %w", s.Called(c.Option), c.Path, err)
	}
	return Control{c, made}, err
}

// controlGroup returns the group that a socket is given to, -1: none.
func controlGroup(c config.ControlSocket) (int, error) {
	if c.Group == "" {
		return -1, nil
	}
	return host.FindGroup(c.Group)
}
