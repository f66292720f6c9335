package relay

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns XCLIENT: telling the server who its client really is (mode
// fixed+xclient; Postfix, XCLIENT_README), before the client hears a word: its
// addresses and ports. HELO and PROTO are not told: the server learns both from the
// client's own EHLO, and Postfix refuses a second XCLIENT.
//
// LOGIN is told as long as nobody has logged in, and says so. A name never is: that
// is for proxies that check passwords themselves; here the server takes AUTH from
// the client, and knows the name. To tell it would do harm: where Postfix does not
// refuse (550) an XCLIENT behind AUTH, it forgets what the client said in EHLO.

var (
	errNoESMTP   = errors.New("the server does not greet with ESMTP")
	errNoXclient = errors.New("the server does not offer XCLIENT")
	errXclient   = errors.New("the server refuses XCLIENT")
	errLongReply = errors.New("the server's reply has no end")
	errEnded     = errors.New("the server has closed")
)

// maxIntroduction bounds each reply of the server before the client hears a word,
// in octets: no server has so much to say, and the greeting is kept.
const maxIntroduction = 64 << 10

// introduction is how far the server has been told.
type introduction struct {
	said       said
	size       int      // octets of the reply under way
	esmtp      bool     // it greets with ESMTP
	offered    bool     // it offers XCLIENT
	attributes []string // that it wants to be told of its client
	greeting   []byte
}

// said is the last thing we said to the server.
type said uint8

const (
	nothing said = iota
	ehloSaid
	xclientSaid
)

// introduce decides on a line of an answer to us; more tells that octets follow it. The last answer is the greeting that
// the client hears; after a failure it has heard nothing.
func (s *server) introduce(r *smtp.Reply, more bool) {
	i := s.intro
	if i.size += len(r.Line) + len("\r\n"); i.size > maxIntroduction {
		s.introductionFailed(errLongReply)
		return
	}
	switch i.said {
	case nothing:
		i.esmtp = i.esmtp || smtp.HasWord(r.Text, "ESMTP")
	case ehloSaid:
		if names, ok := smtp.XclientOffer(*r); ok {
			i.offered = true
			i.attributes = append(i.attributes, names...)
		}
	case xclientSaid:
		i.greeting = append(append(i.greeting, r.Line...), "\r\n"...)
	}
	if !r.Last {
		return
	}
	i.size = 0
	switch {
	case i.said == nothing && (r.Code != 220 || !i.esmtp):
		s.introductionFailed(errNoESMTP)
	case i.said == nothing:
		i.said = ehloSaid
		s.write(Server, []byte("EHLO "+s.Config.ProxyName+"\r\n"))
	case i.said == ehloSaid && (r.Code != 250 || !i.offered):
		s.introductionFailed(errNoXclient)
	case i.said == ehloSaid:
		i.said = xclientSaid
		s.write(Server, append(AppendXclient(nil, i.attributes, s.Facts), "\r\n"...))
	case r.Code != 220:
		s.noted = true // it may be this client alone
		s.introductionFailed(errXclient)
	case more:
		s.introductionFailed(errUnsolicited)
	default:
		s.introducing, s.greeted, s.answers = false, true, toCommands
		s.noteServer("")
		s.touch()
		s.write(Client, i.greeting)
		s.intro = nil
	}
}

// introductionFailed has the client hear that there is no server for it.
func (s *shared) introductionFailed(err error) {
	s.info("XCLIENT:FAILED", "dst", s.Target, "error", err)
	s.noteServer(err.Error())
	s.introducing = false
	s.failure = s.text(imsg.MsgFixedXclientFail)
}

// AppendXclient appends the command, without CRLF, with those attributes of a client
// that has not spoken yet that the server wants to be told.
func AppendXclient(b []byte, attributes []string, f *Facts) []byte {
	b = appendAddr(append(b, "XCLIENT ADDR="...), f.Client.Addr())
	b = append(b, " NAME=[UNAVAILABLE]"...)
	if slices.Contains(attributes, "PORT") {
		b = strconv.AppendUint(append(b, " PORT="...), uint64(f.Client.Port()), 10)
	}
	if slices.Contains(attributes, "DESTADDR") {
		b = appendAddr(append(b, " DESTADDR="...), f.Local.Addr())
	}
	if slices.Contains(attributes, "DESTPORT") {
		b = strconv.AppendUint(append(b, " DESTPORT="...), uint64(f.Local.Port()), 10)
	}
	if slices.Contains(attributes, "LOGIN") {
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
