package session

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func withXclient(c *imsg.SessionConfig) {
	c.Mode = imsg.ModeFixedXclient
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
	// HELO and PROTO are the client's own to tell, however often.
	r.server.hears("EHLO early, yet harmless\r\n")
	r.server.say("250-mx.example\r\n250 XCLIENT NAME ADDR\r\n")
	r.client.hears("250-mx.example\r\n250 XCL*ENT NAME ADDR\r\n")
	// What the client sees offered counts, not what we saw: no enhanced code.
	r.client.say("XCLIENT ADDR=192.0.2.1\r\n")
	r.client.hears("502 gate.example msg_unimpl_command\r\n")
	for _, hello := range []string{"HELO another\r\n", "EHLO a third\r\n"} {
		r.toServer(hello)
		r.toClient("250 mx.example\r\n")
	}
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
		"greets twice":   func(s *talker) { s.xclient(); s.say("220 a\r\n220 b\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *imsg.SessionConfig) {
				withXclient(c)
				if name == "no reply" {
					c.TimeoutLookup = time.Second
				}
			})
			story(r.server)
			r.client.hears("220 gate.example SMTP\r\n")
			for line := ""; line != "QUIT"; {
				line = r.server.line()
			}
			r.client.say("MAIL FROM:<a>\r\nQUIT\r\n")
			r.client.hears("451 gate.example msg_fixed_xclient_fail\r\n221 gate.example msg_sign_off\r\n")
			r.client.end()
			if name == "no end" {
				r.logs("XCLIENT:FAILED dst=" + r.server.conn.LocalAddr().String() + ", error=the server's reply has no end") // not the time that ran out
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
