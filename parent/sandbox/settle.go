// How a process gets to the place where it lives, and becomes who it will be there. This
// file owns the order of these steps: each takes away what one before it needs.

package sandbox

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// system is what settling asks of the kernel. Tests have one that writes down what it hears.
type system struct {
	chdir            func(string) error
	dropBoundingSet  func() error
	fence            func(*Rights) error
	chroot           func(string) error
	become           func(Identity) error
	setDumpable      func(bool) error
	dropCapabilities func(uint32) error
	openRoot         func(string) (*os.Root, error)
	seal             func(*Rights) error
}

// native is the one there is.
var native = system{
	os.Chdir, dropBoundingSet, (*Rights).fence, unix.Chroot, Identity.Become, setDumpable, dropCapabilities,
	os.OpenRoot, (*Rights).seal,
}

// settle returns the root directory, for whom needs no other name.
func (s *Spec) settle(k *system) (root *os.Root, err error) {
	confined := len(s.Words) > 0
	if err := k.chdir(s.RootDir); err != nil {
		return nil, fmt.Errorf("work in %s: %w", s.RootDir, err)
	}
	if confined {
		// What reaches the threads one by one comes before the root directory
		// changes: it may need /proc.
		if err := k.dropBoundingSet(); err != nil {
			return nil, err
		}
		if err := k.fence(&s.Rights); err != nil {
			return nil, err
		}
	}
	if s.Chroot {
		if LinkedWithCgo && s.Identity.UID <= 0 {
			return nil, errors.New("linked with cgo, as it is, not all threads of it can be bound: build it with CGO_ENABLED=0")
		}
		if err := k.chroot("."); err != nil {
			return nil, fmt.Errorf("chroot to %s: %w", s.RootDir, err)
		}
		if err := k.chdir("/"); err != nil {
			return nil, fmt.Errorf("work in %s: %w", s.RootDir, err)
		}
	}
	if err := k.become(s.Identity); err != nil {
		return nil, err
	}
	if err := k.setDumpable(s.Dumps); err != nil {
		return nil, err
	}
	if err := k.dropCapabilities(s.Capabilities); err != nil || !confined {
		return nil, err
	}
	// As who it is, not who it was; and while there are names still.
	if s.belowRoot() && s.opens() {
		if root, err = k.openRoot("."); err != nil {
			return nil, fmt.Errorf("work below %s: %w", s.RootDir, err)
		}
	}
	if err := k.seal(&s.Rights); err != nil {
		if root != nil {
			root.Close()
		}
		return nil, err
	}
	return root, nil
}
