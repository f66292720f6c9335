// What a family has from its first generation to its last, and what another program
// that takes over from it must be handed. This file owns that two families do not
// have it at once.

package site

import (
	"fmt"
	"os"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
	"github.com/smtp-gated/smtp-gated/parent/socket"
)

// predecessorWait is for the rooms of a family whose parent has died to end.
const predecessorWait = 3 * time.Second

// Holdings are what lasts. Their options need a restart.
type Holdings struct {
	Listeners *socket.Set
	PidFile   *host.PidFile
	Controls  []Control
	Ledger    *os.File // where counters outlive their keeper

	running *host.Name // of the file that says which configuration is in force

	privilege
}

// Acquire takes hold of them, if no other family has them, and says what of root's
// power is missing. The pid file is not written yet.
func (s *Site) Acquire() (_ *Holdings, err error) {
	h := new(Holdings)
	defer func() {
		if err != nil {
			h.RemoveNames()
			have, _ := sandbox.Capabilities()
			lacking, _ := Missing(s.Needs(nil), have)
			err = blame(err, lacking)
		}
	}()
	if h.Listeners, err = socket.NewSet(); err != nil {
		return nil, err
	}
	for _, p := range s.places() {
		if err := host.MakeWay(p.path); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Called(p.option), err)
		}
	}
	if h.PidFile, err = host.LockPidFile(s.Inside(s.PidFile)); err != nil {
		return nil, err
	}
	for _, c := range s.ControlSockets() {
		if err = h.retryWhilePredecessorEnds(func() error { return h.openControl(s, c, nil) }); err != nil {
			return nil, err
		}
	}
	if h.Ledger, err = host.NamelessFile("ledger"); err != nil {
		return nil, err
	}
	return h, h.assess(s)
}

// Inherit takes hold of what another family has, and will give up when sessions are served
// here: until Succeed it is not ours. pidFile is its path, as the other has it.
func (s *Site) Inherit(set *socket.Set, controls map[imsg.Room]Legacy, ledger *os.File, pidFile string) (_ *Holdings, err error) {
	h := &Holdings{Listeners: set, Ledger: ledger}
	defer func() {
		if err != nil {
			h.RemoveNames()
		}
	}()
	stays := func(option, is, was string) error {
		if is == was {
			return nil
		}
		return fmt.Errorf("%s: needs a restart: it is %s now, and was %s", s.Called(option), is, was)
	}
	if err := stays("pidfile", s.Inside(s.PidFile), pidFile); err != nil {
		return nil, err
	}
	for _, c := range s.ControlSockets() {
		old := controls[c.Role]
		if old.File != nil { // else the other program does not know such a socket
			err = stays(c.Option, c.Path, old.Path)
		}
		if err == nil {
			err = h.openControl(s, c, old.File)
		}
		if err != nil {
			return nil, err
		}
	}
	if h.PidFile, err = host.InheritPidFile(pidFile); err != nil {
		return nil, err
	}
	return h, h.assess(s)
}

// Legacy is a control socket of another family's, and where it is bound.
type Legacy struct {
	File *os.File
	Path string
}

func (h *Holdings) openControl(s *Site, c config.ControlSocket, inherited *os.File) error {
	control, err := s.openControl(c, inherited)
	if err == nil {
		h.Controls = append(h.Controls, control)
	}
	return err
}

// Succeed makes ours what others find a daemon by. It is an error as long as the other
// family has it.
func (h *Holdings) Succeed() error {
	if err := h.PidFile.Take(); err != nil {
		return err
	}
	for _, c := range h.Controls {
		c.Own()
	}
	return nil
}

// Yield leaves what others find us by to a family that inherits it.
func (h *Holdings) Yield() {
	for _, c := range h.Controls {
		c.Yield()
	}
	h.PidFile.Yield()
	h.removeRunning()
}

// Listen returns the listeners of a site, and finds out whether its sessions can be
// given what else they need. After an error, what was opened stays so until
// Listeners.Release.
func (h *Holdings) Listen(s *Site) (all []*socket.Listener, err error) {
	if err = h.retryWhilePredecessorEnds(func() error { all, err = s.listen(h.Listeners); return err }); err != nil {
		return nil, err
	}
	return all, s.checkOutgoing(all)
}

// retryWhilePredecessorEnds tries again for a while if a predecessor has died without a farewell, and
// the pid file is its: its rooms, which still hold its sockets, are just about to notice.
func (h *Holdings) retryWhilePredecessorEnds(try func() error) error {
	end := time.Now().Add(predecessorWait)
	for {
		err := try()
		if err == nil || !h.PidFile.LeftBehind || time.Now().After(end) {
			return err
		}
		time.Sleep(predecessorWait / 100)
	}
}

// RemoveNames takes away what others find us by, so that a successor can start while
// our last sessions end. It may be called again: what has our names by then is
// not touched.
func (h *Holdings) RemoveNames() {
	h.PidFile.Remove()
	h.removeRunning()
	for _, c := range h.Controls {
		c.Remove()
	}
}

// place is a name that we write to.
type place struct {
	option, path string
	append       bool // to what is there
}

// places are those that others find the family by.
func (s *Site) places() []place {
	all := []place{{"pidfile", s.Inside(s.PidFile), false}}
	for _, c := range s.ControlSockets() {
		all = append(all, place{c.Option, c.Path, false})
	}
	return append(all, place{"statefile", s.Inside(s.StateFile), false})
}
