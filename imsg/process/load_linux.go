package process

import "golang.org/x/sys/unix"

// Load returns the load average of the last minute, 0 if it cannot be told. It
// needs no file, so it works in any room (sysinfo(2)).
func Load() float64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return float64(info.Loads[0]) / (1 << 16)
}
