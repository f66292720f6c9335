//go:build freebsd || openbsd

// The load average on the BSDs: sysctl vm.loadavg, which needs no file and
// which pledge allows.

package lockd

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// loadavg is struct loadavg of <sys/resource.h>, the same on both.
type loadavg struct {
	averages [3]uint32
	scale    int // C's long, with its alignment
}

func loadAverage() float64 {
	raw, err := unix.SysctlRaw("vm.loadavg")
	if err != nil || len(raw) < int(unsafe.Sizeof(loadavg{})) {
		return 0
	}
	l := *(*loadavg)(unsafe.Pointer(&raw[0]))
	if l.scale == 0 {
		return 0
	}
	return float64(l.averages[0]) / float64(l.scale)
}
