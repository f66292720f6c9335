// The headers we add: one for the server, one for the scanners. What a foreigner
// chose in them is made header-safe.

package session

import (
	"strconv"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// appendNATHeader appends the header that names the client to the server.
func (s *session) appendNATHeader(b []byte) []byte {
	cfg := s.w.cfg
	if cfg.NatHeaderType == imsg.NatNone || cfg.NatHeader == "" {
		return b
	}
	b = append(append(b, cfg.NatHeader...), ": "...)
	if cfg.NatHeaderType == imsg.NatIPOnly {
		b = s.src.Addr().AppendTo(b)
		return append(b, "\r\n"...)
	}
	b = append(b, "from ["...)
	b = s.src.Addr().AppendTo(b)
	b = append(b, "]:"...)
	b = strconv.AppendUint(b, uint64(s.src.Port()), 10)
	b = append(b, " [ident"...)
	if s.ident == "" {
		b = append(b, "-empty"...)
	} else {
		b = smtp.AppendHeader(append(b, ' '), []byte(s.ident))
	}
	b = append(b, "]\r\n\tby "...)
	b = append(b, cfg.ProxyName...)
	b = append(b, " with TPROXY id "...)
	b = append(b, s.id()...)
	b = append(b, "\r\n"...)
	if cfg.Abuse != "" {
		b = append(b, "\tabuse-to "...)
		b = append(b, cfg.Abuse...)
		b = append(b, "\r\n"...)
	}
	return b
}

// appendHeader appends what stands before a message that begins so, and parts our
// header in the spool from text, too. False: the spool cannot be written, and the
// message must not pass without.
func (s *session) appendHeader(b []byte, begins smtp.Start) (header []byte, ok bool) {
	const parts = "\r\n"
	m := &s.message
	m.headerSent = true
	before := len(b)
	b = s.appendNATHeader(b)
	if begins != smtp.StartText {
		return b, true
	}
	if len(b) > before {
		b = append(b, parts...)
	}
	return b, !m.spool || s.w.cfg.SpoolHeader == "" || s.spoolText([]byte(parts))
}

// longestHeader is how many octets the server gets of us with a message, at most:
// an empty line follows the header where the message begins with text.
func (s *session) longestHeader() int64 {
	if n := len(s.appendNATHeader(nil)); n > 0 {
		return int64(n + len("\r\n"))
	}
	return 0
}

// appendSpoolHeader appends the header that only the scanners see.
func (s *session) appendSpoolHeader(b []byte) []byte {
	if s.w.cfg.SpoolHeader == "" {
		return b
	}
	b = append(append(b, s.w.cfg.SpoolHeader...), ": src="...)
	b = s.src.AppendTo(b)
	b = append(b, ", ident="...)
	b = smtp.AppendHeader(b, []byte(s.ident))
	b = append(b, ", dst="...)
	b = s.dst.AppendTo(b)
	b = append(b, ", trns="...)
	b = strconv.AppendInt(b, int64(s.trns.Load()), 10)
	return append(b, "\r\n"...)
}
