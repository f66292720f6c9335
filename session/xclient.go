// XCLIENT: telling the server who its client really is (mode fixed+xclient;
// Postfix, XCLIENT_README). This file owns what is told, before the client hears
// a word: its addresses and ports. HELO and PROTO are not told: the server learns
// both from the client's own EHLO, and Postfix refuses a second XCLIENT.
//
// LOGIN is told as long as nobody has logged in, and says so. A name never is: that
// is for proxies that check passwords themselves; here the server takes AUTH from
// the client, and knows the name. To tell it would do harm: where Postfix does not
// refuse (550) an XCLIENT behind AUTH, it forgets what the client said in EHLO.

package session

import (
	"context"
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
	errLongReply = errors.New("the server's reply has no end")
)

// maxIntroduction bounds each reply of the server before the client hears a word,
// in octets: no server has so much to say, and the greeting is kept.
const maxIntroduction = 64 << 10

// introduce tells the server of the client within timeout_lookup and passes its
// answer on as the greeting. After an error nothing has been said to the client.
func (s *session) introduce() error {
	ctx, done := s.limited(s.w.cfg.TimeoutLookup)
	defer done()
	deadline, _ := ctx.Deadline()
	s.server.Conn.SetReadDeadline(deadline)
	alone := context.AfterFunc(ctx, s.server.Expire)
	defer alone()
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

	if err := s.server.Write([]byte("EHLO " + s.w.cfg.ProxyName + "\r\n")); err != nil {
		return err
	}
	offered := false
	code, err = s.serverReply(func(r smtp.Reply) {
		if names, ok := smtp.XclientOffer(r); ok {
			offered = true
			s.xclient.add(names)
		}
	})
	switch {
	case err != nil:
		return err
	case code != 250 || !offered:
		return errNoXclient
	}

	if err := s.server.Write(append(s.appendXclient(nil), "\r\n"...)); err != nil {
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
	case len(s.server.Bytes()) > 0:
		return errUnsolicited
	case !alone():
		return context.Canceled
	}
	s.server.Conn.SetReadDeadline(time.Time{})
	s.greeted.Store(true)
	return s.sayLine(greeting)
}

// serverReply waits for a reply and shows each of its lines.
func (s *session) serverReply(line func(smtp.Reply)) (code int, err error) {
	for size := 0; ; {
		r, n, err := s.replies.Next(s.server.Bytes())
		if err != nil {
			return 0, err
		}
		if n == 0 {
			if err := s.server.Fill(); err != nil {
				return 0, err
			}
			continue
		}
		if size += n; size > maxIntroduction {
			return 0, errLongReply
		}
		line(r)
		s.server.Consume(n)
		if r.Last {
			return r.Code, nil
		}
	}
}

// xclientOffer is what the server wants to be told of its client.
type xclientOffer struct {
	port, destAddr, destPort, login bool
}

func (h *xclientOffer) add(attributes []string) {
	for _, name := range attributes {
		switch name {
		case "PORT":
			h.port = true
		case "DESTADDR":
			h.destAddr = true
		case "DESTPORT":
			h.destPort = true
		case "LOGIN":
			h.login = true
		}
	}
}

// appendXclient appends the command with what is known of a client that has not
// spoken yet.
func (s *session) appendXclient(b []byte) []byte {
	b = appendAddr(append(b, "XCLIENT ADDR="...), s.src.Addr())
	b = append(b, " NAME=[UNAVAILABLE]"...)
	if s.xclient.port {
		b = strconv.AppendUint(append(b, " PORT="...), uint64(s.src.Port()), 10)
	}
	if s.xclient.destAddr {
		b = appendAddr(append(b, " DESTADDR="...), s.local.Addr())
	}
	if s.xclient.destPort {
		b = strconv.AppendUint(append(b, " DESTPORT="...), uint64(s.local.Port()), 10)
	}
	if s.xclient.login {
		b = append(b, " LOGIN=[UNAVAILABLE]"...)
	}
	return b
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
