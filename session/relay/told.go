package relay

import (
	"mime"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
	"github.com/smtp-gated/smtp-gated/session/verdict"
)

// This file owns what the world hears of a session beside its log: what its client was
// refused, and why.

// about is what there is to say of the message under way, or the one that is announced.
func (c *client) about() imsg.Event {
	var e imsg.Event
	if t := c.transaction; t != nil {
		e.Sender = c.toldSender([]byte(t.address))
	}
	if c.command.open && c.command.Verb == smtp.MAIL {
		addr, _ := smtp.Address(c.command.Arg)
		e.Sender = c.toldSender(addr)
	}
	if m := c.message(); m != nil {
		e.Size = m.size
		e.MessageID = truncate(printable(m.header.Value(smtp.FieldMessageID)), imsg.MaxHeader)
	}
	return e
}

// toldSender is what others are told of a sender: as much as the administrator wants kept.
func (f *Facts) toldSender(addr []byte) string {
	how := f.Config.LogMailFrom
	switch f.Config.HistoryAddresses {
	case imsg.AddressesOff:
		return ""
	case imsg.AddressesAsLogged:
		if how&(imsg.LogAccepted|imsg.LogRejected) == 0 {
			return ""
		}
		return truncate(f.loggedAddress(addr, how), imsg.MaxSender)
	}
	return truncate(printable(addr), imsg.MaxSender)
}

// wantedFields are those fields of a message that its events show.
func (c *client) wantedFields() (f smtp.Fields) {
	if c.Config.MessageID {
		f |= smtp.FieldMessageID
	}
	if c.Config.Subject {
		f |= smtp.FieldSubject
	}
	return f
}

// subject is the Subject of the message under way, decoded (RFC 2047), empty if it is not
// wanted. What cannot be decoded stays as it is.
func (c *client) subject() string {
	m := c.message()
	if m == nil {
		return ""
	}
	raw := string(m.header.Value(smtp.FieldSubject))
	text, err := new(mime.WordDecoder).DecodeHeader(raw)
	if err != nil {
		text = raw
	}
	return imsg.Readable(text, imsg.MaxSubject)
}

// tellRefused tells of what the client is refused, as it hears it.
func (c *client) tellRefused(r refusal) {
	if r.rule == imsg.NoRule {
		return
	}
	e := r.event(c.about())
	e.Subject = c.subject()
	e.Kind = refusalKind(r.rule, r.code)
	c.world.Tell(e)
	if e.Subject != "" {
		c.info("message refused", "rule", r.rule, "src", c.Client.Addr(), "ident", c.Ident, "subject", e.Subject)
	}
}

// event is e with what there is to say of the refusal.
func (r *refusal) event(e imsg.Event) imsg.Event {
	e.Rule, e.Detail = r.rule, imsg.Printable(r.detail, 255)
	e.Code, e.Text = r.code.Number(), imsg.Printable(r.text, 512)
	e.Virus, e.Score, e.Scored = imsg.Printable(r.name, maxVirus), r.score, r.rule == imsg.RuleSpam
	return e
}

// tellScan tells what an engine has found, or that it came to no verdict.
func (c *client) tellScan(p *verdict.Point) {
	f := p.Finding
	e := c.about()
	e.Kind, e.Engine = imsg.EventScan, f.Engine.String()
	switch {
	case p.Failed:
		e.Detail = f.Outcome.String()
		e.Text = imsg.Printable(f.Problem, 512)
	case p.Role == imsg.RoleSpam:
		e.Score, e.Scored = f.Score, true
	case p.Caught:
		e.Virus = imsg.Printable(c.virusName(f), maxVirus)
	}
	c.world.Tell(e)
}

var skipCauses = [...]string{verdict.LoggedIn: imsg.UnscannedAuth, verdict.Exempt: imsg.UnscannedExempt, verdict.Size: imsg.UnscannedSize, verdict.Load: imsg.UnscannedLoad}

// tellUnscanned tells that the message passes without the look of who has that role, and
// why.
func (c *client) tellUnscanned(role imsg.Roles, why string) {
	e := c.about()
	e.Kind, e.Engine, e.Detail = imsg.EventUnscanned, role.String(), why
	c.world.Tell(e)
}

// monitored tells whether a refusal is one that policy.monitor only looks for. It is
// counted and told of then, and nothing follows.
func (c *client) monitored(r refusal) bool { return c.lookedFor(r, c.about()) }

// lookedFor is monitored for either half; e is what there is to say of the message.
func (s *shared) lookedFor(r refusal, e imsg.Event) bool {
	if !s.Config.Monitor.Has(r.rule) {
		return false
	}
	s.world.Count(imsg.CountWould(r.rule), 1)
	s.info("WOULD:REFUSE", "rule", r.rule, "detail", r.detail, "src", s.Client.Addr(), "ident", s.Ident)
	e = r.event(e)
	e.Kind, e.Would = imsg.EventWould, refusalKind(r.rule, r.code)
	s.world.Tell(e)
	return true
}

// refusalKind is the kind of event that a refusal is. Early talk and TLS come in place of
// a greeting, as far as the client is concerned.
func refusalKind(rule imsg.PolicyRule, code smtp.Code) imsg.EventKind {
	switch {
	case rule == imsg.RuleEarlyTalk, rule == imsg.RuleTLSHello:
		return imsg.EventRefuse
	case code.Number() < 500:
		return imsg.EventDefer
	}
	return imsg.EventReject
}

// refuseProtocol says that what was said is no SMTP.
func (s *shared) refuseProtocol(code smtp.Code) {
	text := s.text(imsg.MsgProtoError)
	r := refusal{rule: imsg.RuleProtocol, code: code, text: text}
	s.world.Tell(r.event(imsg.Event{Kind: refusalKind(r.rule, code)}))
	s.say(code, text)
}
