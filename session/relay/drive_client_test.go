package relay

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// This file owns the client: what it says, and for which replies it waits.

// piece is what a client says in one go.
type piece struct {
	octets []byte
	waits  bool // for all replies before
	behind int  // said behind this reply alone; 0: behind any
}

// speaker is a client.
type speaker struct {
	ledger  *ledger
	pieces  []piece
	pending []byte // of the piece under way
	eof     bool   // the relay has closed its half, or the client has nothing more to say
}

// ready tells whether there is something to be sent.
func (s *speaker) ready() bool {
	if s.ledger.handshaking {
		return false
	}
	for len(s.pending) == 0 && len(s.pieces) > 0 {
		p := &s.pieces[0]
		if p.waits && s.ledger.owes() > 0 {
			return false
		}
		if p.behind == 0 || p.behind == s.ledger.code {
			s.pending = p.octets
		}
		s.pieces = s.pieces[1:]
	}
	return len(s.pending) > 0
}

// send is what comes of n octets.
func (s *speaker) send(n int) []byte {
	b := s.pending[:n]
	s.pending = s.pending[n:]
	s.ledger.say(b)
	return b
}

func (s *speaker) hear(b []byte) { s.ledger.hear(b) }

// checkDirect holds that the server gets all that the client said behind: what the relay
// has passed on, and what a direct proxy moves.
func (s *speaker) checkDirect(passed, rest []byte) {
	if l := s.ledger; !l.direct {
		l.fail("a direct proxy, and the client does not know")
	} else if !bytes.Equal(l.in, append(passed, rest...)) {
		l.fail("%q was passed on, the direct proxy moves %q, and the client said %q", passed, rest, l.in)
	}
}

// script draws what a client says.
type script struct {
	*rand.Rand
	blind  bool // it waits for nothing, if not told so
	polite bool // it says nothing that ends the session
	list   []piece
}

func (s *script) say(format string, args ...any) {
	s.list = append(s.list, piece{octets: fmt.Appendf(nil, format, args...), waits: !s.blind})
}

func (s *script) one(of ...string) string { return of[s.IntN(len(of))] }

// often is true in one of n cases.
func (s *script) once(in int) bool { return s.IntN(in) == 0 }

// helloName is the server that a hello asks for.
const helloName = "mx.hello.example"

// hello draws what a client begins TLS with.
func (s *script) hello() []byte {
	record := imsgtest.ClientHello(helloName)
	return []byte(s.one(record, record, record+"\x17\x03\x03\x00\x01x", record[:20], "no TLS\r\n"))
}

// draw draws a whole session.
func (s *script) draw() []piece {
	if s.once(4) {
		s.blind = true
	}
	if !s.once(10) {
		s.say("EHLO client.example\r\n")
	}
	for range 1 + s.IntN(7) {
		switch s.IntN(12) {
		case 0:
			s.say("%s %s\r\n", s.one("EHLO", "HELO", "ehlo"), s.one("again.example", "bad.example", ""))
		case 1:
			s.group()
		case 2:
			s.auth()
		case 3:
			s.garbage()
		case 4:
			if !s.polite && s.once(3) {
				s.say("STARTTLS%s\r\n", s.one("", "", "\r\nEHLO x"))
				s.list = append(s.list, piece{octets: s.hello(), waits: true, behind: 220})
			}
		case 5, 6, 7:
			s.chunks()
		default:
			s.mail()
		}
		if s.once(3) {
			s.say("RSET\r\n")
		}
	}
	if !s.once(4) {
		s.say("QUIT\r\n")
	}
	return s.list
}

// small is a command that changes nothing. A text that begins unawares ends whenever it
// is too large.
func (s *script) small() string {
	line := s.one("NOOP", "NOOP twice", "VRFY somebody", "HELP", "XYZZY \xe2\x98\x83", "noop", "  NOOP  ", "NOOP\t x", "", "BURL x", "TURN", "RCPT TO:<early@x>", "DATA x", "XCLIENT NAME=x")
	if s.polite && strings.HasPrefix(line, "DATA") {
		line = "NOOP"
	}
	return line
}

func (s *script) group() {
	var b strings.Builder
	for range 1 + s.IntN(20) {
		b.WriteString(s.small() + "\r\n")
	}
	s.say("%s", b.String())
}

func (s *script) auth() {
	s.say("AUTH %s\r\n", s.one("PLAIN", "PLAIN AGEAYg==", "LOGIN", "NTLM", "XOAUTH2 dXNlcj1hAWF1dGg9QmVhcmVyIHQBAQ==", "PLAIN "+strings.Repeat("QUFB", 700)))
	for range 2 {
		response := s.one("AGEAYg==", "", "*", strings.Repeat("QUFB", 3000), "bad\x01", strings.Repeat("x", 13000))
		s.list = append(s.list, piece{octets: []byte(response + "\r\n"), waits: true, behind: 334})
	}
}

func (s *script) garbage() {
	var b []byte
	switch s.IntN(6) {
	case 0:
		for range s.IntN(60) {
			b = append(b, "\r\n.\x00 aN\x16\x03"[s.IntN(9)])
		}
	case 1:
		b = []byte(strings.Repeat("long ", 500+s.IntN(1000)))
	case 2:
		b = []byte("NOOP \x00\x01\r\nNOOP bare\rCR\r\nNO\x7fOP")
	case 3:
		if !s.polite {
			b = []byte("NOOP bare\nNOOP LF\nMAIL FROM:<bare@x>\nDATA\n.\n")
		}
	case 4:
		b = []byte("BDAT 99999999999999999999 LAST")
		if s.polite || !s.once(4) {
			b = []byte("BDAT x LAST")
		}
	case 5:
		b = []byte("BDAT 12x\r\nNOOP\r\nRSET\r\nBDAT12\r\nNOOP\r\nRSET")
	}
	s.say("%s\r\n", b)
}

// envelope draws the commands before a message.
func (s *script) envelope() {
	from := s.one("a@client.example", "refuse@client.example", "bad@client.example", "", "\"a b\"@client.example", "\xc3\xa9@client.example", "a@[192.0.2.1")
	b := fmt.Sprintf("MAIL FROM:<%s>%s\r\n", from, s.one("", "", "", " SIZE=100", " SIZE=9999999", " BODY=BINARYMIME", " PRDR"))
	for range s.IntN(4) {
		b += fmt.Sprintf("RCPT TO:<%s>\r\n", s.one("take@mx", "refuse@mx", "bad@mx", "b@mx> NOTIFY=NEVER", strings.Repeat("x", 300)+"@mx"))
		if s.once(6) {
			b += s.small() + "\r\n"
		}
	}
	if s.once(8) {
		b += "RSET\r\n"
	}
	s.say("%s", b)
}

// mail draws a message by DATA.
func (s *script) mail() {
	s.envelope()
	if s.once(2) && !s.blind {
		last := &s.list[len(s.list)-1]
		last.octets = append(last.octets, "DATA\r\n"...)
	} else {
		s.say("DATA\r\n")
	}
	text := s.text()
	if s.polite && s.blind || !s.blind || s.once(2) {
		s.list = append(s.list, piece{octets: text, waits: true, behind: 354})
		return
	}
	s.list = append(s.list, piece{octets: text})
}

// text draws a message with its end.
func (s *script) text() (b []byte) {
	if s.once(400) {
		b = append(b, strings.Repeat(strings.Repeat("long ", 30)+"\n.\n", 1500)...)
	}
	if s.once(40) {
		b = append(b, bytes.Repeat([]byte("a long text\r\n.. with dots\r\n"), s.IntN(3000))...)
	}
	if s.once(200) {
		b = append(b, bytes.Repeat([]byte("a long text without dots\r\n"), s.IntN(12000))...)
	}
	for range s.IntN(9) {
		switch s.IntN(8) {
		case 0, 1:
			b = append(b, "Subject: x\r\n"...)
		case 2:
			b = append(b, s.one("\r\n", "..\r\n", "...a\r\n", ".x\r\n", "..")...)
		case 3:
			b = append(b, "NOOP\r\nRSET\r\nMAIL FROM:<x@x>\r\nQUIT\r\n"...)
		case 4:
			b = append(b, strings.Repeat("long ", s.IntN(800))...)
		case 5:
			if s.once(3) {
				b = append(b, s.one("\n", "\r", "\n.\n", "\n.\r\n", "\r.\r\n", "\x00", "\n..x\n", "\x00.\r\n", ".\n")...)
			}
		case 6:
			b = append(b, "text\r\n"...)
		case 7:
			if s.once(12) {
				return append(b, "\r\n.\r\n"...)
			}
		}
	}
	if s.once(3) {
		b = append(b, "virus"...)
	}
	if len(b) > 0 && !bytes.HasSuffix(b, []byte("\r\n")) {
		b = append(b, "\r\n"...)
	}
	b = append(b, ".\r\n"...)
	if s.once(3) && !s.polite {
		b = append(b, "NOOP behind\r\nMAIL FROM:<next@client.example>\r\n"...)
	}
	return b
}

// chunks draws a message by BDAT.
func (s *script) chunks() {
	s.envelope()
	n := 1 + s.IntN(4)
	for i := range n {
		octets := s.one("", "From: x\r\n\r\n", "NOOP\r\nRSET\r\nQUIT\r\n", "\r\n.\r\n", ".\r\nMAIL FROM:<x@x>\r\n", "virus", strings.Repeat("x", s.IntN(3000)), "a\x00b\n", "a")
		if s.once(60) {
			octets = strings.Repeat("octets\r\n", s.IntN(9000))
		}
		last := ""
		if i == n-1 && !s.once(8) {
			last = s.one(" LAST", " last", " LAST", " LATE")
		}
		s.say("BDAT %d%s\r\n%s", len(octets), last, octets)
		if s.once(8) {
			s.say("%s\r\n", s.one("NOOP", "RCPT TO:<refuse@mx>", "RSET", "MAIL FROM:<x@x>", "DATA", "RCPT TO:<take@mx>"))
		}
	}
}
