// The packet filter's device, in the modes that ask it. It is opened here, where
// the privilege is, and asked by lookupd, which hears what it has to ask about from
// rooms that hear strangers. This file owns what is said when it is not to be had.

package site

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
)

// openFilter opens the device; it is nil in the modes that ask none.
func (s *Site) openFilter() (*os.File, error) {
	if !s.Mode.Filter() {
		return nil, nil
	}
	f, err := s.Filter(s.Mode)
	if err != nil {
		return nil, fmt.Errorf("mode %s: %w: %s", s.Mode, err, filterRemedy(runtime.GOOS, err))
	}
	return f, nil
}

// checkFilter finds out before any room starts whether the device can be opened.
func (s *Site) checkFilter() error {
	f, err := s.openFilter()
	if f != nil {
		err = f.Close()
	}
	return err
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
