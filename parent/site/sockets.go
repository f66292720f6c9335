// Which sockets a family has: listeners, those its sessions ask for when making one
// takes a privilege, and the operators'.

package site

import (
	"fmt"
	"io/fs"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/socket"
)

// listen returns the listeners: those of set that are open already, and new ones.
func (s *Site) listen(set *socket.Set) ([]*socket.Listener, error) {
	return set.Listen(s.Listeners(), s.Workers(), s.intercepts())
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

// openControl makes the operators' socket.
func (s *Site) openControl() (control *socket.Control, _ error) {
	path := s.Inside(s.Control())
	gid, err := s.controlGroup()
	if err == nil {
		control, err = makeControl(path, gid, fs.FileMode(s.ControlPerm))
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", s.Called("control_socket"), path, err)
	}
	return control, nil
}

func makeControl(path string, gid int, mode fs.FileMode) (*socket.Control, error) {
	at, err := host.OpenPlace(path)
	if err != nil {
		return nil, err
	}
	return socket.OpenControl(at.Folder, at.Name, gid, mode)
}

// controlGroup returns the group that the operators' socket is given to, -1: none.
func (s *Site) controlGroup() (int, error) {
	if s.ControlGroup == "" {
		return -1, nil
	}
	return host.FindGroup(s.ControlGroup)
}
