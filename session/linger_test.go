package session

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/session/smtp"
	"github.com/smtp-gated/smtp-gated/session/stream"
)

// refusing makes a worker that has no parent, and a way to have clients accepted.
func refusing(t *testing.T) (w *worker, accept func() (client *net.TCPConn, s *session)) {
	t.Helper()
	w = newWorker(nil, slog.New(slog.DiscardHandler))
	w.cfg = &imsg.SessionConfig{ProxyName: "gate.example", MaxConnections: 64, Texts: texts()}
	return w, func() (*net.TCPConn, *session) {
		t.Helper()
		client, conn := connected(t)
		s := &session{w: w}
		s.open(t, &s.client, conn)
		return client, s
	}
}

// connected is a connection, its two ends.
func connected(t *testing.T) (client, accepted *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn), a.(*net.TCPConn)
}

func addrPort(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

// open makes a connection a side's, which then has it alone.
func (s *session) open(t *testing.T, side *stream.Stream, conn net.Conn) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(n uintptr) {
		var fd int
		if fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = side.Open(s.w.poller, fd, s)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// However many are refused and do not close, no more than a quarter of the surplus
// places wait for them: three quarters are there for those who may be let in.
func TestLingeringIsBounded(t *testing.T) {
	w, accept := refusing(t)
	quarter := w.surplus() / 4
	if w.maxOpen()-w.cfg.MaxConnections != 4*quarter {
		t.Fatalf("%d places, %d of them surplus", w.maxOpen(), w.surplus())
	}
	var waited []*net.TCPConn
	for range quarter {
		c, s := accept()
		s.refuseConnection(refused{code: smtp.CodeRejected, text: imsg.MsgMaxPerHost})
		waited = append(waited, c)
	}
	for _, c := range waited {
		hears(t, c)
	}
	// As if others stayed for ever: all that come are closed at once, with all that
	// is to be said to them, whether they have said something or not.
	stay := 0
	for w.startLingering() {
		stay++
	}
	w.mu.Lock()
	w.lingering += quarter - stay // however many of those above are done by now
	w.mu.Unlock()
	for i := range 300 {
		c, s := accept()
		if i%2 > 0 {
			if _, err := c.Write([]byte(strings.Repeat("EHLO client.example\r\n", 100))); err != nil {
				t.Fatal(err)
			}
			if err := s.client.FillUntil(t.Context()); err != nil { // it has arrived
				t.Fatal(err)
			}
		}
		s.refuseConnection(refused{code: smtp.CodeRejected, text: imsg.MsgMaxPerHost})
		hears(t, c)
		if w.startLingering() {
			t.Fatal("one more may linger")
		}
	}
	// A place is free again as soon as a client closes, at the latest.
	for _, c := range waited {
		c.Close()
	}
	imsgtest.Until(t, "those who stayed have gone", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.lingering == quarter
	})
	for range quarter {
		w.endLingering()
	}
	n := 0
	for w.startLingering() {
		n++
	}
	if n != quarter {
		t.Errorf("%d may linger, want %d", n, quarter)
	}
}

// hears expects the refusal, and an end that is no reset.
func hears(t *testing.T, c *net.TCPConn) {
	t.Helper()
	c.SetReadDeadline(imsgtest.Deadline())
	if b, err := io.ReadAll(c); err != nil || string(b) != "554 gate.example msg_max_per_host\r\n" {
		t.Fatalf("heard %q, %v", b, err)
	}
}

// One who is refused after lockd let it in holds no place there while it lingers,
// and gives back the one it had only once.
func TestRefusedHoldsNoPlace(t *testing.T) {
	const own = "127.0.0.1:1"
	h := newHouse(t, own, func(c *imsg.SessionConfig) { c.Listeners = []netip.AddrPort{netip.MustParseAddrPort(own)} })
	c := h.dial()
	c.hears("554 gate.example msg_loop_avoidance\r\n")
	h.seen("that its place is free", func() bool { return len(h.left) == 1 })
	c.end()
	h.Parent.Close()
	h.Ended <- wait(t, h.Ended)
	h.set(func() {
		if len(h.left) != 1 {
			t.Errorf("it left %d times", len(h.left))
		}
	})
}
