// XCLIENT: telling the server who its client really is, before the client hears
// a word (mode fixed+xclient; Postfix, XCLIENT_README). This file owns that short
// dialogue, in which nothing of the client takes part.

package session

import (
	"errors"
	"net/netip"
	"strconv"
	"time"

	"github.com/smtp-gated/smtp-gated/session/smtp"
)

var (
	errNoESMTP   = errors.New("the server does not greet with ESMTP")
	errNoXclient = errors.New("the server does not offer XCLIENT")
	errXclient   = errors.New("the server refuses XCLIENT")
)

// introduce tells the server of the client within timeout_lookup and passes its
// answer on as the greeting. After an error nothing has been said to the client.
func (s *session) introduce() error {
	s.server.conn.SetReadDeadline(time.Now().Add(s.w.cfg.TimeoutLookup))
	esmtp := false
	code, err := s.serverReply(func(r smtp.Reply) {
		esmtp = esmtp || smtp.HasWord(r.Text, "ESMTP")
	})
	switch {
	case err != nil:
		return err
	case code != 220 || !esmtp:
		return errNoESMTP
	}

	if err := s.server.write([]byte("EHLO " + s.w.cfg.ProxyName + "\r\n")); err != nil {
		return err
	}
	var attributes []string
	offered := false
	code, err = s.serverReply(func(r smtp.Reply) {
		if names, ok := smtp.XclientOffer(r); ok {
			attributes, offered = append(attributes, names...), true
		}
	})
	switch {
	case err != nil:
		return err
	case code != 250 || !offered:
		return errNoXclient
	}

	if err := s.server.write(s.appendXclient(nil, attributes)); err != nil {
		return err
	}
	var greeting []byte
	code, err = s.serverReply(func(r smtp.Reply) {
		greeting = append(append(greeting, r.Line...), "\r\n"...)
	})
	switch {
	case err != nil:
		return err
	case code != 220:
		return errXclient
	case len(s.server.bytes()) > 0:
		return errUnasked
	}
	s.server.conn.SetReadDeadline(time.Time{})
	s.greeted.Store(true)
	return s.sayLine(greeting)
}

// serverReply waits for a reply and shows each of its lines.
func (s *session) serverReply(line func(smtp.Reply)) (code int, err error) {
	for {
		r, n, err := s.replies.Next(s.server.bytes())
		if err != nil {
			return 0, err
		}
		if n == 0 {
			if err := s.server.fill(); err != nil {
				return 0, err
			}
			continue
		}
		line(r)
		s.server.consume(n)
		if r.Last {
			return r.Code, nil
		}
	}
}

// appendXclient appends the command with what is known of a client that has not
// spoken yet. HELO, PROTO and LOGIN are not.
func (s *session) appendXclient(b []byte, offered []string) []byte {
	b = appendAddr(append(b, "XCLIENT ADDR="...), s.src.Addr())
	b = append(b, " NAME=[UNAVAILABLE]"...)
	for _, name := range offered {
		switch name {
		case "PORT":
			b = strconv.AppendUint(append(b, " PORT="...), uint64(s.src.Port()), 10)
		case "DESTADDR":
			b = appendAddr(append(b, " DESTADDR="...), s.local.Addr())
		case "DESTPORT":
			b = strconv.AppendUint(append(b, " DESTPORT="...), uint64(s.local.Port()), 10)
		}
	}
	return append(b, "\r\n"...)
}

// appendAddr appends an address as XCLIENT wants it, without a zone: that is our
// host's own name for an interface.
func appendAddr(b []byte, a netip.Addr) []byte {
	text := a.WithZone("").AppendTo(nil)
	if a.Is6() {
		b = append(b, "IPV6:"...)
	}
	return smtp.AppendXtext(b, text)
}
