package relay

import (
	"errors"
	"fmt"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns what is said to the server before the client hears a word: who the client
// is, that there be TLS, and, on a connection that takes another's place, what the client
// has said there.

var (
	errNoESMTP   = errors.New("the server does not greet with ESMTP")
	errNoXclient = errors.New("the server does not offer XCLIENT")
	errXclient   = errors.New("the server refuses XCLIENT")
	errLongReply = errors.New("the server's reply has no end")
	errEnded     = errors.New("the server has closed")
	errReplay    = errors.New("the server does not say again what it said")
)

// maxIntroduction bounds each reply of the server before the client hears a word,
// in octets: no server has so much to say, and the greeting is kept.
const maxIntroduction = 64 << 10

// replied is err with the reply that it was.
func replied(err error, r *smtp.Reply) error { return fmt.Errorf("%w: %s", err, printable(r.Line)) }

// introduction is how far the server has been told.
type introduction struct {
	xclient bool   // it is to be told of its client
	tls     bool   // it is to have TLS
	replay  bool   // it takes the place of one that the client knows
	problem string // with replay: why there is no TLS there

	said       said
	size       int      // octets of the reply under way
	esmtp      bool     // it greets with ESMTP
	offered    bool     // it offers XCLIENT
	offersTLS  bool     // and STARTTLS
	attributes []string // that it wants to be told of its client
	greeting   []byte   // that the client hears
}

// said is the last thing we said to the server.
type said uint8

const (
	nothing said = iota
	ehloSaid
	xclientSaid
	tlsSaid
	helloSaid // as the client has said it
)

// introduce decides on a line of an answer to us; more tells that octets follow it. The
// last greeting is what the client hears; after a failure it has heard nothing.
func (s *server) introduce(r *smtp.Reply, more bool) {
	i := s.intro
	if i.size += len(r.Line) + len("\r\n"); i.size > maxIntroduction {
		s.introductionFailed(errLongReply)
		return
	}
	if r.First && (i.said == nothing || i.said == xclientSaid) {
		i.greeting = i.greeting[:0]
	}
	switch i.said {
	case nothing, xclientSaid:
		i.esmtp = i.esmtp || smtp.HasWord(r.Text, "ESMTP")
		i.greeting = append(append(i.greeting, r.Line...), "\r\n"...)
	case ehloSaid:
		i.offersTLS = i.offersTLS || smtp.OffersTLS(r)
		if names, ok := smtp.XclientOffer(*r); ok {
			i.offered = true
			i.attributes = append(i.attributes, names...)
		}
	case helloSaid:
		if r.First {
			s.offering = 0
		}
		var offered smtp.Cap
		_, offered = s.offer.Append(nil, r)
		s.offering |= offered
	}
	if !r.Last {
		return
	}
	i.size = 0
	switch {
	case more && i.said == tlsSaid:
		s.tlsFailed(errInjection)
	case more && i.said != nothing && i.said != ehloSaid:
		s.introductionFailed(errUnsolicited)
	case i.said == nothing && (r.Code != 220 || !i.esmtp && (i.xclient || i.tls)):
		s.introductionFailed(replied(errNoESMTP, r))
	case i.said == nothing:
		s.introduceFurther()
	case i.said == ehloSaid && i.xclient && r.Code != 250:
		s.introductionFailed(replied(errNoXclient, r))
	case i.said == ehloSaid && i.xclient && !i.offered:
		s.introductionFailed(errNoXclient)
	case i.said == ehloSaid && i.xclient:
		i.said, i.xclient = xclientSaid, false
		s.write(Server, append(AppendXclient(nil, i.attributes, s.Facts), "\r\n"...))
	case i.said == ehloSaid && r.Code != 250:
		s.tlsFailed(replied(errNoTLS, r))
	case i.said == ehloSaid && !i.offersTLS:
		s.tlsFailed(errNoTLS)
	case i.said == ehloSaid:
		s.noteOffer("")
		i.said = tlsSaid
		s.write(Server, []byte("STARTTLS\r\n"))
	case i.said == xclientSaid && r.Code != 220:
		s.introductionFailed(replied(errXclient, r))
	case i.said == xclientSaid:
		s.world.Observe(imsg.FindingXclient, s.ServerObject(), "")
		s.introduceFurther()
	case i.said == tlsSaid && r.Code != 220:
		s.tlsFailed(replied(errTLS, r))
	case i.said == tlsSaid:
		s.agreed(nil, more)
	case r.Code != 250:
		s.introductionFailed(replied(errReplay, r))
	default:
		s.recordHelo()
		s.replayed()
	}
}

// introduceFurther goes on behind a greeting.
func (s *server) introduceFurther() {
	if i := s.intro; i.xclient || i.tls {
		i.said = ehloSaid
		s.write(Server, []byte("EHLO "+s.Config.ProxyName+"\r\n"))
		return
	}
	s.introduced()
}

// introduced is that the server knows all it is to know.
func (s *server) introduced() {
	i := s.intro
	if i.replay {
		if len(s.hello) == 0 {
			s.replayed()
			return
		}
		i.said = helloSaid
		s.write(Server, s.hello)
		return
	}
	s.introducing, s.greeted, s.answers, s.intro = false, true, toCommands, nil
	s.replies = smtp.ReplyScanner{}
	s.noteServer("")
	s.touch()
	s.write(Client, i.greeting)
}

// tlsFailed has the client hear that there is no TLS with the server, and without it no
// mail.
func (s *server) tlsFailed(err error) {
	if errors.Is(err, errNoTLS) {
		s.warnUpstreamTLS(err.Error())
		s.noteOffer(err.Error())
	} else {
		s.noteUpstreamTLS(err.Error())
	}
	if s.moveOn() {
		return
	}
	s.introducing = false
	s.failure = &refusal{rule: imsg.RuleServerTLS, detail: err.Error(), text: s.text(imsg.MsgTempUnavail)}
}

// introductionFailed has the client hear that there is no server for it.
func (s *shared) introductionFailed(err error) {
	if s.handshake == replaying {
		s.info("TLS:REPLAY_FAILED", "dst", s.Target, "error", err)
		s.handshake = noHandshake
		s.refuseServer(imsg.RuleServer, err.Error())
		return
	}
	s.info("XCLIENT:FAILED", "dst", s.Target, "error", err)
	rule := imsg.RuleServer
	switch {
	case errors.Is(err, errNoXclient):
		rule = imsg.RuleXclient
		if s.mayMove() {
			s.noteServer(err.Error())
		} else {
			s.noteServer("")
		}
		s.world.Observe(imsg.FindingXclient, s.ServerObject(), err.Error())
	case errors.Is(err, errXclient):
		rule, s.noted = imsg.RuleXclient, true // it may be this client alone
	default:
		s.noteServer(err.Error())
	}
	if s.moveOn() {
		return
	}
	s.introducing = false
	s.failure = &refusal{rule: rule, detail: err.Error(), text: s.text(imsg.MsgFixedXclientFail)}
}
