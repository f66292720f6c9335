//go:build amd64 || arm64

// This file owns the answers to the questions of a daemon that was launched for that: each
// call is made, unless a fault is in force that strikes it.

package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A question is struct seccomp_notif, a response struct seccomp_notif_resp.
type (
	question struct {
		id      uint64
		thread  uint32
		flags   uint32
		call    uint32
		machine uint32
		at      uint64
		args    [6]uint64
	}
	response struct {
		id    uint64
		value int64
		errno int32
		flags uint32
	}
)

// supervisor answers one family's questions until nobody is left to ask.
type supervisor struct {
	listener int
	ended    chan struct{} // closed when nobody is left
	mu       sync.Mutex
	faults   []*fault
}

// fault is what befalls some of the calls of a room.
type fault struct {
	text   string          // as the story has it
	comm   string          // what the room's process is called, empty for any
	calls  map[string]bool // names of askedAbout, or of special
	folder string          // how the names of the files begin that it is about, empty for all calls
	errno  unix.Errno
	delay  time.Duration
	every  int64 // only each so manieth

	met, struck atomic.Int64
	lifted      chan struct{}
}

// special are calls that are told by an argument.
var special = map[string]func(*question) bool{
	"create": func(q *question) bool { return q.call == unix.SYS_OPENAT && q.args[2]&unix.O_CREAT != 0 },
	"fork":   func(q *question) bool { return q.call == unix.SYS_CLONE && q.args[0]&unix.CLONE_THREAD == 0 },
	"thread": func(q *question) bool { return q.call == unix.SYS_CLONE && q.args[0]&unix.CLONE_THREAD != 0 },
}

// watch has a command launched, and questions answered once begun is called.
func (s *supervisor) watch(cmd *exec.Cmd) (begun func() error, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "launcher"), os.NewFile(uintptr(pair[1]), "launcher")
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", launcherKey, 2+len(cmd.ExtraFiles)))
	cmd.Args = append([]string{"launcher", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/proc/self/exe" // of the child, who may not get to our folder
	return func() error {
		theirs.Close()
		defer ours.Close()
		c, err := net.FileConn(ours)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(patience))
		rights := make([]byte, unix.CmsgSpace(4))
		_, n, _, _, err := c.(*net.UnixConn).ReadMsgUnix(make([]byte, 1), rights)
		if err != nil {
			return fmt.Errorf("the launcher gives no listener: %w", err)
		}
		messages, err := unix.ParseSocketControlMessage(rights[:n])
		if err != nil || len(messages) != 1 {
			return fmt.Errorf("the launcher has failed: %w", err)
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil {
			return err
		}
		unix.CloseOnExec(fds[0])
		s.listener = fds[0]
		go s.serve()
		return nil
	}, nil
}

func (s *supervisor) ioctl(request uintptr, p unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s.listener), request, uintptr(p))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return errno
	}
}

func (s *supervisor) serve() {
	defer close(s.ended)
	defer unix.Close(s.listener)
	for {
		wait := []unix.PollFd{{Fd: int32(s.listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(wait, -1); err != nil {
			continue
		}
		if wait[0].Revents&unix.POLLIN == 0 {
			return // all have ended
		}
		q := new(question)
		if s.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(q)) != nil {
			continue // the one who asks has just ended
		}
		f := s.striking(q)
		switch {
		case f == nil:
			s.answer(q, 0)
		case f.errno != 0:
			s.answer(q, f.errno)
		default:
			go func() {
				select {
				case <-f.lifted:
				case <-time.After(f.delay):
				}
				s.answer(q, 0)
			}()
		}
	}
}

// answer fails a call or lets it be made. Who has ended hears nothing.
func (s *supervisor) answer(q *question, errno unix.Errno) {
	r := response{id: q.id, errno: -int32(errno)}
	if errno == 0 {
		r.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
	}
	s.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
}

// striking is the fault that a call meets.
func (s *supervisor) striking(q *question) *fault {
	for _, f := range s.all() {
		if !f.concerns(q) {
			continue
		}
		pid, comm := processOf(q.thread)
		if f.comm != "" && f.comm != comm {
			continue
		}
		if f.folder != "" && !strings.HasPrefix(fileOf(q, pid), f.folder) {
			continue
		}
		if s.ioctl(unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&q.id)) != nil {
			return nil // what we have read was another's
		}
		if f.met.Add(1)%f.every == 0 {
			f.struck.Add(1)
			return f
		}
	}
	return nil
}

// concerns tells whether a call is one of the fault's.
func (f *fault) concerns(q *question) bool {
	for name := range f.calls {
		if is := special[name]; is != nil && is(q) || is == nil && askedAbout[name] == q.call {
			return true
		}
	}
	return false
}

// all are the faults in force.
func (s *supervisor) all() []*fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// add puts a fault in force.
func (s *supervisor) add(f *fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults[:len(s.faults):len(s.faults)], f)
}

// lift ends all faults, and what they hold up goes on.
func (s *supervisor) lift() []*fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	lifted := s.faults
	s.faults = nil
	for _, f := range lifted {
		close(f.lifted)
	}
	return lifted
}

// processOf is the process that a thread is of, and what it is called: rooms write their
// name to their first thread alone.
func processOf(thread uint32) (pid int, comm string) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	_, rest, _ := bytes.Cut(status, []byte("\nTgid:\t"))
	number, _, _ := bytes.Cut(rest, []byte("\n"))
	pid, _ = strconv.Atoi(string(number))
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return pid, strings.TrimSuffix(string(name), "\n")
}

// fileOf is the path of the file that a call is about, as we see it; empty if there is none.
func fileOf(q *question, pid int) string {
	link := func(name string) string {
		path, _ := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, name))
		return path
	}
	open := func(fd uint64) string { return link(fmt.Sprintf("fd/%d", int32(fd))) }
	switch q.call {
	case unix.SYS_OPENAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_NEWFSTATAT, unix.SYS_MKDIRAT, unix.SYS_LINKAT:
		name := textOf(pid, q.args[1])
		switch {
		case filepath.IsAbs(name):
			return filepath.Join(link("root"), name)
		case int32(q.args[0]) == unix.AT_FDCWD:
			return filepath.Join(link("cwd"), name)
		}
		return filepath.Join(open(q.args[0]), name)
	case unix.SYS_MMAP:
		if q.args[3]&unix.MAP_ANON != 0 {
			return ""
		}
		return open(q.args[4])
	case unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_PIPE2, unix.SYS_EPOLL_CREATE1:
		return ""
	}
	return open(q.args[0])
}

// textOf reads a string of a process.
func textOf(pid int, at uint64) string {
	const page = 4096
	var text []byte
	for len(text) < unix.PathMax {
		part := make([]byte, page-at%page) // what comes behind may not be there
		local := []unix.Iovec{{Base: &part[0], Len: uint64(len(part))}}
		n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(part)}}, 0)
		if err != nil || n <= 0 {
			return ""
		}
		head, _, ended := bytes.Cut(part[:n], []byte{0})
		if text = append(text, head...); ended {
			return string(text)
		}
		at += uint64(n)
	}
	return ""
}

// parseFault reads ROOM CALL[,CALL…] [in=PATH] ERRNO|DURATION [every=N]; a room is any if it
// is called so, and a path is below dir.
func parseFault(args []string, dir string) (*fault, error) {
	if len(args) < 3 {
		return nil, errTelling
	}
	f := &fault{text: strings.Join(args, " "), calls: map[string]bool{}, every: 1, lifted: make(chan struct{})}
	if args[0] != "any" {
		if f.comm = comms[args[0]]; f.comm == "" {
			return nil, fmt.Errorf("no room is called %s", args[0])
		}
	}
	for call := range strings.SplitSeq(args[1], ",") {
		if _, ok := askedAbout[call]; !ok && special[call] == nil {
			return nil, fmt.Errorf("nobody asks about %s", call)
		}
		f.calls[call] = true
	}
	for _, arg := range args[2:] {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "in":
			f.folder = filepath.Join(dir, value)
		case "every":
			f.every, err = strconv.ParseInt(value, 10, 64)
		default:
			if f.errno = unix.Errno(errnoNamed(arg)); f.errno == 0 {
				f.delay, err = time.ParseDuration(arg)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if f.every < 1 || f.errno == 0 && f.delay == 0 {
		return nil, errTelling
	}
	return f, nil
}

// errnoNamed is the error with this name, or 0.
func errnoNamed(name string) int {
	for n := 1; n < 200; n++ {
		if unix.ErrnoName(unix.Errno(n)) == name {
			return n
		}
	}
	return 0
}
