//go:build !linux

package process

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Load returns the load average of the last minute, 0 if it cannot be told
// (sysctl vm.loadavg).
func Load() float64 {
	b, err := unix.SysctlRaw("vm.loadavg")
	if err != nil {
		return 0
	}
	return loadAverage(b, strconv.IntSize/8)
}
