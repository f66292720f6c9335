package session

import (
	"crypto/tls"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
	"github.com/smtp-gated/smtp-gated/session/relay"
)

// TestRestless: whoever has a session of which there is always something to read, a
// goroutine of its own too, keeps the loop and the clock from it for a moment only, and so
// nobody else. Records of one octet cost us far more than their client.
func TestRestless(t *testing.T) {
	w, accept := refusing(t)
	client, s := accept()
	server, other := connected(t)
	s.open(t, &s.server, other)
	secured := make(chan error, 1)
	go func() {
		_, err := s.client.Secure(t.Context(), func(c net.Conn) *tls.Conn {
			return tls.Server(c, &tls.Config{Certificates: []tls.Certificate{gateIdentity.Certificate}})
		})
		secured <- err
	}()
	far := &holding{Conn: client}
	c := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-secured; err != nil {
		t.Fatal(err)
	}
	s.facts = relay.Facts{Config: config("127.0.0.1:1"), Rules: new(relay.Rules), Client: addrPort(client.LocalAddr())}
	s.facts.Secured[relay.Client], s.facts.Config.TLS.Upstream = true, imsg.TLSNever
	w.open++
	s.refs.Store(1)
	s.start(relay.New(&s.facts, s))
	newTalker(t, "server", server).say("220 mx.example ESMTP\r\n")
	newTalker(t, "client", c).hears("220 mx.example ESMTP\r\n")

	const octets = 10_000 // of a line without end
	s.client.With(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20) })
	far.holds = true
	// had tells whether somebody else gets the session before all of them are read.
	had := func() bool {
		far.held.Reset()
		for range octets {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		s.mu.Lock()
		before := s.client.Received()
		if _, err := client.Write(far.held.Bytes()); err != nil { // the kernel has room for that
			t.Fatal(err)
		}
		imsgtest.Until(t, "all of it has come", func() bool {
			var n int
			s.client.With(func(fd int) (err error) { n, err = unix.IoctlGetInt(fd, unix.TIOCINQ); return err })
			return n == far.held.Len()
		})
		if err := s.client.Await(t.Context(), loop.Readable); err != nil {
			t.Fatal(err)
		}
		go func() {
			defer s.unlock()
			s.run(nil)
		}()
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.client.Received() < before+octets
	}
	for tries := 1; !had(); tries++ { // the system may have let us wait, too
		if tries == 10 {
			t.Fatal("the session is had only when there is nothing more to read")
		}
		imsgtest.Until(t, "all is read", func() bool { return s.client.Received() == int64(tries*octets) })
	}
	s.end("admin")
	s.unref()
	imsgtest.Until(t, "the place", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.open == 0
	})
}
