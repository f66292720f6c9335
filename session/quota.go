// A client's quotas: what is asked of lockd before it is let pass, and what it
// hears when a quota is used up. lockd counts; nothing is counted here.

package session

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// quotaTexts are what a client hears when a quota is used up.
var quotaTexts = [imsg.RateCounters]imsg.Text{
	imsg.RateConnections:     imsg.MsgRateReject,
	imsg.RateMessages:        imsg.MsgRatelimitMessages,
	imsg.RateRecipients:      imsg.MsgRatelimitRcptto,
	imsg.RateBytes:           imsg.MsgRatelimitBytes,
	imsg.RateMailFromRejects: imsg.MsgRatelimitMailfromRejects,
	imsg.RateRcptToRejects:   imsg.MsgRatelimitRcpttoRejects,
	imsg.RateAuthRejects:     imsg.MsgRatelimitAuthRejects,
}

// denial is what a client hears whose use of a quota is not admitted.
type denial struct {
	code smtp.Code
	text string
}

// useQuota asks for n of a quota; code is that of a refusal. A quota nobody can
// look up is a passing fault: no more mail, but it may be tried again. out is
// what was collected for the server; the server's own goroutine has none.
func (s *session) useQuota(out *[]byte, c imsg.Rate, n uint64, code smtp.Code) *denial {
	if !s.quotas.Has(c) {
		return nil
	}
	if out != nil && !s.flush(out) {
		return nil // the relay is over
	}
	a, err := link.Ask(&s.w.lockd, &imsg.QuotaUse{Number: s.number, Counter: c, Amount: n}, admissionWait)
	if err != nil {
		s.log().Error("use of a quota not judged", "counter", c, "error", err)
		return &denial{smtp.CodeUnavailable, s.text(imsg.MsgRatelimitError)}
	}
	switch a.Refusal {
	case imsg.Admitted:
		return nil
	case imsg.RefusedRate:
		return &denial{code, s.text(quotaTexts[c])}
	}
	return &denial{smtp.CodeUnavailable, s.text(imsg.MsgRatelimitError)}
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
