// What Landlock leaves open: MPTCP passes its rules for TCP, and UDP has none. Who is
// confined has every socket it will ever need, so no new one is to be had, and
// no new program.

package sandbox

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

var machines = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// forbidden are calls that fail with EPERM. io_uring would make them in our stead.
var forbidden = []uint32{
	unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PTRACE,
	unix.SYS_IO_URING_SETUP, unix.SYS_BPF, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT,
	unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD,
}

// x32 numbers calls of its own from here on, on amd64.
const x32 = 0x40000000

// closeCalls forbids them in every thread, for good. It needs no_new_privs before
// it. On other machines than those it knows it does nothing.
func closeCalls() error {
	machine, ok := machines[runtime.GOARCH]
	if !ok {
		return nil
	}
	const refuse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	load := func(offset uint32) unix.SockFilter { // from struct seccomp_data
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	answer := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
	}
	// The next instruction runs only if the comparison holds.
	when := func(comparison uint16, k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | comparison, Jf: 1, K: k}
	}
	program := []unix.SockFilter{
		load(4), // the machine whose calls these are
		{Code: unix.BPF_JMP | unix.BPF_K | unix.BPF_JEQ, Jt: 1, K: machine},
		answer(unix.SECCOMP_RET_KILL_PROCESS),
		load(0), // the call
		when(unix.BPF_JGE, x32), answer(refuse),
	}
	for _, call := range forbidden {
		program = append(program, when(unix.BPF_JEQ, call), answer(refuse))
	}
	program = append(program, answer(unix.SECCOMP_RET_ALLOW))

	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&p)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return fmt.Errorf("forbid calls: %w", errno)
	}
	return nil
}
