//go:build amd64 || arm64

// Whether the two systems make the same of a word. What a room does is seen on Linux,
// where a call that no word allows fails in a test; OpenBSD kills a room for the first
// one that nothing promised. So what Linux allows has to be promised there.

package sandbox

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// deed is a call as Linux has it, and the promises that OpenBSD wants for what the same
// line of ours comes to there (sys/kern/kern_pledge.c 1.333 and vfs_syscalls.c, of OpenBSD 7.8): all words
// of one of the lists that | divides.
type deed struct {
	call  uint32
	args  [4]uint32
	wants string
}

// nowhere is for what is never done there.
const nowhere = "-"

// plain are deeds in which arguments do not matter, by what is wanted for them.
var plain = map[string]map[string]uint32{
	"stdio": {
		"read": unix.SYS_READ, "write": unix.SYS_WRITE, "readv": unix.SYS_READV, "writev": unix.SYS_WRITEV,
		"pread64": unix.SYS_PREAD64, "pwrite64": unix.SYS_PWRITE64, "lseek": unix.SYS_LSEEK, "fstat": unix.SYS_FSTAT, "close": unix.SYS_CLOSE,
		"recvmsg": unix.SYS_RECVMSG, "sendmsg": unix.SYS_SENDMSG, "recvfrom": unix.SYS_RECVFROM, "sendto": unix.SYS_SENDTO,
		"shutdown": unix.SYS_SHUTDOWN, "getsockname": unix.SYS_GETSOCKNAME, "getpeername": unix.SYS_GETPEERNAME, "socketpair": unix.SYS_SOCKETPAIR,
		"epoll_pwait": unix.SYS_EPOLL_PWAIT, "epoll_ctl": unix.SYS_EPOLL_CTL, "epoll_create1": unix.SYS_EPOLL_CREATE1, // kevent, kqueue
		"eventfd2": unix.SYS_EVENTFD2, "pipe2": unix.SYS_PIPE2, "ppoll": unix.SYS_PPOLL,
		"futex": unix.SYS_FUTEX, "sched_yield": unix.SYS_SCHED_YIELD, "nanosleep": unix.SYS_NANOSLEEP,
		"sigreturn": unix.SYS_RT_SIGRETURN, "sigprocmask": unix.SYS_RT_SIGPROCMASK, "sigaltstack": unix.SYS_SIGALTSTACK, "sigaction": unix.SYS_RT_SIGACTION,
		"madvise": unix.SYS_MADVISE, "munmap": unix.SYS_MUNMAP,
		"getpid": unix.SYS_GETPID, "gettid": unix.SYS_GETTID, "getuid": unix.SYS_GETUID, "geteuid": unix.SYS_GETEUID, "getgid": unix.SYS_GETGID, "getegid": unix.SYS_GETEGID,
		"clock_gettime": unix.SYS_CLOCK_GETTIME, "gettimeofday": unix.SYS_GETTIMEOFDAY, "getrusage": unix.SYS_GETRUSAGE,
		"getrandom":         unix.SYS_GETRANDOM,         // getentropy
		"sysinfo":           unix.SYS_SYSINFO,           // sysctl vm.loadavg
		"uname":             unix.SYS_UNAME,             // sysctl kern.ostype and others
		"sched_getaffinity": unix.SYS_SCHED_GETAFFINITY, // sysctl hw.ncpuonline
		"ftruncate":         unix.SYS_FTRUNCATE, "fsync": unix.SYS_FSYNC, "fdatasync": unix.SYS_FDATASYNC,
	},
	"": { // always
		"exit": unix.SYS_EXIT, "exit_group": unix.SYS_EXIT_GROUP,
	},
	"rpath":                    {"getdents64": unix.SYS_GETDENTS64, "newfstatat": unix.SYS_NEWFSTATAT, "readlinkat": unix.SYS_READLINKAT},
	"cpath":                    {"unlinkat": unix.SYS_UNLINKAT, "symlinkat": unix.SYS_SYMLINKAT, "mkdirat": unix.SYS_MKDIRAT},
	"rpath cpath":              {"renameat": unix.SYS_RENAMEAT, "linkat": unix.SYS_LINKAT},
	"dpath":                    {"mknodat": unix.SYS_MKNODAT},
	"fattr":                    {"fchmod": unix.SYS_FCHMOD},
	"fattr rpath":              {"fchmodat": unix.SYS_FCHMODAT},
	"chown":                    {"fchown": unix.SYS_FCHOWN},
	"chown rpath":              {"fchownat": unix.SYS_FCHOWNAT},
	"flock":                    {"flock": unix.SYS_FLOCK},
	"inet|unix":                {"connect": unix.SYS_CONNECT, "bind": unix.SYS_BIND, "listen": unix.SYS_LISTEN, "accept4": unix.SYS_ACCEPT4},
	"exec":                     {"execve": unix.SYS_EXECVE},
	"id":                       {"setuid": unix.SYS_SETUID, "setresuid": unix.SYS_SETRESUID, "setgroups": unix.SYS_SETGROUPS},
	nowhere + " of Linux only": {"splice": unix.SYS_SPLICE, "restart_syscall": unix.SYS_RESTART_SYSCALL, "mincore": unix.SYS_MINCORE},
}

// deeds are all, by name.
func deeds() map[string]deed {
	self := uint32(os.Getpid())
	all := map[string]deed{
		"read a file":           {unix.SYS_OPENAT, [4]uint32{2: unix.O_RDONLY}, "rpath"},
		"write a file":          {unix.SYS_OPENAT, [4]uint32{2: unix.O_WRONLY}, "wpath"},
		"read and write a file": {unix.SYS_OPENAT, [4]uint32{2: unix.O_RDWR}, "rpath wpath"},
		"make a file":           {unix.SYS_OPENAT, [4]uint32{2: unix.O_WRONLY | unix.O_CREAT}, "wpath cpath"},
		"make and read a file":  {unix.SYS_OPENAT, [4]uint32{2: unix.O_RDWR | unix.O_CREAT}, "rpath wpath cpath"},

		"map memory":               {unix.SYS_MMAP, [4]uint32{2: unix.PROT_READ | unix.PROT_WRITE}, "stdio"},
		"map memory to execute":    {unix.SYS_MMAP, [4]uint32{2: unix.PROT_EXEC}, "prot_exec"},
		"protect memory":           {unix.SYS_MPROTECT, [4]uint32{2: unix.PROT_READ}, "stdio"},
		"have memory executed":     {unix.SYS_MPROTECT, [4]uint32{2: unix.PROT_EXEC}, "prot_exec"},
		"start a thread":           {unix.SYS_CLONE, [4]uint32{threadFlags}, "stdio"}, // __tfork
		"start a process":          {unix.SYS_CLONE, [4]uint32{uint32(unix.SIGCHLD)}, "proc"},
		"signal a thread":          {unix.SYS_TGKILL, [4]uint32{self}, ""}, // thrkill
		"signal oneself":           {unix.SYS_KILL, [4]uint32{self}, "stdio"},
		"signal another":           {unix.SYS_KILL, [4]uint32{self + 1}, "proc"},
		"ask a descriptor's flags": {unix.SYS_FCNTL, [4]uint32{1: unix.F_GETFL}, "stdio"},
		"set a descriptor's flags": {unix.SYS_FCNTL, [4]uint32{1: unix.F_SETFL}, "stdio"},
		"duplicate a descriptor":   {unix.SYS_FCNTL, [4]uint32{1: unix.F_DUPFD_CLOEXEC}, "stdio"},
		"have a signal for it":     {unix.SYS_FCNTL, [4]uint32{1: unix.F_SETOWN}, "proc"},
		"size a pipe":              {unix.SYS_FCNTL, [4]uint32{1: unix.F_SETPIPE_SZ}, nowhere},

		"a UNIX socket": {unix.SYS_SOCKET, [4]uint32{unix.AF_UNIX, unix.SOCK_STREAM}, "unix"},
		"a TCP socket":  {unix.SYS_SOCKET, [4]uint32{unix.AF_INET6, unix.SOCK_STREAM}, "inet"},
		"a UDP socket":  {unix.SYS_SOCKET, [4]uint32{unix.AF_INET, unix.SOCK_DGRAM}, "inet"},

		"SO_ERROR":     {unix.SYS_GETSOCKOPT, [4]uint32{1: unix.SOL_SOCKET, 2: unix.SO_ERROR}, "stdio"},
		"SO_TYPE":      {unix.SYS_GETSOCKOPT, [4]uint32{1: unix.SOL_SOCKET, 2: unix.SO_TYPE}, "inet|unix"},
		"SO_PEERCRED":  {unix.SYS_GETSOCKOPT, [4]uint32{1: unix.SOL_SOCKET, 2: unix.SO_PEERCRED}, "inet|unix"},
		"TCP_INFO":     {unix.SYS_GETSOCKOPT, [4]uint32{1: unix.SOL_TCP, 2: unix.TCP_INFO}, "inet"},
		"original":     {unix.SYS_GETSOCKOPT, [4]uint32{1: unix.SOL_IP, 2: originalDst}, nowhere},
		"SO_KEEPALIVE": {unix.SYS_SETSOCKOPT, [4]uint32{1: unix.SOL_SOCKET, 2: unix.SO_KEEPALIVE}, "inet|unix"},
		"SO_BROADCAST": {unix.SYS_SETSOCKOPT, [4]uint32{1: unix.SOL_SOCKET, 2: unix.SO_BROADCAST}, "inet|unix"},
		"TCP_NODELAY":  {unix.SYS_SETSOCKOPT, [4]uint32{1: unix.SOL_TCP, 2: unix.TCP_NODELAY}, "stdio"},
		"TCP_KEEPIDLE": {unix.SYS_SETSOCKOPT, [4]uint32{1: unix.SOL_TCP, 2: unix.TCP_KEEPIDLE}, nowhere}, // package net knows that it lacks it
		"IPV6_V6ONLY":  {unix.SYS_SETSOCKOPT, [4]uint32{1: unix.SOL_IPV6, 2: unix.IPV6_V6ONLY}, "inet"},
	}
	for wants, calls := range plain {
		for name, call := range calls {
			all[name] = deed{call: call, wants: wants}
		}
	}
	return all
}

// allowed tells whether the words let Linux do it.
func (d deed) allowed(r *Rights) bool {
	fails := func(c check) bool { return !slices.Contains(c.values, d.args[c.argument]&c.mask) }
	for _, word := range r.Words {
		for _, rule := range wordRules(word) {
			if rule.call == d.call && !slices.ContainsFunc(rule.checks, fails) {
				return rule.answer == unix.SECCOMP_RET_ALLOW
			}
		}
	}
	return false
}

// promised tells whether the words promise it to OpenBSD.
func (d deed) promised(r *Rights) bool {
	have := strings.Fields(r.promises())
	for list := range strings.SplitSeq(d.wants, "|") {
		if !slices.ContainsFunc(strings.Fields(list), func(p string) bool { return !slices.Contains(have, p) }) {
			return true
		}
	}
	return false
}

// unpromised is what Linux allows with a word, and OpenBSD would kill for.
var unpromised = map[string][]string{
	// Links are sockets: who has any can accept or connect, so one of these promises is
	// made.
	"stdio": {"SO_TYPE", "SO_PEERCRED"},
	// A call that takes two words there belongs to one here. Who has these words has
	// those that are missing, too.
	"wpath": {"read a file", "read and write a file"},
	"cpath": {"read a file", "write a file", "read and write a file", "make a file", "make and read a file", "renameat"},
}

// wider is what a promise covers and its word does not.
var wider = map[string][]string{
	"stdio": {
		"ftruncate", "fsync", "fdatasync", "pipe2", // stdio-sync, stdio-splice
		"recvfrom", "sendto", "TCP_NODELAY", "ppoll", // inet-*, unix-connect
		"socketpair", "set a descriptor's flags",
	},
	"cpath":        {"symlinkat", "mkdirat"},
	"rpath-stat":   {"getdents64", "read a file", "readlinkat"}, // there is none in the folders this is for
	"unix-accept":  {"a UNIX socket", "connect", "bind", "listen", "SO_KEEPALIVE", "SO_BROADCAST"},
	"unix-connect": {"accept4", "bind", "listen", "SO_KEEPALIVE", "SO_BROADCAST"},
	"inet-answer":  {"IPV6_V6ONLY", "SO_BROADCAST", "SO_KEEPALIVE", "TCP_INFO", "a TCP socket", "a UDP socket", "accept4", "bind", "connect", "listen"},
	"inet-serve":   {"a TCP socket", "a UDP socket", "connect", "bind", "listen", "SO_BROADCAST"},
	"inet-tcp":     {"a UDP socket", "accept4", "bind", "listen", "SO_BROADCAST", "TCP_INFO"},
	"inet-udp":     {"a TCP socket", "accept4", "bind", "listen", "TCP_INFO"},
	"inet-bind":    {"IPV6_V6ONLY", "SO_BROADCAST", "SO_KEEPALIVE", "TCP_INFO", "a TCP socket", "a UDP socket", "accept4", "connect", "listen"},
}

// TestPromises: what a word adds on Linux it adds on OpenBSD, and the other way round.
func TestPromises(t *testing.T) {
	all := deeds()
	stdio := &Rights{Words: []string{"stdio"}}
	for _, w := range Words {
		r := &Rights{Words: []string{"stdio", w.Word}}
		if w.Word == "stdio" {
			r = stdio
		}
		if w.Word == "proc" || w.Word == "exec" {
			continue // who has these is bound by none of them
		}
		var killed, more []string
		for name, d := range all {
			here, there := d.allowed(r), d.promised(r)
			if r != stdio && (here || there) && here == d.allowed(stdio) && there == d.promised(stdio) {
				continue // told of stdio
			}
			switch {
			case strings.HasPrefix(d.wants, nowhere):
			case here && !there:
				killed = append(killed, name)
			case there && !here && !d.allowed(stdio):
				more = append(more, name)
			}
		}
		for what, c := range map[string]struct{ got, want []string }{
			"kills on OpenBSD":  {killed, unpromised[w.Word]},
			"covers more there": {more, wider[w.Word]},
		} {
			slices.Sort(c.got)
			if want := slices.Sorted(slices.Values(c.want)); !slices.Equal(c.got, want) {
				t.Errorf("%s %s: %q, want %q", w.Word, what, c.got, want)
			}
		}
	}
}

// TestDeeds: no call that a word allows has been left out above.
func TestDeeds(t *testing.T) {
	known := map[uint32]bool{}
	for d := range maps.Values(deeds()) {
		known[d.call] = true
	}
	for _, w := range Words {
		for _, rule := range wordRules(w.Word) {
			if !known[rule.call] {
				t.Errorf("%s: call %d is not held against pledge(2)", w.Word, rule.call)
			}
		}
	}
}
