// From where a room sees this machine: its root directory, and as whom. This file owns
// that whoever looks on a room's behalf stands where the room does.

package site

import (
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

// View is where a room stands.
type View struct {
	Room
	Spec  *sandbox.Spec     // its root directory and its user, and nothing else
	Local map[string]string // the names of the scanners' sockets below the root, if it lives at them
}

// View finds out where a room will stand, of a site that needs no Prepare. The error names
// the remedy.
func (s *Site) View(r Room) (View, error) {
	v := View{Room: r, Spec: sandbox.New()}
	v.Spec.RootDir, v.Spec.Chroot, v.Local = s.quarters(r)
	if !s.Rooted {
		return v, nil
	}
	who, err := s.user(r)
	v.Spec.Identity = sandbox.Identity(who)
	return v, err
}

// quarters says which directory a room lives in, and whether it is locked into it. local
// is as in View.
func (s *Site) quarters(r Room) (dir string, chroot bool, local map[string]string) {
	dir, chroot = s.Root(r), s.Rooted
	switch r.Root {
	case WholeTree:
		chroot = false
	case Scanners:
		dir, local = host.CommonFolder(s.ScannerSockets())
		chroot = chroot && dir != "/"
	}
	if dir == "" {
		dir = s.emptyFolder()
	}
	return dir, chroot, local
}
