package loop

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Goroutines is the Poller that has a goroutine wait for each piece of news, in the
// runtime's own poller: where there is no loop, and beside it in tests.
type Goroutines struct {
	mu    sync.Mutex
	files map[int]*waited // by descriptor
}

// waited is a descriptor, and a duplicate of it that the runtime may have.
type waited struct {
	Watched
	file    *os.File
	raw     syscall.RawConn
	waiting News // for what a goroutine waits already
}

// NewGoroutines returns a Goroutines.
func NewGoroutines() *Goroutines { return &Goroutines{files: make(map[int]*waited)} }

// Add is a Poller's.
func (g *Goroutines) Add(fd int, w Watched, as Watch) error {
	again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	f := &waited{Watched: w, file: os.NewFile(uintptr(again), "connection")}
	if f.raw, err = f.file.SyscallConn(); err != nil {
		f.file.Close()
		return err
	}
	g.mu.Lock()
	g.files[fd] = f
	g.mu.Unlock()
	g.Await(fd, Readable)
	if as == Room {
		g.Await(fd, Writable)
	}
	return nil
}

// Await is a Poller's.
func (g *Goroutines) Await(fd int, n News) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.files[fd]
	if f.waiting&n != 0 {
		return
	}
	f.waiting |= n
	wait, events := f.raw.Read, int16(unix.POLLIN)
	if n == Writable {
		wait, events = f.raw.Write, unix.POLLOUT
	}
	go func() {
		if wait(func(fd uintptr) bool { return ready(fd, events) }) != nil {
			return // it is closed
		}
		g.mu.Lock()
		f.waiting &^= n
		g.mu.Unlock()
		f.Happened(nil, n)
	}()
}

// ready tells whether the runtime need not wait: it has forgotten what was news before.
func ready(fd uintptr, events int16) bool {
	list := [1]unix.PollFd{{Fd: int32(fd), Events: events}}
	n, err := unix.Poll(list[:], 0)
	return n > 0 || err != nil && err != unix.EINTR
}

// Remove is a Poller's.
func (g *Goroutines) Remove(fd int, _ bool) {
	g.mu.Lock()
	f := g.files[fd]
	delete(g.files, fd)
	g.mu.Unlock()
	f.file.Close()
}
