package sandbox

import "golang.org/x/sys/unix"

// machine is whose system calls these are.
const machine = unix.AUDIT_ARCH_X86_64

// otherNumbers is where the calls of x32 begin.
const otherNumbers = 0x40000000

// callRegister holds the call's number when the kernel has refused it.
const callRegister = "rax"

// hostileHere are those of hostile that only old machines have.
var hostileHere = map[string]uint32{
	"fork": unix.SYS_FORK, "vfork": unix.SYS_VFORK,
	"chmod": unix.SYS_CHMOD, "chown": unix.SYS_CHOWN, "lchown": unix.SYS_LCHOWN,
	"link": unix.SYS_LINK, "symlink": unix.SYS_SYMLINK, "mknod": unix.SYS_MKNOD,
	"iopl": unix.SYS_IOPL, "ioperm": unix.SYS_IOPERM, "modify_ldt": unix.SYS_MODIFY_LDT,
	"create_module": unix.SYS_CREATE_MODULE, "uselib": unix.SYS_USELIB,
}

// probesHere are those of probes that only old machines have.
var probesHere = []rule{
	refuse(unix.ENOENT, unix.SYS_OPEN), refuse(unix.ENOENT, unix.SYS_STAT), refuse(unix.ENOENT, unix.SYS_LSTAT),
	refuse(unix.ENOENT, unix.SYS_ACCESS), refuse(unix.ENOENT, unix.SYS_READLINK),
}
