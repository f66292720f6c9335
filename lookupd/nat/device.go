// The devices of the packet filters. This file owns how one is opened: so that it
// serves lookups and nothing else, whoever may come to hold it.

package nat

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The devices that are asked.
const (
	PFDevice       = "/dev/pf"
	IPFilterDevice = "/dev/ipnat"
)

// Open opens a device read-only: that suffices for lookups, and cannot change
// rules. FreeBSD refuses all other questions through it as well; on OpenBSD it is
// pledge(2) that does so. Errors: the system's.
func Open(device string) (*os.File, error) {
	// Not os.Open: the runtime's poller has no business with it.
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: device, Err: err}
	}
	f := os.NewFile(uintptr(fd), device)
	if err := limit(fd); err != nil {
		f.Close()
		return nil, fmt.Errorf("limit %s to lookups: %w", device, err)
	}
	return f, nil
}
