//go:build amd64 || arm64

// Which system calls a word stands for. This file owns the tables: what each word
// allows, what is refused softly because programs try it, and what nobody does who
// means well. A call that stands nowhere does not exist for a room.

package sandbox

import (
	"os"

	"golang.org/x/sys/unix"
)

// threadFlags are those that make clone(2) a thread of this process, and
// threadMay what a C library adds for its own bookkeeping.
const (
	threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD
	threadMay   = unix.CLONE_SETTLS | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID | unix.CLONE_DETACHED
)

// tmpfile is the bit of O_TMPFILE that O_DIRECTORY is not.
const tmpfile = unix.O_TMPFILE &^ unix.O_DIRECTORY

// originalDst is SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST.
const originalDst = 80

// allowed returns the rules of the words of r, the most frequent calls first.
func (r *Rights) allowed() []rule {
	var all []rule
	for _, word := range r.Words {
		all = append(all, wordRules(word)...)
	}
	if LinkedWithCgo {
		all = append(all, cRules...)
	}
	return all
}

func wordRules(word string) []rule {
	pid := uint32(os.Getpid())
	switch word {
	case "stdio":
		return append(allow(
			unix.SYS_READ, unix.SYS_WRITE, unix.SYS_FUTEX, unix.SYS_EPOLL_PWAIT, unix.SYS_RECVMSG,
			unix.SYS_NANOSLEEP, unix.SYS_EPOLL_CTL, unix.SYS_CLOSE, unix.SYS_SCHED_YIELD, unix.SYS_GETPID, unix.SYS_GETTID,
			unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPROCMASK, unix.SYS_SIGALTSTACK,
			unix.SYS_MADVISE, unix.SYS_MUNMAP, unix.SYS_MINCORE, unix.SYS_FSTAT, unix.SYS_LSEEK,
			unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_READV, unix.SYS_WRITEV,
			unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_SHUTDOWN,
			unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY, unix.SYS_RESTART_SYSCALL, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
			unix.SYS_GETRANDOM, unix.SYS_GETRUSAGE, unix.SYS_SYSINFO, unix.SYS_UNAME,
			unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID,
			unix.SYS_EPOLL_CREATE1, unix.SYS_EVENTFD2,
		),
			// What connects by its first octets passes Landlock.
			allowIf(unix.SYS_SENDMSG, none(2, oddFlags)),
			// Memory is never both written and executed.
			allowIf(unix.SYS_MMAP, none(2, unix.PROT_EXEC)),
			allowIf(unix.SYS_MPROTECT, none(2, unix.PROT_EXEC)),
			allowIf(unix.SYS_CLONE, check{0, ^uint32(threadMay), []uint32{threadFlags}}),
			allowIf(unix.SYS_TGKILL, is(0, pid)),
			allowIf(unix.SYS_KILL, is(0, pid)),
			// Not F_SETFL: a log that is appended to stays so.
			allowIf(unix.SYS_FCNTL, is(1, unix.F_GETFL, unix.F_GETFD, unix.F_SETFD, unix.F_DUPFD_CLOEXEC)),
			allowIf(unix.SYS_GETSOCKOPT, is(1, unix.SOL_SOCKET), is(2, unix.SO_TYPE, unix.SO_ERROR, unix.SO_PEERCRED, unix.SO_PROTOCOL, unix.SO_DOMAIN, unix.SO_ACCEPTCONN)),
			allowIf(unix.SYS_SCHED_GETAFFINITY, is(0, 0, pid)),
			// Who asks to handle the answer to a hostile call means to make some.
			answerIf(unix.SECCOMP_RET_KILL_PROCESS, unix.SYS_RT_SIGACTION, is(0, uint32(unix.SIGSYS))),
			rule{call: unix.SYS_RT_SIGACTION, answer: unix.SECCOMP_RET_ALLOW},
		)
	case "stdio-sync":
		return allow(unix.SYS_FTRUNCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC)
	case "stdio-splice":
		return append(allow(unix.SYS_SPLICE),
			allowIf(unix.SYS_PIPE2, none(1, ^uint32(unix.O_CLOEXEC|unix.O_NONBLOCK))),
			allowIf(unix.SYS_FCNTL, is(1, unix.F_SETPIPE_SZ, unix.F_GETPIPE_SZ)))
	case "rpath":
		return append(allow(unix.SYS_NEWFSTATAT, unix.SYS_GETDENTS64, unix.SYS_READLINKAT),
			allowIf(unix.SYS_OPENAT, none(2, unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC|unix.O_APPEND|unix.O_PATH|tmpfile)))
	case "rpath-stat": // opening finds nothing, see noFiles
		return allow(unix.SYS_NEWFSTATAT)
	case "wpath":
		return append(allow(unix.SYS_FTRUNCATE),
			allowIf(unix.SYS_OPENAT, none(2, unix.O_CREAT|unix.O_PATH|tmpfile)))
	case "cpath":
		return append(allow(unix.SYS_UNLINKAT, unix.SYS_RENAMEAT),
			// Nobody else runs it as its owner.
			allowIf(unix.SYS_OPENAT, none(2, unix.O_PATH|tmpfile), none(3, unix.S_ISUID|unix.S_ISGID|unix.S_ISVTX)))
	case "flock":
		return allow(unix.SYS_FLOCK)
	case "unix-accept":
		return []rule{acceptOne}
	case "unix-connect":
		return append(allow(unix.SYS_CONNECT, unix.SYS_PPOLL),
			allowIf(unix.SYS_SOCKET, is(0, unix.AF_UNIX), kind(unix.SOCK_STREAM), is(2, 0)))
	case "inet-serve":
		return append(append(allow(unix.SYS_RECVFROM), tcpOptions...),
			acceptOne,
			// Whether the other side is still there.
			allowIf(unix.SYS_GETSOCKOPT, is(1, unix.SOL_TCP), is(2, unix.TCP_INFO)),
			// Where a redirected connection was meant to go.
			allowIf(unix.SYS_GETSOCKOPT, is(1, unix.SOL_IP, unix.SOL_IPV6), is(2, originalDst)))
	case "inet-answer":
		return append(allow(unix.SYS_RECVFROM), answerTo)
	case "inet-tcp":
		return append(append(allow(unix.SYS_CONNECT, unix.SYS_RECVFROM, unix.SYS_PPOLL), tcpOptions...),
			allowIf(unix.SYS_SOCKET, is(0, unix.AF_INET, unix.AF_INET6), kind(unix.SOCK_STREAM), is(2, 0, unix.IPPROTO_TCP)))
	case "inet-bind":
		return allow(unix.SYS_BIND)
	case "inet-udp":
		return append(append(allow(unix.SYS_CONNECT, unix.SYS_RECVFROM), tcpOptions...),
			allowIf(unix.SYS_SETSOCKOPT, is(1, unix.SOL_SOCKET), is(2, unix.SO_BROADCAST)),
			allowIf(unix.SYS_SOCKET, is(0, unix.AF_INET, unix.AF_INET6), kind(unix.SOCK_DGRAM), is(2, 0, unix.IPPROTO_UDP)))
	}
	return nil // recvfd and sendfd cannot be told from what stdio does; pf is of the BSDs
}

// answerTo sends to an address, but does not connect to it.
var answerTo = allowIf(unix.SYS_SENDTO, none(3, oddFlags))

// oddFlags are those of messages that nobody here uses: one connects, others have been
// holes of kernels.
const oddFlags = unix.MSG_FASTOPEN | unix.MSG_OOB | unix.MSG_ZEROCOPY

// acceptOne takes a connection; its flags are those of every descriptor.
var acceptOne = allowIf(unix.SYS_ACCEPT4, none(3, ^uint32(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)))

// tcpOptions are what package net sets, and we.
var tcpOptions = []rule{
	allowIf(unix.SYS_SETSOCKOPT, is(1, unix.SOL_SOCKET), is(2, unix.SO_KEEPALIVE)),
	allowIf(unix.SYS_SETSOCKOPT, is(1, unix.SOL_TCP), is(2, unix.TCP_NODELAY, unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT)),
	allowIf(unix.SYS_SETSOCKOPT, is(1, unix.SOL_IPV6), is(2, unix.IPV6_V6ONLY)),
}

// cRules are what a C library and the race detector need beside.
var cRules = append(allow(
	unix.SYS_BRK, unix.SYS_MREMAP, unix.SYS_RSEQ, unix.SYS_SET_ROBUST_LIST, unix.SYS_SET_TID_ADDRESS,
	unix.SYS_CLOCK_NANOSLEEP, unix.SYS_SCHED_GETAFFINITY,
), allowIf(unix.SYS_PRLIMIT64, is(2, 0)))

// probes are refused with what a program that tries them copes with. They are not
// worth a line in the kernel's log.
var probes = append([]rule{
	refuseIf(unix.EPERM, unix.SYS_FCNTL, is(1, unix.F_SETFL)),
	refuse(unix.EINVAL, unix.SYS_FCNTL),
	// Since Go 1.25 the runtime names its memory where the kernel can. After this
	// answer it does not try again.
	refuse(unix.EINVAL, unix.SYS_PRCTL),
	// A kernel without TCP Fast Open says so, too.
	refuse(unix.EOPNOTSUPP, unix.SYS_SENDMSG),
	refuse(unix.EOPNOTSUPP, unix.SYS_SENDTO),
	refuse(unix.ENOPROTOOPT, unix.SYS_GETSOCKOPT),
	refuse(unix.ENOPROTOOPT, unix.SYS_SETSOCKOPT),
	refuse(unix.ENOTTY, unix.SYS_IOCTL),
	refuse(unix.ENOENT, unix.SYS_NEWFSTATAT),
	refuse(unix.ENOENT, unix.SYS_READLINKAT),
	refuse(unix.ENOENT, unix.SYS_FACCESSAT),
	refuse(unix.ENOENT, unix.SYS_FACCESSAT2),
	refuse(unix.EACCES, unix.SYS_OPENAT),
	// Package net asks for the name of a link-local client's interface, and for what
	// the machine knows of families.
	refuseIf(unix.EAFNOSUPPORT, unix.SYS_SOCKET, is(0, unix.AF_NETLINK), is(2, unix.NETLINK_ROUTE)),
	refuseIf(unix.EAFNOSUPPORT, unix.SYS_SOCKET, is(0, unix.AF_INET, unix.AF_INET6), kind(unix.SOCK_STREAM, unix.SOCK_DGRAM), is(2, 0, unix.IPPROTO_TCP, unix.IPPROTO_UDP)),
	refuseIf(unix.EPROTONOSUPPORT, unix.SYS_SOCKET, is(0, unix.AF_INET, unix.AF_INET6), is(2, unix.IPPROTO_MPTCP)),
}, probesHere...)

// noFiles stands before probes where no file can be opened: there is none.
var noFiles = refuse(unix.ENOENT, unix.SYS_OPENAT)

// hostile are the calls that end the process which makes them, as far as no word
// allows them: nobody tries them who is what he was.
var hostile = map[string]uint32{
	// programs and processes
	"execve": unix.SYS_EXECVE, "execveat": unix.SYS_EXECVEAT, "clone": unix.SYS_CLONE,
	"ptrace": unix.SYS_PTRACE, "process_vm_readv": unix.SYS_PROCESS_VM_READV, "process_vm_writev": unix.SYS_PROCESS_VM_WRITEV,
	"process_madvise": unix.SYS_PROCESS_MADVISE, "kcmp": unix.SYS_KCMP,
	"pidfd_open": unix.SYS_PIDFD_OPEN, "pidfd_getfd": unix.SYS_PIDFD_GETFD, "pidfd_send_signal": unix.SYS_PIDFD_SEND_SIGNAL,
	"kill": unix.SYS_KILL, "tkill": unix.SYS_TKILL, "tgkill": unix.SYS_TGKILL,
	"rt_sigqueueinfo": unix.SYS_RT_SIGQUEUEINFO, "rt_tgsigqueueinfo": unix.SYS_RT_TGSIGQUEUEINFO,
	// memory that can be executed
	"mmap": unix.SYS_MMAP, "mprotect": unix.SYS_MPROTECT, "pkey_mprotect": unix.SYS_PKEY_MPROTECT,
	"personality": unix.SYS_PERSONALITY, "userfaultfd": unix.SYS_USERFAULTFD,
	// sockets beside those of the words
	"socket": unix.SYS_SOCKET, "socketpair": unix.SYS_SOCKETPAIR, "listen": unix.SYS_LISTEN,
	"bind": unix.SYS_BIND, "connect": unix.SYS_CONNECT,
	// who we are, and where
	"setuid": unix.SYS_SETUID, "setgid": unix.SYS_SETGID, "setreuid": unix.SYS_SETREUID, "setregid": unix.SYS_SETREGID,
	"setresuid": unix.SYS_SETRESUID, "setresgid": unix.SYS_SETRESGID, "setgroups": unix.SYS_SETGROUPS,
	"setfsuid": unix.SYS_SETFSUID, "setfsgid": unix.SYS_SETFSGID, "capset": unix.SYS_CAPSET,
	"unshare": unix.SYS_UNSHARE, "setns": unix.SYS_SETNS, "chroot": unix.SYS_CHROOT, "pivot_root": unix.SYS_PIVOT_ROOT,
	"mount": unix.SYS_MOUNT, "umount2": unix.SYS_UMOUNT2, "move_mount": unix.SYS_MOVE_MOUNT, "open_tree": unix.SYS_OPEN_TREE,
	"fsopen": unix.SYS_FSOPEN, "fsconfig": unix.SYS_FSCONFIG, "fsmount": unix.SYS_FSMOUNT, "fspick": unix.SYS_FSPICK,
	"mount_setattr": unix.SYS_MOUNT_SETATTR,
	// files: links, nodes, modes and owners
	"linkat": unix.SYS_LINKAT, "symlinkat": unix.SYS_SYMLINKAT, "mknodat": unix.SYS_MKNODAT,
	"fchmod": unix.SYS_FCHMOD, "fchmodat": unix.SYS_FCHMODAT, "fchmodat2": unix.SYS_FCHMODAT2,
	"fchown": unix.SYS_FCHOWN, "fchownat": unix.SYS_FCHOWNAT,
	"open_by_handle_at": unix.SYS_OPEN_BY_HANDLE_AT, "name_to_handle_at": unix.SYS_NAME_TO_HANDLE_AT, "fanotify_init": unix.SYS_FANOTIFY_INIT,
	// the kernel
	"bpf": unix.SYS_BPF, "perf_event_open": unix.SYS_PERF_EVENT_OPEN,
	"io_uring_setup": unix.SYS_IO_URING_SETUP, "io_uring_enter": unix.SYS_IO_URING_ENTER, "io_uring_register": unix.SYS_IO_URING_REGISTER,
	"add_key": unix.SYS_ADD_KEY, "request_key": unix.SYS_REQUEST_KEY, "keyctl": unix.SYS_KEYCTL,
	"kexec_load": unix.SYS_KEXEC_LOAD, "init_module": unix.SYS_INIT_MODULE, "finit_module": unix.SYS_FINIT_MODULE, "delete_module": unix.SYS_DELETE_MODULE,
	"reboot": unix.SYS_REBOOT, "swapon": unix.SYS_SWAPON, "swapoff": unix.SYS_SWAPOFF, "acct": unix.SYS_ACCT,
	"quotactl": unix.SYS_QUOTACTL, "syslog": unix.SYS_SYSLOG, "sethostname": unix.SYS_SETHOSTNAME, "setdomainname": unix.SYS_SETDOMAINNAME,
	"clock_settime": unix.SYS_CLOCK_SETTIME, "settimeofday": unix.SYS_SETTIMEOFDAY, "adjtimex": unix.SYS_ADJTIMEX, "clock_adjtime": unix.SYS_CLOCK_ADJTIME,
}
