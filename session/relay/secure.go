package relay

import (
	"errors"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns TLS that ends here: whose handshake comes when, and what is forgotten
// behind it (RFC 3207, 4.2). The server's comes before the client hears 220, for only
// before that there is a reply that says no.

// handshake is what is under way of TLS. Nobody is read meanwhile, but a server that is
// made to know its client again.
type handshake uint8

const (
	noHandshake handshake = iota
	withServer
	redialing // the server did not stand the test: a connection in clear takes its place
	replaying // on which is said what was said before
	readyTold // the client hears that it may begin
	withClient
	moving // the server did not stand the test: another one is called, and this relay is at its end
)

// Errand is what a driver does to a connection as a whole, while nobody reads or writes
// there.
type Errand uint8

// The errands.
const (
	NoErrand     Errand = iota
	SecureClient        // all further octets go through TLS; what comes of the handshake comes by Secured
	SecureServer
	CallServer  // a new connection to the server takes the place of the one there is; what comes of it comes by Redialed
	CallAnother // another server is called, and a new relay takes the place of this one
)

// Errand returns what is to be done, once, when nothing is being written there any more:
// the other side may have answered before its driver knows that all was written.
func (r *Relay) Errand() Errand {
	e, side := r.shared.errand, Server
	if e == SecureClient {
		side = Client
	}
	if r.shared.pending(side) > 0 {
		return NoErrand
	}
	r.shared.errand = NoErrand
	return e
}

// What makes TLS impossible.
var (
	errNoTLS     = errors.New("the server does not offer STARTTLS")
	errTLS       = errors.New("the server refuses STARTTLS")
	errInjection = errors.New("octets in clear behind the reply to STARTTLS")
)

// terminates tells whether TLS ends here.
func (s *shared) terminates() bool { return s.policy == imsg.TLSTerminate }

// ownTLS tells whether the client's STARTTLS is ours to answer: what the server has is
// decided apart from it.
func (s *shared) ownTLS() bool { return s.terminates() && s.Config.TLS.Upstream != imsg.TLSLockstep }

// needsServer tells whether the server must have TLS before the client hears a word.
func (s *shared) needsServer() bool {
	switch {
	case !s.terminates(), s.secured[Server]:
		return false
	case s.Config.TLS.Upstream == imsg.TLSAlways:
		return true
	}
	return s.Config.TLS.Upstream == imsg.TLSLockstep && s.secured[Client]
}

// offerTLS has the client see what it is to see of STARTTLS and AUTH.
func (s *shared) offerTLS() {
	masked := s.policy == imsg.TLSMask || s.secured[Client]
	s.offer.NoStartTLS = masked
	s.offer.StartTLS = s.ownTLS() && !masked
	s.offer.NoAuth = s.secured[Server] && !s.secured[Client]
	s.offer.NoBinding = s.terminates()
}

// checkTLS refuses STARTTLS where it is not offered, and whatever comes in clear behind
// it: that could only be taken for something said under TLS (RFC 3207, 4.2;
// CVE-2011-0411).
func (c *client) checkTLS() (done bool) {
	switch {
	case c.policy == imsg.TLSMask:
		c.refuseMasked("STARTTLS", smtp.CodeNoTLS)
	case c.secured[Client]: // RFC 3207, 4.2: it is not offered again
		c.reply(imsg.RuleProtocol, smtp.CodeSequence, c.text(imsg.MsgProtoError))
	case c.command.behind || c.world.Unread(Client):
		c.refuseAndClose(imsg.RuleProtocol, smtp.CodeRejected, c.text(imsg.MsgProtoError))
	case c.ownTLS() && len(c.command.Arg) > 0:
		c.reply(imsg.RuleProtocol, smtp.CodeArgument, c.text(imsg.MsgProtoError))
	case c.ownTLS() && c.authenticated(), c.terminates() && c.Login != "": // which the server, or lockd, would not forget
		c.reply(imsg.RuleProtocol, smtp.CodeSequence, c.text(imsg.MsgProtoError))
	default:
		c.info("STARTTLS:REQUEST")
		if c.ownTLS() {
			c.do((*client).repliesIn, (*client).resetForTLS, (*client).repliesIn, (*client).answerTLS)
		}
	}
	return true
}

// checkAuth refuses a password in clear that the server would take for one under TLS.
func (c *client) checkAuth() (done bool) {
	if c.offer.NoAuth {
		c.refuseMasked("AUTH", smtp.CodeEncryption)
	}
	return true
}

// resetForTLS has the server forget the transaction.
func (c *client) resetForTLS() (done bool) {
	if c.transaction != nil {
		c.queue.push(entry{kind: ownReset})
		c.write(Server, []byte("RSET\r\n"))
	}
	return true
}

// answerTLS says that the client may begin.
func (c *client) answerTLS() (done bool) {
	c.command.open = false
	c.invite(c.ownLine(smtp.CodeGreeting, false, "ready for TLS"))
	return true
}

// invite has the client hear that it may begin its handshake, which comes when it has.
func (s *shared) invite(line []byte) {
	if s.world.Unread(Client) {
		if s.claim("error") {
			s.refuseProtocol(smtp.CodeRejected)
			s.finish("error")
		}
		return
	}
	s.write(Client, line)
	s.handshake = readyTold
}

// agreed is the server's 220 to STARTTLS; more tells that octets follow it.
func (s *server) agreed(line []byte, more bool) {
	if more || s.world.Unread(Server) {
		s.nonsense(errInjection)
		return
	}
	s.agreement = append(slices.Clone(line), "\r\n"...)
	s.handshake, s.errand = withServer, SecureServer
}

// Secured says that the handshake with a side has succeeded, or why it has not: problem is
// empty if it has.
func (r *Relay) Secured(side Side, problem string) {
	s := &r.shared
	if s.ended || s.taken {
		s.handshake = noHandshake
		return
	}
	s.touch()
	s.Trace.secured(side, problem)
	switch {
	case side == Client && problem != "":
		s.handshake = noHandshake
		s.info("TLS:FAILED", "src", s.Client.Addr(), "ident", s.Ident, "error", problem)
		s.end("client") // nothing can be said
	case side == Client:
		r.server.logEnvelope()
		r.client.begunTLS()
	default:
		r.server.begunTLS(problem)
	}
	r.client.run(nil)
}

// begunTLS forgets what was said in clear.
func (c *client) begunTLS() {
	c.handshake, c.secured[Client] = noHandshake, true
	c.endTransaction()
	c.exchange = nil
	c.auth, c.offered, c.helo, c.authing, c.chunks = 0, 0, "", false, noChunks
	c.state = imsg.StatePre
	c.world.Count(imsg.CountTLSTerminated, 1)
	c.offerTLS()
}

// begunTLS goes on when the server's handshake is over.
func (s *server) begunTLS(problem string) {
	introducing := s.answers == toUs
	if problem == "" || !introducing {
		s.noteUpstreamTLS(problem)
	}
	switch {
	case problem == "" && introducing:
		s.handshake, s.secured[Server] = noHandshake, true
		s.offerTLS()
		s.introduced()
	case problem == "":
		s.secured[Server] = true
		s.logEnvelope()
		s.replies = smtp.ReplyScanner{}
		s.invite(s.agreement)
		s.agreement = nil
	case introducing:
		s.handshake = noHandshake
		s.tlsFailed(errors.New(problem))
	case s.authenticated() || s.transaction != nil: // it could not go on as if nothing were
		s.handshake = noHandshake
		s.refuseServer(imsg.RuleServerTLS, problem)
	default:
		s.handshake, s.errand, s.agreement = redialing, CallServer, nil
		s.intro = &introduction{replay: true, problem: problem, xclient: s.Config.Mode == imsg.ModeFixedXclient}
	}
}

// refuseServer ends a session whose server does not go on as it began.
func (s *shared) refuseServer(rule imsg.PolicyRule, detail string) {
	if s.claim("server") {
		s.world.Tell((&refusal{rule: rule, detail: detail, code: smtp.CodeShutdown, text: s.text(imsg.MsgTempUnavail)}).event(imsg.Event{Kind: imsg.EventDefer}))
		s.say(smtp.CodeShutdown, s.text(imsg.MsgTempUnavail))
		s.finish("server")
	}
}

// Redialed says that the server is connected to anew, or why it is not: problem is empty
// if it is.
func (r *Relay) Redialed(problem string) {
	s := &r.server
	if s.ended || s.taken {
		s.handshake = noHandshake
		return
	}
	s.touch()
	if problem != "" {
		s.handshake = noHandshake
		s.refuseServer(imsg.RuleServer, problem)
	} else {
		s.handshake, s.answers = replaying, toUs
		s.replies = smtp.ReplyScanner{}
	}
	r.client.run(nil)
}

// replayed is that a fresh server knows what the one before knew: the client hears that
// there is no TLS, and goes on with it.
func (s *server) replayed() {
	problem := s.intro.problem
	s.handshake, s.answers, s.intro = noHandshake, toCommands, nil
	s.endTransaction()
	s.world.Tell((&refusal{rule: imsg.RuleServerTLS, detail: problem, code: smtp.CodeNoTLS, text: s.text(imsg.MsgTempUnavail)}).event(imsg.Event{Kind: imsg.EventDefer}))
	s.say(smtp.CodeNoTLS, s.text(imsg.MsgTempUnavail))
}

// noteUpstreamTLS notes how TLS with the server did.
func (s *shared) noteUpstreamTLS(problem string) {
	s.warnUpstreamTLS(problem)
	s.world.Observe(imsg.FindingUpstreamTLS, s.ServerObject(), problem)
}

// warnUpstreamTLS logs why TLS with the server failed, unless problem is empty.
func (s *shared) warnUpstreamTLS(problem string) {
	if problem != "" {
		s.warn("TLS:UPSTREAM_FAILED", "dst", s.Target, "error", problem)
	}
}

// noteOffer notes why the server does not offer STARTTLS, empty if it does: without that
// no client is offered it, and one that has TLS has no server.
func (s *shared) noteOffer(problem string) {
	s.world.Observe(imsg.FindingUpstreamTLS, s.ServerObject()+" "+imsg.ObjectSTARTTLS, problem)
}

// noteDemand notes whether the server takes mail in clear, where it hears nothing else. A
// 530 is for want of a log-in, too (RFC 4954, 6), so its text has to name STARTTLS, as RFC
// 3207, 4, has it.
func (s *server) noteDemand(k kind, r *smtp.Reply) {
	if !s.terminates() || s.Config.TLS.Upstream != imsg.TLSNever || s.secured[Server] {
		return
	}
	problem := ""
	switch {
	case r.Code == 530 && smtp.HasWord(r.Text, "STARTTLS"), k == auth && r.Code == 538:
		problem = "the server demands TLS, and we have none with it: " + printable(r.Line)
	case k != mail || r.Code/100 != 2:
		return
	}
	s.world.Observe(imsg.FindingUpstreamTLS, s.ServerObject()+" "+imsg.ObjectClear, problem)
}
