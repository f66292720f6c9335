// The capabilities of a process that stays root. This file owns that what it gives up
// is gone in each of its threads, in every build.

package sandbox

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// Capabilities returns those in effect, a bit for each of capabilities(7).
func Capabilities() (uint64, error) {
	sets, err := capabilitySets()
	return uint64(sets[1].Effective)<<32 | uint64(sets[0].Effective), err
}

// Keep gives up all capabilities but those of a mask, as Capabilities has it, for
// good. What this process starts as root has no more either, if bounding says so and
// CAP_SETPCAP is there; else it has all that we had. bounded tells whether that takes
// anything from it. After an error some may be left.
func Keep(mask uint64, bounding bool) (bounded bool, err error) {
	if bounding {
		if bounded, err = bound(mask); err != nil {
			return bounded, err
		}
	}
	sets, err := capabilitySets()
	if err != nil {
		return bounded, err
	}
	for i := range sets {
		part := uint32(mask >> (32 * i))
		sets[i].Effective &= part
		sets[i].Permitted &= part
		sets[i].Inheritable &= part
	}
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	_, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(sets)), 0)
	runtime.KeepAlive(header)
	runtime.KeepAlive(sets)
	if errno != 0 {
		return bounded, fmt.Errorf("drop capabilities: %w", errno)
	}
	return bounded, nil
}

// bound takes from what we start all that is not in a mask, and tells whether there was
// any. Without CAP_SETPCAP there is none that it could take.
func bound(mask uint64) (some bool, err error) {
	for c := range uintptr(64) {
		if mask&(1<<c) != 0 {
			continue
		}
		have, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err == unix.EINVAL { // past the last one this kernel knows
			break
		}
		if err != nil || have == 0 {
			continue
		}
		_, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0, 0)
		if errno == unix.EPERM {
			return some, nil
		}
		if errno != 0 {
			return some, fmt.Errorf("drop capability %d for what is started: %w", c, errno)
		}
		some = true
	}
	return some, nil
}

func capabilitySets() (*[2]unix.CapUserData, error) {
	sets := new([2]unix.CapUserData)
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(header, &sets[0]); err != nil {
		return sets, fmt.Errorf("read capabilities: %w", err)
	}
	return sets, nil
}
