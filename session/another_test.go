package session

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// choice is a house with several servers, each in the test's hands.
type choice struct {
	*house
	servers  []net.Listener
	accepted []chan net.Conn
	noted    []imsg.Observation // of servers
}

func newChoice(t *testing.T, n int, change func(*imsg.SessionConfig)) *choice {
	t.Helper()
	c := new(choice)
	var addrs []netip.AddrPort
	for range n {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		calls := make(chan net.Conn, 16)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				calls <- conn
			}
		}()
		c.servers, c.accepted = append(c.servers, l), append(c.accepted, calls)
		addrs = append(addrs, netip.MustParseAddrPort(l.Addr().String()))
	}
	c.house = newHouse(t, addrs[0].String(), func(cfg *imsg.SessionConfig) {
		cfg.Servers = addrs
		if change != nil {
			change(cfg)
		}
	})
	c.set(func() {
		c.player = func(_ imsg.Room, r link.Request) bool {
			m, is := r.Message.(*imsg.Observed)
			if is {
				c.set(func() {
					for _, o := range m.Observations {
						if o.Finding == imsg.FindingServer {
							c.noted = append(c.noted, o)
						}
					}
				})
			}
			return is
		}
	})
	return c
}

func (c *choice) addr(i int) string { return c.servers[i].Addr().String() }

// meets is the next connection to a server.
func (c *choice) meets(i int) *talker {
	c.t.Helper()
	return newTalker(c.t, "server "+string(rune('A'+i)), wait(c.t, c.accepted[i]))
}

// none has a server be called by nobody.
func (c *choice) none(i int) {
	c.t.Helper()
	if len(c.accepted[i]) > 0 {
		c.t.Errorf("server %d was called", i)
	}
}

// serves is a session with a server, from its greeting on.
func (c *choice) serves(client, server *talker) {
	c.t.Helper()
	server.say("220-mx.example\r\n220 mx.example ESMTP\r\n")
	client.hears("220-mx.example\r\n220 mx.example ESMTP\r\n")
	client.say("QUIT\r\n")
	server.hears("QUIT\r\n")
	server.say("221 bye\r\n")
	client.hears("221 bye\r\n")
	server.conn.Close()
	client.end()
}

// TestAnotherServer: whatever keeps a server from serving a client, the client does not hear
// of it, is served by the next one, and those behind it go there at once.
func TestAnotherServer(t *testing.T) {
	reset := func(s *talker) {
		s.conn.(*net.TCPConn).SetLinger(0)
		s.conn.Close()
	}
	for name, bad := range map[string]struct {
		greets  func(*talker)
		problem string
	}{
		"refuses":          {nil, "connection refused"},
		"421":              {func(s *talker) { s.say("421 mx.example too busy\r\n") }, "it greets with 421"},
		"554":              {func(s *talker) { s.say("554-mx.example\r\n554 no\r\n") }, "it greets with 554"},
		"half a 554":       {func(s *talker) { s.say("554-mx.example\r\n") }, "it greets with 554"},
		"closes":           {func(s *talker) { s.conn.Close() }, "the server has closed"},
		"resets":           {reset, ""}, // as it connects, or behind that
		"dies greeting":    {func(s *talker) { s.say("220-mx.example\r\n220 mx"); s.conn.Close() }, "the server has closed"},
		"turns greeting":   {func(s *talker) { s.say("220-mx.example\r\n421 mx\r\n") }, ""},
		"354":              {func(s *talker) { s.say("354 go on\r\n") }, "it greets with 354"},
		"rubbish":          {func(s *talker) { s.say("HTTP/1.1 400 Bad Request\r\n") }, "not an SMTP reply"},
		"endless greeting": {func(s *talker) { s.say(strings.Repeat("220-mx ESMTP\r\n", 6000)) }, "the server's reply has no end"},
		"hangs":            {func(*talker) {}, "it does not greet"},
		"drips":            {func(s *talker) { s.say("220-mx.example\r\n") }, "it does not greet"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChoice(t, 2, func(cfg *imsg.SessionConfig) {
				if name == "hangs" || name == "drips" {
					cfg.TimeoutConnect = time.Second
				}
			})
			if bad.greets == nil {
				c.servers[0].Close()
			}
			client := c.dial()
			if bad.greets != nil {
				bad.greets(c.meets(0))
			}
			c.serves(client, c.meets(1))
			for range 3 {
				c.serves(c.dial(), c.meets(1))
			}
			c.none(0)
			passed := "SERVER:PASSED_OVER dst=" + c.addr(0) + ", seconds=30, error=" + bad.problem
			c.seen(passed, func() bool { return c.logged(passed) })
			if n := strings.Count(c.Text(), "SERVER:"); n != 1 {
				t.Errorf("%d lines of servers", n)
			}
			if name != "refuses" && name != "421" { // what is seen is told once a second
				return
			}
			var failed uint64
			c.seen("the server's failures", func() bool {
				failed = 0
				for _, o := range c.noted {
					switch {
					case o.Object == c.addr(0) && o.Good == 0 && strings.HasPrefix(o.Text, bad.problem):
						failed += o.Bad
					case o.Object != c.addr(1) || o.Bad > 0:
						t.Fatalf("%+v", o)
					}
				}
				return failed == 4 // with those who passed it over
			})
		})
	}
}

// TestNoServerIsLeft: the last one's failure is what the client hears, and the next client
// is not turned away without a look.
func TestNoServerIsLeft(t *testing.T) {
	c := newChoice(t, 2, nil)
	client := c.dial()
	c.meets(0).say("421 a\r\n")
	c.meets(1).say("554-b\r\n554 no\r\n")
	client.hears("554-b\r\n554 no\r\n")
	client.say("QUIT\r\n")

	client = c.dial() // both are asked again
	c.meets(0).say("421 a\r\n")
	s := c.meets(1)
	c.servers[1].Close()
	s.conn.Close()
	client.end()

	client = c.dial()
	c.meets(0).conn.Close()
	client.hears("220 gate.example SMTP\r\n")
	client.say("MAIL FROM:<a>\r\nQUIT\r\n")
	client.hears("451 gate.example msg_cannot_connect [127.0.0.1]: connection refused\r\n221 gate.example msg_sign_off\r\n")
	client.end()

	c.serves(c.dial(), c.meets(0))
	c.seen("that one is back", func() bool { return strings.Count(c.Text(), "SERVER:BACK dst="+c.addr(0)) == 1 })
}

// TestAnotherServerByXclient: there the gateway hears all of this itself.
func TestAnotherServerByXclient(t *testing.T) {
	ehlo := func(s *talker) { s.say("220 mx ESMTP\r\n"); s.hears("EHLO gate.example\r\n") }
	for name, bad := range map[string]func(*talker){
		"421":             func(s *talker) { s.say("421 no\r\n") },
		"554":             func(s *talker) { s.say("554-no\r\n554 ESMTP\r\n") },
		"no ESMTP":        func(s *talker) { s.say("220 mx\r\n") },
		"closes":          func(s *talker) { s.conn.Close() },
		"hangs":           func(*talker) {},
		"closes at EHLO":  func(s *talker) { ehlo(s); s.conn.Close() },
		"EHLO refused":    func(s *talker) { ehlo(s); s.say("421 no\r\n") },
		"no XCLIENT":      func(s *talker) { ehlo(s); s.say("250 mx\r\n") },
		"XCLIENT refused": func(s *talker) { s.xclient(); s.say("421 no\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			c := newChoice(t, 2, func(cfg *imsg.SessionConfig) {
				withXclient(cfg)
				if name == "hangs" {
					cfg.TimeoutConnect = time.Second
				}
			})
			client := c.dial()
			client.say("EHLO early, yet harmless\r\n")
			bad(c.meets(0))
			s := c.meets(1)
			s.xclient()
			s.say("220 mx.example ESMTP\r\n")
			client.hears("220 mx.example ESMTP\r\n")
			s.hears("EHLO early, yet harmless\r\n")
			again := c.dial()
			if name == "XCLIENT refused" { // which may be this client alone
				c.meets(0).xclient()
				return
			}
			s = c.meets(1)
			s.xclient()
			s.say("220 mx.example ESMTP\r\n")
			again.hears("220 mx.example ESMTP\r\n")
			c.none(0)
		})
	}
}

// TestNoOtherServer: a client that has spoken stays where it is, or waits to be heard.
func TestNoOtherServer(t *testing.T) {
	t.Run("it has greeted", func(t *testing.T) {
		c := newChoice(t, 2, nil)
		client, s := c.dial(), c.meets(0)
		s.say("220 mx.example ESMTP\r\n")
		client.hears("220 mx.example ESMTP\r\n")
		client.say("EHLO client.example\r\n")
		s.hears("EHLO client.example\r\n")
		s.conn.Close()
		client.end()
		c.none(1)
	})
	t.Run("early talk", func(t *testing.T) {
		c := newChoice(t, 2, nil)
		client, s := c.dial(), c.meets(0)
		client.say("EHLO client.example\r\n")
		client.hears("554 gate.example msg_earlytalker\r\n")
		s.conn.Close()
		c.none(1)
	})
	t.Run("early talk is no fault", func(t *testing.T) {
		c := newChoice(t, 2, func(cfg *imsg.SessionConfig) { cfg.EarlyTalk = false })
		client, s := c.dial(), c.meets(0)
		client.say("EHLO client.example\r\n")
		s.say("421 no\r\n")
		s.end()
		s = c.meets(1)
		s.say("220 mx.example ESMTP\r\n")
		client.hears("220 mx.example ESMTP\r\n")
		s.hears("EHLO client.example\r\n")
	})
}

// TestAnotherServerAtTheEnd: who ends a session while another server is called has ended it.
func TestAnotherServerAtTheEnd(t *testing.T) {
	for name, end := range map[string]func(c *choice){
		"killed":   func(c *choice) { c.lockd.Send(&imsg.MustEnd{Number: 101}) },
		"must end": func(c *choice) { c.Tell(&imsg.Drain{End: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newChoice(t, 1, func(cfg *imsg.SessionConfig) {
				cfg.Servers = append(cfg.Servers, netip.MustParseAddrPort(full(t)))
			})
			client := c.dial()
			c.meets(0).say("421 no\r\n")
			c.seen("the other one is called", func() bool { return strings.Contains(c.Text(), "SERVER:PASSED_OVER") })
			end(c)
			if b, err := client.r.ReadString('\n'); name == "must end" && b != "421 gate.example msg_temp_unavail\r\n" || name == "killed" && b != "" {
				t.Errorf("the client hears %q, %v", b, err)
			}
			c.seen("Leave", func() bool { return len(c.left) == 1 })
		})
	}
}

// TestAnotherServerInTime: one that does not even answer costs timeout_connect, once.
func TestAnotherServerInTime(t *testing.T) {
	c := newChoice(t, 1, func(cfg *imsg.SessionConfig) {
		cfg.Servers = append([]netip.AddrPort{netip.MustParseAddrPort(full(t))}, cfg.Servers...)
		cfg.TimeoutConnect = time.Second
	})
	for range 2 {
		c.serves(c.dial(), c.meets(0))
	}
	c.seen("the line", func() bool { return strings.Count(c.Text(), "error=no connection in time") == 1 })
}
