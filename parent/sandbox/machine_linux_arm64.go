package sandbox

import "golang.org/x/sys/unix"

// machine is whose system calls these are.
const machine = unix.AUDIT_ARCH_AARCH64

// otherNumbers would be where the calls of a second kind begin.
const otherNumbers = 0x40000000

// callRegister holds the call's number when the kernel has refused it.
const callRegister = "r8"

// What only old machines have.
var (
	hostileHere = map[string]uint32{}
	probesHere  []rule
)
