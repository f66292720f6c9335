package session

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

func withXclient(c *imsg.SessionConfig) {
	c.Mode = imsg.ModeFixedXclient
	c.TimeoutLookup = time.Second
}

func portOf(a net.Addr) string { return strconv.Itoa(a.(*net.TCPAddr).Port) }

func TestXclient(t *testing.T) {
	r := newRig(t, withXclient)
	r.client.say("EHLO early, yet harmless\r\n")
	r.server.say("220-mx.example\r\n220 mx.example eSMTP at work\r\n")
	r.server.hears("EHLO gate.example\r\n")
	r.server.say("250-mx.example\r\n250-AUTH PLAIN\r\n250-ENHANCEDSTATUSCODES\r\n250-XCLIENT NAME addr PROTO HELO PORT LOGIN\r\n250 XCLIENT DESTPORT DESTADDR PORT\r\n")
	xclient := "XCLIENT ADDR=127.0.0.1 NAME=[UNAVAILABLE] PORT=" + portOf(r.client.conn.LocalAddr()) +
		" DESTADDR=127.0.0.1 DESTPORT=" + portOf(r.client.conn.RemoteAddr()) + " LOGIN=[UNAVAILABLE]"
	r.server.hears(xclient + "\r\n")
	r.toClient("220-again\r\n220 mx.example ESMTP\r\n")
	r.server.hears(xclient + " PROTO=ESMTP HELO=early,+20yet+20harmless\r\n")
	r.server.say("220-once\r\n220 more\r\n") // the client hears nothing of it
	r.server.hears("EHLO early, yet harmless\r\n")
	r.server.say("250-mx.example\r\n250 XCLIENT NAME ADDR\r\n")
	r.client.hears("250-mx.example\r\n250 XCL*ENT NAME ADDR\r\n")
	// What the client sees offered counts, not what we saw: no enhanced code.
	r.client.say("XCLIENT ADDR=192.0.2.1\r\n")
	r.client.hears("502 gate.example msg_unimpl_command\r\n")
	r.toServer("NOOP\r\n")
	r.toClient("250 ok\r\n")
}

func TestXclientFails(t *testing.T) {
	const ehlo = "EHLO gate.example\r\n"
	for name, story := range map[string]func(server *talker){
		"no ESMTP":    func(s *talker) { s.say("220 mx SMTP ESMTPX\r\n") },
		"not welcome": func(s *talker) { s.say("554 no ESMTP for you\r\n") },
		"no reply":    func(s *talker) { s.say("220 ESMTP, half a re") },
		"rubbish":     func(s *talker) { s.say("ESMTP\r\n") },
		"no end":      func(s *talker) { s.say(strings.Repeat("220-mx ESMTP\r\n", 6000)) },
		"closes":      func(s *talker) { s.conn.(*net.TCPConn).CloseWrite() },
		"no XCLIENT": func(s *talker) {
			s.say("220 mx ESMTP\r\n")
			s.hears(ehlo)
			s.say("250-XCLIENT.example\r\n250 XCLIENTS\r\n")
		},
		"EHLO refused":   func(s *talker) { s.say("220 mx ESMTP\r\n"); s.hears(ehlo); s.say("550-mx\r\n550 XCLIENT\r\n") },
		"refused":        func(s *talker) { s.xclient(); s.say("550 not from you\r\n") },
		"accepted badly": func(s *talker) { s.xclient(); s.say("250 fine\r\n") },
		"talks on":       func(s *talker) { s.xclient(); s.say("220 mx\r\n250 more\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, withXclient)
			story(r.server)
			r.client.hears("220 gate.example SMTP\r\n")
			for line := ""; line != "QUIT"; {
				line = r.server.line()
			}
			r.client.say("MAIL FROM:<a>\r\nQUIT\r\n")
			r.client.hears("451 gate.example msg_fixed_xclient_fail\r\n221 gate.example msg_sign_off\r\n")
			r.client.end()
			if name == "no end" {
				r.logs("XCLIENT:FAILED dst=" + r.server.conn.LocalAddr().String() + ", error=" + errLongReply.Error()) // not the time that ran out
			}
		})
	}
}

func (p *talker) xclient() {
	p.t.Helper()
	p.say("220 mx ESMTP\r\n")
	p.hears("EHLO gate.example\r\n")
	p.say("250-mx\r\n250 XCLIENT NAME ADDR\r\n")
	if got := p.line(); got != "XCLIENT ADDR=127.0.0.1 NAME=[UNAVAILABLE]" {
		p.t.Fatalf("server hears %q", got)
	}
}

// introduced is a session whose server has been told of the client's address,
// and offers to be told this, too.
func introduced(t *testing.T, offer string) *rig {
	t.Helper()
	r := newRig(t, func(c *imsg.SessionConfig) { withXclient(c); c.ScanChunks = true })
	r.introduce(offer)
	return r
}

func (r *rig) introduce(offer string) {
	r.t.Helper()
	r.server.say("220 mx ESMTP\r\n")
	r.server.hears("EHLO gate.example\r\n")
	r.server.say("250-mx\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250 XCLIENT ADDR NAME " + offer + "\r\n")
	login := ""
	if offer == "LOGIN" {
		login = " LOGIN=[UNAVAILABLE]" // nobody has logged in yet
	}
	r.server.hears("XCLIENT ADDR=127.0.0.1 NAME=[UNAVAILABLE]" + login + "\r\n")
	r.toClient("220 mx ESMTP\r\n")
}

// told has the server hear an XCLIENT of ours, and take it.
func (r *rig) told(attributes string) {
	r.t.Helper()
	r.server.hears("XCLIENT ADDR=127.0.0.1 NAME=[UNAVAILABLE] " + attributes + "\r\n")
	r.server.say("220 mx ESMTP\r\n")
}

// What the client says in HELO and EHLO is told when it is new, and when the
// server can hear it.
func TestXclientHello(t *testing.T) {
	r := introduced(t, "HELO PROTO")
	hello := func(line string) {
		t.Helper()
		r.server.hears(line + "\r\n")
		r.toClient("250-mx\r\n250 CHUNKING\r\n")
	}
	r.client.say("EHLO a\r\n")
	r.told("PROTO=ESMTP HELO=a")
	hello("EHLO a")
	r.client.say("ehlo  a \r\n")
	hello("ehlo a")
	r.client.say("HELO a\r\n")
	r.told("PROTO=SMTP HELO=a")
	hello("HELO a")

	r.toServer("MAIL FROM:<a>\r\n")
	r.toClient("250 ok\r\n")
	r.client.say("EHLO b\r\n") // in a transaction
	hello("EHLO b")
	r.client.say("EHLO b\r\n")
	r.told("PROTO=ESMTP HELO=b")
	hello("EHLO b")

	// A group: the replies tell that MAIL was refused, the rest waits.
	r.client.say("MAIL FROM:<a>\r\nEHLO c\r\nMAIL FROM:<b>\r\nRCPT TO:<c>\r\nEHLO d\r\nNOOP\r\n")
	r.server.hears("MAIL FROM:<a>\r\n")
	r.toClient("550 no\r\n")
	r.told("PROTO=ESMTP HELO=c")
	r.server.hears("EHLO c\r\nMAIL FROM:<b>\r\nRCPT TO:<c>\r\n")
	r.toClient("250 mx\r\n250 ok\r\n250 ok\r\n")
	r.server.hears("EHLO d\r\nNOOP\r\n")
	r.toClient("250 mx\r\n250 ok\r\n")

	// A message in chunks that is given up is no transaction any more.
	for _, line := range []string{"EHLO c", "MAIL FROM:<a>", "RCPT TO:<b>"} {
		r.client.say(line + "\r\n")
		r.server.hears(line + "\r\n")
		r.toClient("250-mx\r\n250 CHUNKING\r\n")
	}
	r.client.say("BDAT 1\r\nx")
	r.natChunk()
	r.server.hears("BDAT 1\r\nx")
	r.toClient("250 ok\r\n")
	r.client.say("EHLO e\r\n")
	r.server.hears("RSET\r\n")
	r.server.say("250 ok\r\n")
	r.told("PROTO=ESMTP HELO=e")
	hello("EHLO e")

	// XCLIENT would log the client out.
	r.client.say("AUTH X y\r\nEHLO f\r\n")
	r.server.hears("AUTH X y\r\n")
	r.toClient("235 ok\r\n")
	hello("EHLO f")
}

func TestXclientHelloOffers(t *testing.T) {
	for offer, want := range map[string]string{
		"HELO": "HELO=c", "PROTO": "PROTO=ESMTP", "PROTO helo": "PROTO=ESMTP HELO=c", "LOGIN": "", "": "",
	} {
		r := introduced(t, offer)
		r.client.say("EHLO c\r\n")
		if want != "" {
			r.told(want)
		}
		r.server.hears("EHLO c\r\n")
		// What was offered before the session began anew is over.
		r.toClient("550 no\r\n")
		r.client.say("BDAT 4\r\nQUIT")
		r.client.hears("502 gate.example msg_unimpl_command\r\n")
		r.toServer("NOOP\r\n")
	}
}

// A server need not take a second XCLIENT.
func TestXclientHelloRefused(t *testing.T) {
	for _, tc := range []struct {
		code       string
		next, anew bool // it is asked again in this session; in another
	}{{"550-not\r\n550", false, false}, {"502", false, false}, {"501", true, true}, {"503", true, true}, {"450", true, true}, {"250", true, true}} {
		t.Run(tc.code[:3], func(t *testing.T) {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			r := &rig{house: newHouse(t, l.Addr().String(), withXclient)}
			for i := range 2 {
				r.client = r.dial()
				conn, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				r.server = newTalker(t, "server", conn)
				r.introduce("HELO PROTO")
				for _, name := range []string{"a", "b"} {
					r.client.say("EHLO " + name + "\r\nNOOP\r\n")
					if i == 0 && name == "a" || i == 0 && tc.next || i == 1 && tc.anew {
						r.server.hears("XCLIENT ADDR=127.0.0.1 NAME=[UNAVAILABLE] PROTO=ESMTP HELO=" + name + "\r\n")
						r.server.say(tc.code + " whatever\r\n")
					}
					r.server.hears("EHLO " + name + "\r\nNOOP\r\n")
					r.toClient("250 mx\r\n250 ok\r\n")
				}
			}
			line := "XCLIENT:REFUSED code=" + tc.code[:3] + ", dst=" + l.Addr().String()
			if tc.anew {
				r.logsNot(line)
				return
			}
			r.logs(line)
			if b, err := os.ReadFile(r.log); err != nil || strings.Count(string(b), line) != 1 {
				t.Errorf("not logged once: %v", err)
			}
		})
	}
}

// What else a server may do instead of answering.
func TestXclientHelloInterrupted(t *testing.T) {
	for name, tc := range map[string]struct{ says, hears string }{
		"421":          {"421-going\r\n421 down\r\n", "421-going\r\n421 down\r\n"},
		"intermediate": {"354 go\r\n", "421 gate.example msg_proto_error\r\n"},
		"rubbish":      {"what?\r\n", "421 gate.example msg_proto_error\r\n"},
		"two replies":  {"220 a\r\n220 b\r\n", "421 gate.example msg_proto_error\r\n"},
		"the end":      {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := introduced(t, "HELO PROTO")
			r.client.say("EHLO c\r\nNOOP\r\n")
			r.server.hears("XCLIENT ADDR=127.0.0.1 NAME=[UNAVAILABLE] PROTO=ESMTP HELO=c\r\n")
			r.server.say(tc.says)
			if tc.says == "" {
				r.server.conn.(*net.TCPConn).CloseWrite()
			}
			r.client.hears(tc.hears)
			r.client.end()
		})
	}
}

// A name that a client chose is one value, whatever is in it.
func TestXclientHelloValues(t *testing.T) {
	for arg, want := range map[string]string{
		"":                        "[UNAVAILABLE]",
		"[192.0.2.1]":             "[192.0.2.1]",
		"[IPv6:2001:db8::1]":      "[IPv6:2001:db8::1]",
		"x ADDR=192.0.2.1":        "x+20ADDR+3D192.0.2.1",
		"a+2B=\xc3\xa4":           "a+2B2B+3D+C3+A4",
		"\x00\r\n\t\x7f\xff":      "+00+0D+0A+09+7F+FF",
		strings.Repeat("a", 255):  strings.Repeat("a", 255),
		strings.Repeat("a", 256):  "[UNAVAILABLE]",
		strings.Repeat("=", 85):   strings.Repeat("+3D", 85),
		strings.Repeat("=", 86):   "[UNAVAILABLE]",
		strings.Repeat("a", 2040): "[UNAVAILABLE]",
	} {
		h := &hello{helo: true}
		if got := string(h.append(nil, smtp.Command{Verb: smtp.EHLO, Arg: []byte(arg)})); got != " HELO="+want {
			t.Errorf("%q: %q", arg, got)
		}
	}
}

func TestXclientAddresses(t *testing.T) {
	var offers hello
	offers.wants([]string{"NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT"})
	for _, tc := range []struct{ src, local, want string }{
		{"192.0.2.7:1025", "192.0.2.1:25", "XCLIENT ADDR=192.0.2.7 NAME=[UNAVAILABLE] PORT=1025 DESTADDR=192.0.2.1 DESTPORT=25 LOGIN=[UNAVAILABLE]"},
		{"[2001:db8::7]:1025", "[2001:db8::1]:25", "XCLIENT ADDR=IPV6:2001:db8::7 NAME=[UNAVAILABLE] PORT=1025 DESTADDR=IPV6:2001:db8::1 DESTPORT=25 LOGIN=[UNAVAILABLE]"},
		{"[fe80::1%eth0]:9", "[fe80::2%a=b]:25", "XCLIENT ADDR=IPV6:fe80::1 NAME=[UNAVAILABLE] PORT=9 DESTADDR=IPV6:fe80::2 DESTPORT=25 LOGIN=[UNAVAILABLE]"},
	} {
		s := &session{hello: offers, src: netip.MustParseAddrPort(tc.src), local: netip.MustParseAddrPort(tc.local)}
		if got := string(s.appendXclient(nil)); got != tc.want {
			t.Errorf("got  %q\nwant %q", got, tc.want)
		}
	}
}
