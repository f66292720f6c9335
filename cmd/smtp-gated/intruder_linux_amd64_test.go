package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// deed is one thing that a room which was taken over must not be able to do.
type deed struct {
	name   string
	number uint64
	args   []any
	want   string   // the answer; empty: any failure will do
	but    []string // rooms whose words allow it
}

// allRooms are those that are confined.
var allRooms = []string{"session", "lookupd", "scand", "lockd", "keys"}

// deeds are what is tried inside each room; dir is the family's folder, parent the
// parent's number.
func deeds(dir string, parent int, rooted bool) []deed {
	const (
		cwd  = unix.AT_FDCWD
		trap = "trap"
	)
	at := cwd
	rwx := unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC
	anonymous := unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	page := []byte{0x90}
	noSystem := "ENOSYS"
	all := []deed{
		// programs and processes
		{"execve a shell", unix.SYS_EXECVE, []any{"/bin/sh", 0, 0}, trap, nil},
		{"execveat a shell", unix.SYS_EXECVEAT, []any{at, "/bin/sh", 0, 0, 0}, trap, nil},
		{"execveat a descriptor", unix.SYS_EXECVEAT, []any{3, "", 0, 0, unix.AT_EMPTY_PATH}, trap, nil},
		{"fork", unix.SYS_FORK, nil, trap, nil},
		{"vfork", unix.SYS_VFORK, nil, trap, nil},
		{"clone a process", unix.SYS_CLONE, []any{int(unix.SIGCHLD), 0, 0, 0, 0}, trap, nil},
		{"clone into a namespace", unix.SYS_CLONE, []any{unix.CLONE_NEWUSER | int(unix.SIGCHLD), 0, 0, 0, 0}, trap, nil},
		{"clone a thread into a namespace", unix.SYS_CLONE, []any{0x50f00 | unix.CLONE_NEWUSER, 0, 0, 0, 0}, trap, nil},
		{"clone3", unix.SYS_CLONE3, []any{make([]byte, 88), 88}, noSystem, nil},
		{"wait for a process", unix.SYS_WAIT4, []any{-1, 0, 1, 0}, noSystem, nil},
		// memory
		{"map memory to write and execute", unix.SYS_MMAP, []any{0, 4096, rwx, anonymous, -1, 0}, trap, nil},
		{"map memory to execute", unix.SYS_MMAP, []any{0, 4096, unix.PROT_EXEC | unix.PROT_READ, anonymous, -1, 0}, trap, nil},
		{"make memory executable", unix.SYS_MPROTECT, []any{page, 4096, rwx}, trap, nil},
		{"make memory executable with a key", unix.SYS_PKEY_MPROTECT, []any{page, 4096, rwx, -1}, trap, nil},
		{"what is read is executed", unix.SYS_PERSONALITY, []any{0x0400000}, trap, nil},
		{"a file in memory", unix.SYS_MEMFD_CREATE, []any{"x", 0}, noSystem, nil},
		{"shared memory", unix.SYS_SHMGET, []any{0, 4096, 0o1600}, noSystem, nil},
		{"userfaultfd", unix.SYS_USERFAULTFD, []any{0}, trap, nil},
		{"read another's memory", unix.SYS_PROCESS_VM_READV, []any{parent, make([]byte, 16), 1, make([]byte, 16), 1, 0}, trap, nil},
		{"write another's memory", unix.SYS_PROCESS_VM_WRITEV, []any{parent, make([]byte, 16), 1, make([]byte, 16), 1, 0}, trap, nil},
		// others
		{"trace the parent", unix.SYS_PTRACE, []any{unix.PTRACE_SEIZE, parent, 0, 0}, trap, nil},
		{"be traced", unix.SYS_PTRACE, []any{unix.PTRACE_TRACEME, 0, 0, 0}, trap, nil},
		{"look whether the parent is there", unix.SYS_KILL, []any{parent, 0}, trap, nil},
		{"signal everybody", unix.SYS_KILL, []any{-1, 0}, trap, nil},
		{"signal the group", unix.SYS_KILL, []any{0, 0}, trap, nil},
		{"signal a thread", unix.SYS_TKILL, []any{parent, 0}, trap, nil},
		{"signal the parent's thread", unix.SYS_TGKILL, []any{parent, parent, 0}, trap, nil},
		{"queue a signal", unix.SYS_RT_SIGQUEUEINFO, []any{parent, 0, make([]byte, 128)}, trap, nil},
		{"queue a signal to a thread", unix.SYS_RT_TGSIGQUEUEINFO, []any{parent, parent, 0, make([]byte, 128)}, trap, nil},
		{"hold the parent", unix.SYS_PIDFD_OPEN, []any{parent, 0}, trap, nil},
		{"take a descriptor", unix.SYS_PIDFD_GETFD, []any{3, 0, 0}, trap, nil},
		{"signal through a descriptor", unix.SYS_PIDFD_SEND_SIGNAL, []any{3, 0, 0, 0}, trap, nil},
		{"compare with the parent", unix.SYS_KCMP, []any{parent, parent, 0, 0, 0}, trap, nil},
		{"the parent's limits", unix.SYS_PRLIMIT64, []any{parent, unix.RLIMIT_NOFILE, 0, make([]byte, 16)}, noSystem, nil},
		{"own limits", unix.SYS_SETRLIMIT, []any{unix.RLIMIT_NOFILE, make([]byte, 16)}, noSystem, nil},
		{"the parent's priority", unix.SYS_SETPRIORITY, []any{0, parent, 19}, noSystem, nil},
		{"the parent's CPUs", unix.SYS_SCHED_SETAFFINITY, []any{parent, 8, make([]byte, 8)}, noSystem, nil},
		{"a real-time class", unix.SYS_SCHED_SETSCHEDULER, []any{0, 1, make([]byte, 8)}, noSystem, nil},
		{"a process group", unix.SYS_SETPGID, []any{0, 0}, noSystem, nil},
		// identity and namespaces
		{"user 0", unix.SYS_SETUID, []any{0}, trap, nil},
		{"group 0", unix.SYS_SETGID, []any{0}, trap, nil},
		{"users", unix.SYS_SETRESUID, []any{0, 0, 0}, trap, nil},
		{"groups", unix.SYS_SETGROUPS, []any{0, 0}, trap, nil},
		{"capabilities", unix.SYS_CAPSET, []any{make([]byte, 8), make([]byte, 24)}, trap, nil},
		{"a user namespace", unix.SYS_UNSHARE, []any{unix.CLONE_NEWUSER}, trap, nil},
		{"another's namespace", unix.SYS_SETNS, []any{3, 0}, trap, nil},
		{"another root", unix.SYS_CHROOT, []any{"."}, trap, nil},
		{"a new root", unix.SYS_PIVOT_ROOT, []any{".", "."}, trap, nil},
		{"mount", unix.SYS_MOUNT, []any{"none", ".", "tmpfs", 0, 0}, trap, nil},
		{"umount", unix.SYS_UMOUNT2, []any{".", 0}, trap, nil},
		{"fsopen", unix.SYS_FSOPEN, []any{"tmpfs", 0}, trap, nil},
		{"open_tree", unix.SYS_OPEN_TREE, []any{at, ".", 0}, trap, nil},
		{"move_mount", unix.SYS_MOVE_MOUNT, []any{at, ".", at, ".", 0}, trap, nil},
		{"prctl, what it may", unix.SYS_PRCTL, []any{unix.PR_SET_DUMPABLE, 1, 0, 0, 0}, "EINVAL", nil},
		{"prctl, securebits", unix.SYS_PRCTL, []any{unix.PR_SET_SECUREBITS, 0, 0, 0, 0}, "EINVAL", nil},
		// Go names its memory where a kernel can; this one may not.
		{"prctl, names of memory", unix.SYS_PRCTL, []any{unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, 0, 0, 0}, "EINVAL", nil},
		{"a filter of its own", unix.SYS_SECCOMP, []any{1, 0, make([]byte, 16)}, noSystem, nil},
		{"a rule set of its own", unix.SYS_LANDLOCK_CREATE_RULESET, []any{0, 0, 1}, noSystem, nil},
		// the kernel
		{"bpf", unix.SYS_BPF, []any{0, make([]byte, 128), 128}, trap, nil},
		{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, []any{make([]byte, 128), 0, -1, -1, 0}, trap, nil},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, []any{1, make([]byte, 128)}, trap, nil},
		{"io_uring_enter", unix.SYS_IO_URING_ENTER, []any{3, 1, 0, 0, 0, 0}, trap, nil},
		{"io_uring_register", unix.SYS_IO_URING_REGISTER, []any{3, 0, 0, 0}, trap, nil},
		{"add a key", unix.SYS_ADD_KEY, []any{"user", "x", "y", 1, -3}, trap, nil},
		{"ask for a key", unix.SYS_REQUEST_KEY, []any{"user", "x", 0, -3}, trap, nil},
		{"a keyring", unix.SYS_KEYCTL, []any{1, 0, 0, 0, 0}, trap, nil},
		{"aio", unix.SYS_IO_SETUP, []any{1, make([]byte, 8)}, noSystem, nil},
		{"load a module", unix.SYS_INIT_MODULE, []any{page, 1, ""}, trap, nil},
		{"load a module's file", unix.SYS_FINIT_MODULE, []any{3, "", 0}, trap, nil},
		{"remove a module", unix.SYS_DELETE_MODULE, []any{"x", 0}, trap, nil},
		{"kexec", unix.SYS_KEXEC_LOAD, []any{0, 0, 0, 0}, trap, nil},
		{"reboot", unix.SYS_REBOOT, []any{0, 0, 0, 0}, trap, nil},
		{"swap", unix.SYS_SWAPON, []any{"x", 0}, trap, nil},
		{"accounting", unix.SYS_ACCT, []any{"x"}, trap, nil},
		{"the kernel's log", unix.SYS_SYSLOG, []any{10, 0, 0}, trap, nil},
		{"the clock", unix.SYS_SETTIMEOFDAY, []any{make([]byte, 16), 0}, trap, nil},
		{"the machine's name", unix.SYS_SETHOSTNAME, []any{"x", 1}, trap, nil},
		{"ports of the machine", unix.SYS_IOPL, []any{3}, trap, nil},
		{"descriptors of its table", unix.SYS_MODIFY_LDT, []any{0, make([]byte, 16), 16}, trap, nil},
		{"no call at all", 999, nil, noSystem, nil},
		// sockets
		{"a pair", unix.SYS_SOCKETPAIR, []any{unix.AF_UNIX, unix.SOCK_STREAM, 0, make([]byte, 8)}, trap, nil},
		{"listen", unix.SYS_LISTEN, []any{3, 1}, trap, nil},
		{"several datagrams at once", unix.SYS_SENDMMSG, []any{3, make([]byte, 64), 1, 0}, noSystem, nil},
		{"a firewall mark", unix.SYS_SETSOCKOPT, []any{3, unix.SOL_SOCKET, unix.SO_MARK, make([]byte, 4), 4}, "ENOPROTOOPT", nil},
		{"a device", unix.SYS_SETSOCKOPT, []any{3, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "lo", 3}, "ENOPROTOOPT", nil},
		{"a share of a port", unix.SYS_SETSOCKOPT, []any{3, unix.SOL_SOCKET, unix.SO_REUSEPORT, make([]byte, 4), 4}, "ENOPROTOOPT", nil},
		{"a filter at a port", unix.SYS_SETSOCKOPT, []any{3, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, make([]byte, 16), 16}, "ENOPROTOOPT", nil},
		{"type at a terminal", unix.SYS_IOCTL, []any{2, unix.TIOCSTI, page}, "ENOTTY", nil},
		{"who gets a signal", unix.SYS_FCNTL, []any{3, unix.F_SETOWN, parent}, "EINVAL", nil},
		{"a lease", unix.SYS_FCNTL, []any{2, unix.F_SETLEASE, 0}, "EINVAL", nil},
		// files: of its own folder
		{"a link", unix.SYS_LINK, []any{"a", "b"}, trap, nil},
		{"a link at", unix.SYS_LINKAT, []any{at, "a", at, "b", 0}, trap, nil},
		{"a symbolic link", unix.SYS_SYMLINK, []any{"/etc/passwd", "b"}, trap, nil},
		{"a symbolic link at", unix.SYS_SYMLINKAT, []any{"/etc/passwd", at, "b"}, trap, nil},
		{"a device node", unix.SYS_MKNOD, []any{"b", unix.S_IFCHR | 0o666, 0x103}, trap, nil},
		{"a pipe at", unix.SYS_MKNODAT, []any{at, "b", unix.S_IFIFO | 0o666, 0}, trap, nil},
		{"a folder", unix.SYS_MKDIRAT, []any{at, "b", 0o777}, noSystem, nil},
		{"set-uid", unix.SYS_CHMOD, []any{".", 0o4777}, trap, nil},
		{"set-uid at", unix.SYS_FCHMODAT, []any{at, ".", 0o4777}, trap, nil},
		{"set-uid of a descriptor", unix.SYS_FCHMOD, []any{2, 0o4777}, trap, nil},
		{"an owner", unix.SYS_CHOWN, []any{".", 1, 1}, trap, nil},
		{"an owner at", unix.SYS_FCHOWNAT, []any{at, ".", 1, 1, 0}, trap, nil},
		{"an attribute", unix.SYS_SETXATTR, []any{".", "user.x", "y", 1, 0}, noSystem, nil},
		{"a nameless file", unix.SYS_OPENAT, []any{at, ".", unix.O_TMPFILE | unix.O_RDWR, 0o600}, "", nil},
		{"a handle", unix.SYS_NAME_TO_HANDLE_AT, []any{at, ".", make([]byte, 256), make([]byte, 4), 0}, trap, nil},
		{"open a handle", unix.SYS_OPEN_BY_HANDLE_AT, []any{at, make([]byte, 256), 0}, trap, nil},
		{"watch files", unix.SYS_FANOTIFY_INIT, []any{0, 0}, trap, nil},
		{"watch a folder", unix.SYS_INOTIFY_INIT1, []any{0}, noSystem, nil},
		// files: of others
		{"open by the old name", unix.SYS_OPEN, []any{"/etc/passwd", unix.O_RDONLY, 0}, "ENOENT", nil},
	}
	names := []string{"/etc/passwd", "/proc/self/mem", "/proc/self/status", "/dev/null", "../log", dir + "/log", dir + "/outside", "../outside"}
	if !rooted { // else both are the room's own folder
		names = append(names, "/", "..")
		all = append(all, deed{"make a file outside", unix.SYS_OPENAT, []any{at, "../new", unix.O_CREAT | unix.O_WRONLY, 0o666}, "", nil})
	}
	for _, name := range names {
		for what, flags := range map[string]int{
			"read": unix.O_RDONLY, "write": unix.O_WRONLY, "append to": unix.O_WRONLY | unix.O_APPEND, "find": unix.O_PATH, "truncate": unix.O_RDWR | unix.O_TRUNC,
		} {
			all = append(all, deed{what + " " + name, unix.SYS_OPENAT, []any{at, name, flags, 0}, "", nil})
		}
	}
	all = append(all,
		deed{"remove a file outside", unix.SYS_UNLINKAT, []any{at, dir + "/outside", 0}, "", nil},
		deed{"move a file in", unix.SYS_RENAMEAT, []any{at, dir + "/outside", at, "in"}, "", nil},
		deed{"make a file", unix.SYS_OPENAT, []any{at, "made", unix.O_CREAT | unix.O_WRONLY, 0o666}, "", []string{"session", "lockd"}},
		deed{"remove a file", unix.SYS_UNLINKAT, []any{at, "made", 0}, "", []string{"session", "lockd"}},
		deed{"list its folder", unix.SYS_OPENAT, []any{at, ".", unix.O_RDONLY, 0}, "", []string{"session", "lockd"}},
	)
	return append(all, socketDeeds()...)
}

// socketDeeds are a socket of each family, kind and protocol.
func socketDeeds() (all []deed) {
	tcp := []string{"session", "lookupd", "scand"}
	for domain := range 48 {
		protocols := []int{0}
		if slices.Contains([]int{unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK, unix.AF_UNIX}, domain) {
			protocols = []int{0, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_MPTCP, unix.IPPROTO_RAW, unix.NETLINK_NETFILTER}
		}
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW, unix.SOCK_SEQPACKET} {
			for _, protocol := range protocols {
				d := deed{
					name:   fmt.Sprintf("socket(%d, %d, %d)", domain, kind, protocol),
					number: unix.SYS_SOCKET, args: []any{domain, kind | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK, protocol},
				}
				switch ours := domain == unix.AF_INET || domain == unix.AF_INET6; {
				case ours && kind == unix.SOCK_STREAM && (protocol == 0 || protocol == unix.IPPROTO_TCP):
					d.but = tcp
				case ours && kind == unix.SOCK_DGRAM && (protocol == 0 || protocol == unix.IPPROTO_UDP):
					d.but = []string{"lookupd"}
				case ours && protocol == unix.IPPROTO_MPTCP:
					d.want = "EPROTONOSUPPORT"
				case ours && kind <= unix.SOCK_DGRAM && protocol != unix.IPPROTO_RAW && protocol != unix.NETLINK_NETFILTER:
					d.want = "EAFNOSUPPORT"
				case domain == unix.AF_UNIX && kind == unix.SOCK_STREAM && protocol == 0:
					d.want = "trap" // scand has no scanner there
				case domain == unix.AF_NETLINK && protocol == unix.NETLINK_ROUTE:
					d.want = "EAFNOSUPPORT" // package net asks for the name of a zone
				default:
					d.want = "trap"
				}
				all = append(all, d)
			}
		}
	}
	return all
}

// elsewhere tries to reach who is none of a room's business over TCP, and to have
// a port of its own.
func elsewhere(i *injector, server int) (told []string, err error) {
	const fastOpen = "connect by the first octets"
	try := func(what string, number uint64, address []byte) error {
		s, err := i.call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil || s.failed() {
			return fmt.Errorf("no socket: %v, %w", s, err)
		}
		args := []any{int(s.result), address, len(address)}
		if what == fastOpen {
			args = []any{int(s.result), "EHLO", 4, unix.MSG_FASTOPEN, address, len(address)}
		}
		a, err := i.call(number, args...)
		told = append(told, what+": "+a.String())
		if _, cerr := i.call(unix.SYS_CLOSE, int(s.result)); err == nil {
			err = cerr
		}
		return err
	}
	for _, c := range []struct {
		what    string
		number  uint64
		address []byte
	}{
		{"connect to another port", unix.SYS_CONNECT, inet(server%60000+1, 127, 0, 0, 1)},
		{"connect to another machine's shell", unix.SYS_CONNECT, inet(22, 192, 0, 2, 1)},
		{fastOpen, unix.SYS_SENDTO, inet(server%60000+1, 127, 0, 0, 1)},
		{"bind a port", unix.SYS_BIND, inet(server%60000+1, 127, 0, 0, 1)},
	} {
		if err := try(c.what, c.number, c.address); err != nil {
			return nil, err
		}
	}
	return told, nil
}

// TestIntruder tries each deed inside each running room, under load: it fails,
// with the answer it should have, and nobody notices. -v prints a table.
func TestIntruder(t *testing.T) {
	need(t, os.Geteuid() == 0, "root, to get into rooms")
	bothWays(t, func(t *testing.T, rooted bool) {
		// A scanner at a port, which nobody needs to answer.
		g, m := rehearse(t, rooted)
		must(t, g.certified(busy+"antispam_type spamassassin\nantispam_path 127.0.0.1:9\n"))
		must(t, g.start())
		outside := g.path("outside")
		must(t, os.WriteFile(outside, []byte("not yours"), 0o666))
		must(t, os.Chmod(outside, 0o666))
		must(t, os.Chmod(g.dir, 0o777))
		crowd := g.crowd(m, 4, 0, verdicts[:2]...)
		must(t, crowd.moves())
		all, err := g.whole(0)
		must(t, err)
		tried := map[string]map[string]int{}
		for _, room := range all {
			if !slices.Contains(allRooms, room.Room) {
				continue
			}
			tried[room.Room] = map[string]int{}
			must(t, intrude(room.PID, func(i *injector) error {
				for _, d := range deeds(g.dir, g.pid, rooted) {
					a, err := i.call(d.number, d.args...)
					if err != nil {
						return fmt.Errorf("%s: %s: %w", room.Room, d.name, err)
					}
					allowed := slices.Contains(d.but, room.Room)
					tried[room.Room][a.String()]++
					switch {
					case allowed && a.failed():
						t.Errorf("%s: %s: %v, though its words allow it", room.Room, d.name, a)
					case !allowed && (!a.failed() || d.want != "" && a.String() != d.want):
						t.Errorf("%s: %s: %v, want %s", room.Room, d.name, a, d.want)
					}
					if !a.failed() && (d.number == unix.SYS_SOCKET || d.number == unix.SYS_OPENAT) {
						i.call(unix.SYS_CLOSE, int(a.result))
					}
				}
				if room.Room == "lockd" || room.Room == "keys" { // they have no sockets
					return nil
				}
				told, err := elsewhere(i, m.port())
				want := "connect to another port: EACCES connect to another machine's shell: EACCES connect by the first octets: ENOTSUP bind a port: "
				if want += map[bool]string{true: "EACCES", false: "trap"}[room.Room == "session"]; err == nil && strings.Join(told, " ") != want {
					t.Errorf("%s: %q", room.Room, told)
				}
				return err
			}))
		}
		if text, err := os.ReadFile(outside); err != nil || string(text) != "not yours" {
			t.Errorf("the file outside holds %q, %v", text, err)
		}
		must(t, crowd.moves())
		must(t, crowd.stop())
		noneBad(t, m)
		must(t, crowd.undisturbed())
		r, err := g.ask()
		must(t, err)
		if r.Crashes > 0 {
			t.Errorf("%d rooms crashed", r.Crashes)
		}
		table(t, tried)
		must(t, g.terminate())
	})
}

func table(t *testing.T, tried map[string]map[string]int) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	for _, room := range allRooms {
		fmt.Fprintf(w, "%s\t%v\n", room, tried[room])
	}
	w.Flush()
	t.Logf("answers by room:\n%s", text.String())
}

// A room that does a hostile deed is ended and replaced, the log names room and
// call, and nobody else is disturbed. Some deeds end it beyond all handlers.
func TestIntruderIsNoticed(t *testing.T) {
	need(t, os.Geteuid() == 0, "root, to get into rooms")
	bothWays(t, func(t *testing.T, rooted bool) {
		g, m := rehearse(t, rooted)
		must(t, g.certified(busy))
		must(t, g.start())
		crowd := g.crowd(m, 4, 0, verdicts...)
		must(t, crowd.moves())
		crashes := 0
		for _, name := range allRooms {
			for call, d := range map[string]deed{
				"ptrace":        {number: unix.SYS_PTRACE, args: []any{unix.PTRACE_TRACEME, 0, 0, 0}},
				"handle SIGSYS": {number: unix.SYS_RT_SIGACTION, args: []any{int(unix.SIGSYS), 0, 0, 8}},
				"calls of x32":  {number: 1<<30 | unix.SYS_GETPID},
			} {
				all, err := g.whole(0)
				must(t, err)
				n := slices.IndexFunc(all, func(m member) bool { return m.Room == name })
				pid := all[n].PID
				must(t, intrude(pid, func(i *injector) error { return i.commit(d.number, d.args...) }))
				crashes++
				rest, err := g.whole(pid)
				must(t, err)
				for _, m := range all {
					if m.PID != pid && !slices.ContainsFunc(rest, func(o member) bool { return o.PID == m.PID }) {
						t.Errorf("%s made %s, and %s ended", name, call, m.Room)
					}
				}
				want := `room ended unasked room=` + name + `.*cause=signal: bad system call`
				if call == "ptrace" {
					want = `room was ended by the kernel: .* room=` + name + `,.* call=ptrace`
				}
				must(t, eventually("the log does not say "+want, func() bool { return g.inLog(want) == nil }))
				must(t, crowd.moves())
			}
		}
		must(t, crowd.stop())
		noneBad(t, m)
		r, err := g.ask()
		must(t, err)
		if r.Crashes != crashes {
			t.Errorf("%d rooms crashed, not %d", r.Crashes, crashes)
		}
		must(t, g.terminate())
	})
}
