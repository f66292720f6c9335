//go:build amd64 || arm64

// A daemon whose system calls a test answers: seccomp_unotify(2). This file owns the
// launcher, which is the test's own program under another name: it has the kernel ask
// about some calls, gives the test the end where the questions come out, and becomes the
// daemon. Everything that the daemon starts is asked about, too.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// injectable says that a test can be asked about system calls.
const injectable = true

// launcherKey tells the test's program that it is a launcher, and the number of the
// descriptor to the test.
const launcherKey = "GATE_LAUNCHER"

// askedAbout are the calls that go to the test. Those that a Go program makes to wait and
// to wake are not among them.
var askedAbout = map[string]uint32{
	"accept4": unix.SYS_ACCEPT4, "clone": unix.SYS_CLONE, "clone3": unix.SYS_CLONE3, "connect": unix.SYS_CONNECT,
	"epoll_create1": unix.SYS_EPOLL_CREATE1, "fcntl": unix.SYS_FCNTL, "fdatasync": unix.SYS_FDATASYNC, "flock": unix.SYS_FLOCK, "fstat": unix.SYS_FSTAT,
	"fsync": unix.SYS_FSYNC, "ftruncate": unix.SYS_FTRUNCATE, "getdents64": unix.SYS_GETDENTS64, "linkat": unix.SYS_LINKAT,
	"mkdirat": unix.SYS_MKDIRAT, "mmap": unix.SYS_MMAP, "newfstatat": unix.SYS_NEWFSTATAT, "openat": unix.SYS_OPENAT,
	"pipe2": unix.SYS_PIPE2, "pread64": unix.SYS_PREAD64, "pwrite64": unix.SYS_PWRITE64, "read": unix.SYS_READ,
	"recvmsg": unix.SYS_RECVMSG, "renameat": unix.SYS_RENAMEAT, "socket": unix.SYS_SOCKET, "socketpair": unix.SYS_SOCKETPAIR,
	"unlinkat": unix.SYS_UNLINKAT, "write": unix.SYS_WRITE,
}

// machines are how the kernel names what it runs on.
var machines = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// launcher makes this process the daemon if it is one that has just been started for that.
func launcher() {
	number, ok := os.LookupEnv(launcherKey)
	if !ok {
		return
	}
	os.Unsetenv(launcherKey)
	fmt.Fprintln(os.Stderr, "launch:", becomeDaemon(number))
	os.Exit(1)
}

// becomeDaemon gives a listener, which no exec passes on, away and executes the arguments.
// The filter binds the thread that executes, and what comes of it; another one, which
// nobody asks about, hands the listener over.
func becomeDaemon(number string) error {
	to, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	unix.CloseOnExec(to)
	path, err := exec.LookPath(os.Args[1])
	if err != nil {
		return err
	}
	listeners, sent := make(chan int), make(chan error)
	go func() { sent <- unix.Sendmsg(to, []byte{0}, unix.UnixRights(<-listeners), nil, 0) }()
	runtime.LockOSThread()
	listener, err := listen()
	if err != nil {
		return err
	}
	listeners <- listener
	if err := <-sent; err != nil {
		return err
	}
	return syscall.Exec(path, os.Args[1:], os.Environ())
}

// listen has the kernel ask about this thread's calls. A signal does not take a question
// back that somebody has read: Go sends its threads many.
func listen() (int, error) {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 4}, // the machine
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: machines[runtime.GOARCH], Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the call
	}
	left := len(askedAbout)
	for _, call := range askedAbout {
		program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jt: uint8(left)})
		left--
	}
	program = append(program,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	if os.Geteuid() != 0 {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return 0, err
		}
	}
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&p)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return 0, fmt.Errorf("listen for system calls: %w", errno)
	}
	return int(fd), nil
}
