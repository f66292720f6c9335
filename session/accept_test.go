package session

import (
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Whatever accept fails for there is a pause, and one word of it; a client that
// has gone already is no failure.
func TestAcceptFails(t *testing.T) {
	var said strings.Builder
	w := &worker{cfg: new(imsg.SessionConfig), log: slog.New(slog.NewTextHandler(&said, nil))}
	var failing atomic.Bool
	words := 0
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
		if pause := w.pausing(os.NewSyscallError("accept", c.errno), &failing); (pause > 0) != c.pause || pause == 0 {
			t.Errorf("%v: pauses for %v", c.errno, pause)
		}
		if c.pause {
			words = 1
		}
		if n := strings.Count(said.String(), "accept pauses"); n != words {
			t.Errorf("%v: said %d times:\n%s", c.errno, n, said.String())
		}
	}
	w.pausing(nil, &failing)
	w.pausing(os.NewSyscallError("accept", syscall.EMFILE), &failing)
	if n := strings.Count(said.String(), "accept pauses"); n != 2 {
		t.Errorf("said %d times:\n%s", n, said.String())
	}
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
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	said := &journal{more: make(chan struct{}, 1)}
	w := newWorker(nil, slog.New(slog.NewTextHandler(said, nil)))
	w.cfg = &imsg.SessionConfig{MaxConnections: 10}
	if err := unix.Shutdown(int(f.Fd()), unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	w.listen(&imsg.Listener{}, f)
	before := processorTime(t)
	w.start()
	wait(t, said.more)
	time.Sleep(2*acceptPause + acceptPause/2)
	if used := processorTime(t) - before; used > acceptPause {
		t.Errorf("%v of processor time", used)
	}
	said.mu.Lock()
	defer said.mu.Unlock()
	if n := strings.Count(said.text.String(), "\n"); n != 1 {
		t.Errorf("it says:\n%s", said.text.String())
	}
}
