//go:build !linux

package process

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Load returns the load average of the last minute, 0 if it cannot be told
// (sysctl vm.loadavg: struct loadavg of sys/resource.h, three fixed-point numbers
// and their scale, a long).
func Load() float64 {
	b, err := unix.SysctlRaw("vm.loadavg")
	const scale = 16 // behind 3 x 4 octets, aligned
	if err != nil || len(b) < scale+int(unsafe.Sizeof(uintptr(0))) {
		return 0
	}
	n := binary.NativeEndian.Uint32(b)
	div := uint64(binary.NativeEndian.Uint32(b[scale:]))
	if unsafe.Sizeof(uintptr(0)) == 8 {
		div = binary.NativeEndian.Uint64(b[scale:])
	}
	if div == 0 {
		return 0
	}
	return float64(n) / float64(div)
}
