// What a family has from its first generation to its last, and what another program
// that takes over from it must be handed. This file owns that two families do not
// have it at once.

package site

import (
	"fmt"
	"io/fs"
	"os"
	"time"

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
	Control   *socket.Control
	Ledger    *os.File // where counters outlive their keeper

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
	for _, f := range []struct{ option, path string }{
		{"pidfile", s.PidFile}, {"control_socket", s.Control()}, {"statefile", s.StateFile},
	} {
		if err := host.MakeWay(s.Inside(f.path)); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Called(f.option), err)
		}
	}
	if h.PidFile, err = host.LockPidFile(s.Inside(s.PidFile)); err != nil {
		return nil, err
	}
	if err = h.retryWhilePredecessorEnds(func() error { h.Control, err = s.openControl(); return err }); err != nil {
		return nil, err
	}
	if h.Ledger, err = host.NamelessFile("ledger"); err != nil {
		return nil, err
	}
	return h, h.assess(s)
}

// Inherit takes hold of what another family has, and will give up when sessions are served
// here: until Succeed it is not ours. paths are of the pid file and the control socket, as
// the other has them.
func (s *Site) Inherit(set *socket.Set, control, ledger *os.File, pidFile, controlPath string) (*Holdings, error) {
	h := &Holdings{Listeners: set, Ledger: ledger}
	for _, f := range []struct{ option, is, was string }{
		{"pidfile", s.Inside(s.PidFile), pidFile}, {"control_socket", s.Inside(s.Control()), controlPath},
	} {
		if f.is != f.was {
			return nil, fmt.Errorf("%s: needs a restart: it is %s now, and was %s", s.Called(f.option), f.is, f.was)
		}
	}
	gid, err := s.controlGroup()
	if err != nil {
		return nil, err
	}
	at, err := host.OpenPlace(controlPath)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", s.Called("control_socket"), controlPath, err)
	}
	h.Control = socket.InheritControl(control, at.Folder, at.Name, gid, fs.FileMode(s.ControlPerm))
	if h.PidFile, err = host.InheritPidFile(pidFile); err != nil {
		return nil, err
	}
	return h, h.assess(s)
}

// Succeed makes ours what others find a daemon by. It is an error as long as the other
// family has it.
func (h *Holdings) Succeed() error {
	if err := h.PidFile.Take(); err != nil {
		return err
	}
	h.Control.Own()
	return nil
}

// Yield leaves what others find us by to a family that inherits it.
func (h *Holdings) Yield() {
	h.Control.Yield()
	h.PidFile.Yield()
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
	h.Control.Remove()
}
