package sandbox

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func setRlimit(l *unix.Rlimit, n uint64) { l.Cur, l.Max = int64(n), int64(n) }

func (r *Rights) fence() error { return nil }

// seal puts those who need no names into capability mode, for good.
func (r *Rights) seal() error {
	kernel := FreeBSD{CapEnter: unix.CapEnter}
	return kernel.Confine(r)
}

// Layers names what holds a room of this build on this kernel, and what does not. Rights
// are taken from descriptors where they are opened. Both come with Capsicum: a kernel
// without it knows none of its calls (cap_getmode(2), ENOSYS).
func Layers(string) (have, missing []string) {
	have, missing = []string{"users", "chroot"}, []string{"filters of system calls for rooms that connect"}
	var mode uint32
	if _, _, errno := unix.Syscall(unix.SYS_CAP_GETMODE, uintptr(unsafe.Pointer(&mode)), 0, 0); errno != 0 {
		return have, append(missing, "Capsicum (capability mode for lockd, rights of descriptors)")
	}
	return append(have, "descriptor-rights", "capability-mode"), missing
}
