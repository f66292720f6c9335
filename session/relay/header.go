package relay

import (
	"strconv"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns the headers we add: one for the server, one for the scanners. What a
// foreigner chose in them is made header-safe.

// appendNATHeader appends the header that names the client to the server.
func (f *Facts) appendNATHeader(b []byte) []byte {
	cfg := f.Config
	if cfg.NatHeaderType == imsg.NatNone || cfg.NatHeader == "" {
		return b
	}
	b = append(append(b, cfg.NatHeader...), ": "...)
	if cfg.NatHeaderType == imsg.NatIPOnly {
		b = f.Client.Addr().AppendTo(b)
		return append(b, "\r\n"...)
	}
	b = append(b, "from ["...)
	b = f.Client.Addr().AppendTo(b)
	b = append(b, "]:"...)
	b = strconv.AppendUint(b, uint64(f.Client.Port()), 10)
	b = append(b, " [ident"...)
	if f.Ident == "" {
		b = append(b, "-empty"...)
	} else {
		b = smtp.AppendHeader(append(b, ' '), []byte(f.Ident))
	}
	b = append(b, "]\r\n\tby "...)
	b = append(b, cfg.ProxyName...)
	b = append(b, " with TPROXY id "...)
	b = append(b, f.ID()...)
	b = append(b, "\r\n"...)
	if cfg.Abuse != "" {
		b = append(b, "\tabuse-to "...)
		b = append(b, cfg.Abuse...)
		b = append(b, "\r\n"...)
	}
	return b
}

// appendHeader appends what stands before a message that begins so, and parts our
// header in the spool from text, too.
func (c *client) appendHeader(b []byte, begins smtp.Start) []byte {
	const parts = "\r\n"
	m := c.message()
	m.headerSent = true
	before := len(b)
	b = c.appendNATHeader(b)
	if begins != smtp.StartText {
		return b
	}
	if len(b) > before {
		b = append(b, parts...)
	}
	if m.spool && c.Config.SpoolHeader != "" {
		text := c.spoolText()
		*text = append(*text, parts...)
		m.spooled += int64(len(parts))
	}
	return b
}

// longestHeader is how many octets the server gets of us with a message, at most:
// an empty line follows the header where the message begins with text.
func (f *Facts) longestHeader() int64 {
	if n := len(f.appendNATHeader(nil)); n > 0 {
		return int64(n + len("\r\n"))
	}
	return 0
}

// appendSpoolHeader appends the header that only the scanners see.
func (s *shared) appendSpoolHeader(b []byte) []byte {
	if s.Config.SpoolHeader == "" {
		return b
	}
	b = append(append(b, s.Config.SpoolHeader...), ": src="...)
	b = s.Client.AppendTo(b)
	b = append(b, ", ident="...)
	b = smtp.AppendHeader(b, []byte(s.Ident))
	b = append(b, ", dst="...)
	b = s.Target.AppendTo(b)
	b = append(b, ", trns="...)
	b = strconv.AppendInt(b, int64(s.transactions), 10)
	return append(b, "\r\n"...)
}
