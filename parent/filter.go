// The packet filter's device, in the modes that ask it. It is opened here, where
// the privilege is, and asked by lookupd, which hears what it has to ask about from
// rooms that hear strangers. This file owns what is said when it is not to be had.

package parent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// openFilter opens the device for one lookupd.
func (p *parent) openFilter(c *config.Config) (*os.File, error) {
	f, err := p.Filter(c.Mode)
	if err != nil {
		return nil, fmt.Errorf("mode %s: %w: %s", c.Mode, err, filterRemedy(runtime.GOOS, err))
	}
	return f, nil
}

// checkFilter finds out before any room starts whether lookupd can be given it.
func (p *parent) checkFilter(c *config.Config) error {
	if !c.Mode.Filter() {
		return nil
	}
	f, err := p.openFilter(c)
	if err != nil {
		return err
	}
	return f.Close()
}

// handFilter gives lookupd the device, opened anew: we keep none. It is at its
// place before the first link to a session, which comes after Ready.
func (p *parent) handFilter(m *child) {
	c := m.gen.cfg
	if !c.Mode.Filter() {
		return
	}
	f, err := p.openFilter(c)
	if err != nil {
		p.log.Error("lookupd gets no packet filter", "error", err)
		p.kill(m) // its replacement gets another try
		return
	}
	defer f.Close()
	p.tell(m, &imsg.NatDevice{}, f)
}

// filterRemedy is what helps against err on a system.
func filterRemedy(system string, err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "start as root"
	case system == "openbsd":
		return "use divert-to in pf.conf, and mode getsockname"
	case system == "freebsd":
		return "load the packet filter, as with kldload pf or kldload ipl"
	case system == "linux":
		return "Linux has no such packet filter, use mode netfilter"
	}
	return "this system has no such packet filter, use another mode"
}
