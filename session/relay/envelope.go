package relay

import (
	"crypto/md5"
	"encoding/base64"
	"strconv"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns what the log tells of envelopes: one line each, in the form its
// readers know, and how an address is written there.

// longestList is where a list of recipients is broken, in octets, so that a line
// fits into the 1024 of RFC 3164, 4.1.
const longestList = 700

// envelopeLog is what the log is yet to tell of a transaction.
type envelopeLog struct {
	sender string // "MAIL FROM <a>"
	rcpts  []byte // "250<b>, 550<c>"
}

// publicAddress is an address as the world outside gets to know it: its hash, if the
// administrator wants that.
func (f *Facts) publicAddress(addr []byte, how imsg.LogAddress) string {
	if how&imsg.LogBase64 == 0 {
		return printable(addr)
	}
	// The old daemon's hashes are of the beginning alone.
	sum := md5.Sum(addr[:min(len(addr), f.Config.EmailLength)])
	return base64.RawStdEncoding.EncodeToString(sum[:])
}

// shorten cuts a public address to what the log shows of it.
func (f *Facts) shorten(text string, how imsg.LogAddress) string {
	if how&imsg.LogBase64 == 0 {
		text = truncate(text, f.Config.EmailLength)
	}
	return text
}

func (f *Facts) loggedAddress(addr []byte, how imsg.LogAddress) string {
	return f.shorten(f.publicAddress(addr, how), how)
}

// recordSender keeps what became of MAIL.
func (s *server) recordSender(addr string, code int) {
	s.logEnvelope()
	how := s.Config.LogMailFrom
	if how == 0 {
		return
	}
	line := "MAIL FROM <" + s.shorten(addr, how) + ">"
	switch {
	case code/100 == 2 && how&imsg.LogAccepted != 0:
		s.envelope.sender = line
	case code/100 != 2 && how&imsg.LogRejected != 0:
		s.world.Always(line + " rejected [" + itoa(code) + "]")
	}
}

// recordRecipient keeps what became of RCPT.
func (s *server) recordRecipient(addr string, code int) {
	how, want := s.Config.LogRcptTo, imsg.LogRejected
	if code/100 == 2 {
		want = imsg.LogAccepted
	}
	if how&want == 0 {
		return
	}
	e := &s.envelope
	if len(e.rcpts) > longestList {
		s.logEnvelope()
	}
	if len(e.rcpts) > 0 {
		e.rcpts = append(e.rcpts, ", "...)
	}
	e.rcpts = strconv.AppendInt(e.rcpts, int64(code), 10)
	e.rcpts = append(append(append(e.rcpts, '<'), s.shorten(addr, how)...), '>')
}

// logEnvelope tells what is known so far: at the start of the message, or when
// there will be none.
func (s *server) logEnvelope() {
	e := &s.envelope
	line := e.sender
	if len(e.rcpts) > 0 {
		if line != "" {
			line += " "
		}
		line += "RCPT TO: " + string(e.rcpts)
	}
	if line != "" {
		s.world.Always(line)
		*e = envelopeLog{}
	}
}
