package session

import (
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Whatever accept fails for there is a pause, and one word of it; a client that
// has gone already is no failure.
func TestAcceptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		w := &worker{cfg: new(imsg.SessionConfig), log: slog.New(slog.NewTextHandler(&said, nil))}
		failing, words := false, 0
		for _, c := range []struct {
			errno syscall.Errno
			pause bool
		}{
			{syscall.ECONNABORTED, false},
			{syscall.ENFILE, true},
			{syscall.EMFILE, true},
			{syscall.ENOBUFS, true},
			{syscall.ENOMEM, true},
			{syscall.ECONNABORTED, false},
			{syscall.EINVAL, true},
			{syscall.EPERM, true},
			{syscall.ENETDOWN, true},
		} {
			before := time.Now()
			failing = w.acceptFailed(os.NewSyscallError("accept4", c.errno), failing)
			if pause := time.Since(before); (pause > 0) != c.pause {
				t.Errorf("%v: pauses for %v", c.errno, pause)
			}
			if c.pause {
				words = 1
			}
			if n := strings.Count(said.String(), "accept pauses"); n != words {
				t.Errorf("%v: said %d times:\n%s", c.errno, n, said.String())
			}
		}
	})
}

// journal is a log to look at while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case j.more <- struct{}{}:
	default:
	}
	return j.text.Write(b)
}

// A listener that is broken for good keeps its loop neither busy nor talking.
func TestBrokenListener(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RD) }); err != nil {
		t.Fatal(err)
	}
	said := &journal{more: make(chan struct{}, 1)}
	w := newWorker(nil, slog.New(slog.NewTextHandler(said, nil)))
	w.cfg = &imsg.SessionConfig{MaxConnections: 10}
	ended := make(chan bool)
	go func() {
		w.accept(listener{TCPListener: l.(*net.TCPListener)})
		close(ended)
	}()
	wait(t, said.more)
	l.Close()
	wait(t, ended)
	if n := strings.Count(said.text.String(), "\n"); n != 1 {
		t.Errorf("it says:\n%s", said.text.String())
	}
}

// What is accepted does not block: its mode may not be changed later.
func TestAcceptedDoesNotBlock(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(lfd uintptr) {
		fd, err := accept(int(lfd))
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("flags %o, %v", flags, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}
