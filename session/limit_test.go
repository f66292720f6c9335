package session

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
	"github.com/smtp-gated/smtp-gated/session/relay"
)

// unlimited is every time-out that may be 0.
func unlimited(c *imsg.SessionConfig) {
	c.TimeoutConnect, c.TimeoutLookup, c.TimeoutLocate, c.TimeoutScan, c.TimeoutSession = 0, 0, 0, 0, 0
}

// reset closes a connection for good.
func (p *talker) reset() {
	p.conn.(*net.TCPConn).SetLinger(0)
	p.conn.Close()
}

// TestNoLimit: without limits everything goes on as with them, and a takeover does
// not end by the clock.
func TestNoLimit(t *testing.T) {
	r := newRig(t, unlimited)
	r.data()
	r.text("a\r\n.\r\n")
	r.toClient("250 ok\r\n")

	h := newHouse(t, "127.0.0.1:1", unlimited)
	c := h.dial()
	c.hears("220 gate.example SMTP\r\n")
	h.seen("the clock's second", func() bool { return h.counts[imsg.CountTotal] > 0 })
	c.say("NOOP\r\n")
	c.hears("250 gate.example OK\r\n")
}

// TestClientEndsQuestion: nobody answers, and there is no limit. The session ends
// with its client, whatever was asked.
func TestClientEndsQuestion(t *testing.T) {
	gone := func(h *house, c *talker) {
		t.Helper()
		c.reset()
		h.seen("Leave", func() bool { return len(h.left) == 1 })
	}
	silence := func(h *house, _ string) { h.lookup = func(imsg.Message) imsg.Message { return nil } }
	t.Run("scan", func(t *testing.T) {
		r := newRig(t, unlimited)
		r.set(func() { r.silent = true })
		r.data()
		r.text("a\r\n")
		r.client.say(".\r\nQUIT\r\n")
		r.seen("the scan", func() bool { return len(r.scanned) == 1 })
		gone(r.house, r.client)
		r.server.end()
	})
	t.Run("SPF", func(t *testing.T) {
		r := newRigIn(t, func(c *imsg.SessionConfig) {
			unlimited(c)
			c.SPF, c.SPFFixedIP = imsg.SPFFixed, netip.MustParseAddr("192.0.2.1")
		}, silence)
		r.toClient("220 mx ESMTP\r\n")
		r.toServer("EHLO a\r\n")
		r.toClient("250 mx\r\n")
		r.client.say("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n")
		r.seen("the question", func() bool { return len(r.asks) == 1 })
		gone(r.house, r.client)
		r.server.end()
	})
	for name, change := range map[string]func(*imsg.SessionConfig){
		"DNSBL":  func(c *imsg.SessionConfig) { c.DNSBL = true },
		"target": func(c *imsg.SessionConfig) { c.Mode = imsg.ModeRemote },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, "127.0.0.1:1", func(c *imsg.SessionConfig) { unlimited(c); change(c) })
			h.set(func() { silence(h, "") })
			c := h.dial()
			h.seen("the question", func() bool { return len(h.asks) == 1 })
			gone(h, c)
		})
	}
	t.Run("XCLIENT", func(t *testing.T) {
		r := newRig(t, func(c *imsg.SessionConfig) { unlimited(c); c.Mode = imsg.ModeFixedXclient })
		r.server.say("220 mx ESMTP\r\n")
		r.server.hears("EHLO gate.example\r\n")
		gone(r.house, r.client)
		r.server.end()
	})
	t.Run("connection", func(t *testing.T) {
		h := newHouse(t, full(t), unlimited)
		c := h.dial()
		h.seen("NEW", func() bool { return h.logged(": NEW (1/1) ") })
		gone(h, c)
	})
}

// TestGenerationEndsQuestion: nobody answers, there is no limit, and the client stays.
func TestGenerationEndsQuestion(t *testing.T) {
	h := newHouse(t, "127.0.0.1:1", func(c *imsg.SessionConfig) { unlimited(c); c.DNSBL = true })
	h.set(func() { h.lookup = func(imsg.Message) imsg.Message { return nil } })
	c := h.dial()
	h.seen("the question", func() bool { return len(h.asks) == 1 })
	h.Tell(&imsg.Drain{End: true})
	c.hears(endPlain)
	h.seen("Leave", func() bool { return len(h.left) == 1 })
}

// TestAbandoned: a client that has closed its half gets its answer if that comes
// soon, one that has gone ends the question at once, and one that stays does not,
// however much it has sent ahead.
func TestAbandoned(t *testing.T) {
	pair := func() (*session, *net.TCPConn) {
		c, a := connected(t)
		s := &session{w: &worker{ending: t.Context(), poller: loop.NewGoroutines()}}
		s.open(t, &s.client, a)
		t.Cleanup(s.client.Close)
		if _, err := c.Write([]byte("RSET\r\n")); err != nil {
			t.Fatal(err)
		}
		return s, c
	}
	arrived := func(s *session, what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}

	s, c := pair()
	done := s.unlimited(0)
	for range 2 * relay.LeftWait / lookInterval {
		if s.abandoned() {
			t.Fatal("a client that stays has gone")
		}
	}
	c.CloseWrite()
	arrived(s, "its half is not closed", func() bool { half, _ := s.client.Closed(); return half })
	for range relay.LeftWait/lookInterval - 1 {
		if s.abandoned() {
			t.Fatal("a client that has closed its half has gone")
		}
	}
	if !s.abandoned() {
		t.Fatal("a client that has closed its half may wait for ever")
	}
	done()
	if s.abandoned() || s.leftFor != 0 {
		t.Error("nothing is asked any more")
	}

	s, c = pair()
	done = s.unlimited(0)
	ctx, stop := s.limited(0, false)
	defer stop()
	c.SetLinger(0)
	c.Close()
	arrived(s, "a client that has gone is still there", s.abandoned)
	s.end("client")
	if ctx.Err() != context.Canceled {
		t.Errorf("the question ends with %v", ctx.Err())
	}
	done()
	if s.context().Err() == nil {
		t.Error("a session that has ended asks")
	}
	// With a limit the client is not looked at.
	defer s.unlimited(time.Second)()
	if s.abandoned() {
		t.Error("a question with a limit is abandoned")
	}
}

// full is a server whose queue is, so that it does not answer.
func full(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	server := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*unix.SockaddrInet4).Port))
	for {
		c, err := net.DialTimeout("tcp4", server.String(), 200*time.Millisecond)
		if err != nil {
			return server.String()
		}
		t.Cleanup(func() { c.Close() })
	}
}
