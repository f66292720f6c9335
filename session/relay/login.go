package relay

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns whom the server takes the client for: who it says it is counts for
// nothing before the server has agreed.

// beginExchange follows an AUTH exchange from its command on.
func (c *client) beginExchange() (done bool) {
	x := smtp.BeginExchange(c.command.Arg)
	if x.Unreadable() && c.Config.ByLogin {
		c.info("AUTH:UNREADABLE", "src", c.Client.Addr(), "ident", c.Ident)
		c.reply(imsg.RuleProtocol, smtp.CodeArgument, c.text(imsg.MsgProtoError))
		return true
	}
	c.exchange = &x
	return true
}

// readResponse reads a response of the client's. It is false for one that must not go on:
// RFC 4954, 4, wants what is no base64 refused, and a server that reads it all the same, or
// what its mechanism does not have, would know a login that we do not.
func (c *client) readResponse(line []byte) bool {
	if c.exchange == nil {
		return true
	}
	c.exchange.Respond(line)
	if !c.exchange.Unreadable() || !c.Config.ByLogin {
		return true
	}
	c.info("AUTH:UNREADABLE", "src", c.Client.Addr(), "ident", c.Ident)
	return false
}

// claimed is whom the client says it is, as imsg.Login writes it.
func (s *shared) claimed() string {
	if s.exchange == nil {
		return ""
	}
	return imsg.Login(s.exchange.Login())
}

// loggedIn is that the server has taken the client for a login, and lockd has said what of
// it.
func (s *server) loggedIn(login string, q *Question) {
	s.Login, s.barred = login, nil
	a, err := answerTo[imsg.LoginResult](q)
	if err != nil {
		s.fault("login not judged", "login", login, "error", err)
		if s.Config.ByLogin {
			s.barred = &refusal{rule: imsg.RuleRoom, code: smtp.CodeUnavailable, text: s.text(imsg.MsgTempUnavail)}
		}
		return
	}
	s.Quotas, s.Exempt = a.Uses, a.Exempt
	locked := refusal{rule: imsg.RuleLocked, detail: imsg.OfLogin + login, code: smtp.CodeRefused, text: s.text(imsg.MsgVirusLocked)}
	tooMany := refusal{rule: imsg.RuleMaxLogin, detail: imsg.OfLogin + login, code: smtp.CodeLogin, text: s.text(imsg.MsgMaxPerLogin)}
	switch {
	case a.Refusal == imsg.RefusedLocked:
		s.barred = &locked
	case a.Refusal == imsg.RefusedLogin:
		s.barred = &tooMany
	}
	for _, r := range []refusal{locked, tooMany} {
		if a.Would.Has(r.rule) {
			s.lookedFor(r, imsg.Event{})
		}
	}
}

// barredCounters count those who are refused so.
var barredCounters = map[imsg.PolicyRule]imsg.Counter{
	imsg.RuleLocked: imsg.CountRejectLock, imsg.RuleMaxLogin: imsg.CountRejectLogin, imsg.RuleRoom: imsg.CountRejectOther,
}

// checkLogin refuses the mail of a login that may not send.
func (c *client) checkLogin() (done bool) {
	if c.barred == nil {
		return true
	}
	c.world.Count(barredCounters[c.barred.rule], 1)
	c.info("LOGIN:REFUSED", "src", c.Client.Addr(), "ident", c.Ident, "login", c.Login, "rule", c.barred.rule)
	c.refusal = *c.barred
	c.refusal.reason = c.refusal.text
	c.do((*client).repliesIn, (*client).dropServer, (*client).takeOver)
	return true
}

// withLogin are attributes of a log line, with a login if there is one.
func withLogin(key, login string, attrs ...any) []any {
	if login != "" {
		attrs = append(attrs, key, login)
	}
	return attrs
}
