package relay

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns a client's quotas: what is asked of lockd before it is let pass, and
// what the client hears when a quota is used up. lockd counts; nothing is counted here.

// quotaTexts are what a client hears when a quota is used up.
var quotaTexts = [imsg.RateCounters]imsg.Text{
	imsg.RateConnections:     imsg.MsgRateReject,
	imsg.RateMessages:        imsg.MsgRatelimitMessages,
	imsg.RateRecipients:      imsg.MsgRatelimitRcptto,
	imsg.RateBytes:           imsg.MsgRatelimitBytes,
	imsg.RateMailFromRejects: imsg.MsgRatelimitMailfromRejects,
	imsg.RateRcptToRejects:   imsg.MsgRatelimitRcpttoRejects,
	imsg.RateAuthRejects:     imsg.MsgRatelimitAuthRejects,
	imsg.RateTLSSessions:     imsg.MsgRatelimitTLS,
	imsg.RateTLSBytes:        imsg.MsgRatelimitTLS,
	imsg.RateTLSServers:      imsg.MsgRatelimitTLS,
}

// denial is what a client hears whose use of a quota is not admitted.
type denial struct {
	rule imsg.PolicyRule
	rate imsg.Rate
	code smtp.Code
	text string
}

// refusal is what becomes of who is denied it.
func (d *denial) refusal() refusal {
	return refusal{rule: d.rule, detail: d.rate.String(), code: d.code, text: d.text}
}

// use is the question for n of a quota.
func (s *shared) use(rate imsg.Rate, n uint64) *imsg.QuotaUse {
	return &imsg.QuotaUse{Number: s.Number, Counter: rate, Amount: n}
}

// denied is what came of such a question; code is that of a refusal. A quota nobody
// can look up is a passing fault: no more mail, but it may be tried again.
func (s *shared) denied(q *Question, rate imsg.Rate, code smtp.Code) *denial {
	a, err := answerTo[imsg.QuotaResult](q)
	switch {
	case err != nil:
		s.fault("use of a quota not judged", "counter", rate, "error", err)
	case a.Refusal == imsg.Admitted:
		return nil
	case a.Refusal == imsg.RefusedRate:
		return &denial{imsg.RuleRate, rate, code, s.text(quotaTexts[rate])}
	}
	return &denial{imsg.RuleRoom, rate, smtp.CodeUnavailable, s.text(imsg.MsgRatelimitError)}
}

// useQuota asks for n of a quota that the client may have.
func (c *client) useQuota(rate imsg.Rate, n uint64, code smtp.Code) (d *denial, done bool) {
	if !c.Quotas.Has(rate) {
		return nil, true
	}
	q := c.ask(imsg.StateQuota, c.use(rate, n), Question{Limit: lockdWait})
	if q == nil {
		return nil, false
	}
	if d = c.denied(q, rate, code); d != nil && c.monitored(d.refusal()) {
		d = nil
	}
	return d, true
}

func (c *client) useRecipient() (done bool) {
	d, done := c.useQuota(imsg.RateRecipients, 1, smtp.CodeQuota)
	if d != nil {
		c.answerRefused(d.refusal())
	}
	return done
}

func (c *client) useMessage() (done bool) {
	if c.chunks == openChunks {
		return true
	}
	d, done := c.useQuota(imsg.RateMessages, 1, smtp.CodeQuota)
	if d != nil {
		c.refuseFor(d.refusal())
	}
	return done
}

func (c *client) useBytes() (done bool) {
	d, done := c.useQuota(imsg.RateBytes, uint64(c.message().size), smtp.CodeQuota)
	if d != nil {
		c.refuseMessage(d.refusal())
	}
	return done
}

// rejectQuota tells which quota a server's reply draws on.
func rejectQuota(k kind, code int) (imsg.Rate, imsg.Found, bool) {
	switch {
	case k == mail && code/100 == 5:
		return imsg.RateMailFromRejects, imsg.FoundRateMailFrom, true
	case k == rcpt && code/100 == 5:
		return imsg.RateRcptToRejects, imsg.FoundRateRcptTo, true
	case k == auth && code != 235 && code != 334 && code != 421:
		return imsg.RateAuthRejects, 0, true
	}
	return 0, 0, false
}
