package relay

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/clienthello"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns TLS between client and server that is not ours: who may have it, and
// what is known, told and counted of what nobody reads.

// Why a session is passed on, as the log has it.
const (
	causeSTARTTLS = "starttls"
	causeTLS      = "tls" // the client has begun with it
	causeAuth     = "auth"
)

// noteMasked notes, once, that the client does not see that the server offers STARTTLS.
func (s *server) noteMasked() {
	if s.offering&smtp.CapStartTLS != 0 && s.policy == imsg.TLSMask && !s.tlsMasked {
		s.tlsMasked = true
		s.world.Count(imsg.CountTLSMasked, 1)
		s.logTLS("masked")
	}
}

// logTLS logs what becomes of TLS in a session.
func (s *shared) logTLS(what string, more ...any) {
	s.info("TLS:SESSION", append([]any{"tls", what, "src", s.Client.Addr(), "ident", s.Ident}, more...)...)
}

// passedRates are the quotas that a session draws on before it is passed on in TLS.
var passedRates = [...]imsg.Rate{imsg.RateTLSBytes, imsg.RateTLSServers, imsg.RateTLSSessions}

// useTLS asks for what a session takes that goes on in TLS. Without it STARTTLS is not
// available for now (RFC 3207, 4), and the session may go on in clear.
func (c *client) useTLS() (done bool) {
	if c.terminates() {
		return true
	}
	for c.tlsUses < len(passedRates) {
		d, done := c.useQuota(passedRates[c.tlsUses], 1, smtp.CodeNoTLS)
		if !done {
			return false
		}
		c.tlsUses++
		if d != nil {
			c.tlsUses = 0
			c.denyTLS(d.refusal())
			return true
		}
	}
	c.tlsUses = 0
	return true
}

// denyTLS refuses STARTTLS, or ends a client that has begun with TLS.
func (c *client) denyTLS(r refusal) {
	if c.command.open {
		c.answerRefused(r)
		return
	}
	r.by, r.code = "error", smtp.CodeTimeout
	c.refusal = r
	c.do((*client).owedReplies, (*client).closeRefused)
}

// meetTLS decides on a client that begins with TLS.
func (c *client) meetTLS() {
	if c.awaitsTLS() {
		c.do((*client).useTLS, (*client).passTLS)
		return
	}
	c.refuseTLS()
}

// awaitsTLS tells whether the server waits for a client that begins with TLS, and the
// two are let alone.
func (c *client) awaitsTLS() bool {
	return c.policy == imsg.TLSPass && !c.greeted && !c.world.Unread(Server) && c.Config.TLS.BeginsWithTLS(c.Client.Addr(), c.Target)
}

// refuseTLS ends a client that speaks TLS at once: a setting of a user's program,
// and no event.
func (c *client) refuseTLS() {
	c.info("TLS:REFUSED", "src", c.Client.Addr(), "ident", c.Ident)
	c.refusal = refusal{rule: imsg.RuleTLSHello, by: "error", code: smtp.CodeRejected, text: c.text(imsg.MsgTLSHello)}
	c.do((*client).owedReplies, (*client).closeRefused)
}

// passTLS has a client's TLS passed on that it begins with.
func (c *client) passTLS() (done bool) {
	if !c.awaitsTLS() { // it has greeted meanwhile
		c.refuseTLS()
		return true
	}
	c.answers = toHello
	c.goDirect(causeTLS)
	return true
}

// goDirect makes the session a direct proxy.
func (s *shared) goDirect(cause string) {
	s.state = imsg.StateDirect
	s.world.Count(imsg.CountDirect, 1)
	s.info("DIRECT:GOING", "cause", cause)
	if cause == causeAuth {
		s.reading = direct
		s.world.Tell(imsg.Event{Kind: imsg.EventUnscanned, Detail: imsg.UnscannedAuth})
		s.unscanned(imsg.UnscannedAuth, "a session goes on unseen")
	} else {
		s.reading = hello
		s.world.Count(imsg.CountTLSPassed, 1)
		s.unscanned(imsg.UnscannedTLS, "a session goes on unseen")
		// One octet was asked for already.
		s.passed = s.world.Octets() + 1
	}
	if s.ending {
		s.finish("admin")
	}
}

// passing tells whether the session is a direct proxy.
func (s *shared) passing() bool { return s.reading == hello || s.reading == direct }

// readHello passes on what a client begins TLS with, as it is and as far as it is there,
// and tells which server it means. That name is the client's alone: nobody has checked
// it.
func (c *client) readHello(in []byte) (n int) {
	name := clienthello.ServerName(in)
	c.logTLS("passed", "server_name", name)
	c.world.Tell(imsg.Event{Kind: imsg.EventUnscanned, Detail: imsg.UnscannedTLS, ServerName: name})
	c.Trace.octets(fromClient, len(in))
	c.writeOctets(Server, in)
	c.reading = direct
	return len(in)
}

// answerHello looks at how a server answers a client that began with TLS. What speaks
// plain SMTP where no TLS was agreed on could be made to read commands between the
// octets of TLS: the session ends, as it would have if it had greeted in time.
func (s *server) answerHello(in []byte) (n int) {
	const alert, handshake = 21, 22 // RFC 8446, 5.1
	if in[0] == alert || in[0] == handshake {
		s.noteServer("")
		s.answers, s.queue = toCommands, queue{}
		s.Trace.octets(fromServer, len(in))
		s.writeOctets(Client, in)
		return len(in)
	}
	s.Trace.nonsense(len(in))
	s.noted = true
	if s.claim("error") {
		r := refusal{rule: imsg.RuleTLSHello, code: smtp.CodeRejected, text: s.text(imsg.MsgTLSHello)}
		s.world.Tell(r.event(imsg.Event{Kind: refusalKind(r.rule, r.code)}))
		s.say(r.code, r.text)
		s.finish("error")
	}
	return len(in)
}

// uncounted is how many octets of a session that is passed on in TLS nobody has counted.
func (s *shared) uncounted() uint64 {
	if s.passed == 0 || !s.Quotas.Has(imsg.RateTLSBytes) {
		return 0
	}
	return max(s.world.Octets(), s.passed) - s.passed
}

// countPassed has octets counted that were passed on, one question at a time.
func (s *server) countPassed() {
	n := s.uncounted()
	if n == 0 || s.question != nil || s.over() {
		return
	}
	s.passed += n
	s.question = &Question{Message: s.use(imsg.RateTLSBytes, n), Limit: lockdWait}
	s.world.Ask(s.question)
}

// passedCounted ends a session whose client has used up its quota of octets. If nobody
// can tell, it goes on.
func (s *server) passedCounted(q *Question) {
	d := s.denied(q, imsg.RateTLSBytes, smtp.CodeNoTLS)
	if d == nil || d.rule != imsg.RuleRate || s.over() {
		return
	}
	r := d.refusal()
	if s.lookedFor(r, imsg.Event{}) {
		s.passed = 0 // and is not looked for again
		return
	}
	s.world.Tell(imsg.Event{Kind: imsg.EventDefer, Rule: r.rule, Detail: r.detail, Text: imsg.Printable(r.text, 512)})
	s.end("error")
}
