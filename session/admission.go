// Admission: everybody who may refuse a connection, in the contract's order, and
// what a refused client hears. This file owns no reason to refuse.

package session

import (
	"strconv"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/session/smtp"
	"github.com/smtp-gated/smtp-gated/session/upstream"
)

// admissionRetry is the pause before a lockd that is just being replaced is asked
// again.
const admissionRetry = 10 * time.Millisecond

// admit asks everybody who may refuse the connection, in the contract's order.
func (s *session) admit() bool {
	w := s.w
	asks := w.cfg.Mode.Asks()
	var problem error
	if !asks {
		s.dst, problem = upstream.Target(w.cfg, s.client.Conn, s.src, s.local)
	}
	a, err := s.askAdmission(&imsg.Enter{Client: s.src, Local: s.local, Target: s.dst})
	if err != nil {
		s.admissionFailed(err)
		return false
	}
	s.number = a.Number
	if a.Refusal == imsg.Admitted {
		w.register(s)
	}
	s.info("ACCEPT:", "from", s.src)
	if a.Refusal != imsg.Admitted {
		s.refuseAdmission(a)
		return false
	}
	if problem != nil {
		s.info("LOOKUP:FAILED", "src", s.src.Addr(), "error", problem)
		s.serveUnreachable(s.lookupErrorText(problem))
		return false
	}
	if asks && !s.locate(&a) {
		return false
	}
	s.quotas = a.Uses
	if w.cfg.DNSBL && w.cfg.AuthSkip&imsg.SkipDNSBL == 0 && s.refuseListed() {
		return false
	}
	s.always("NEW ("+strconv.Itoa(a.Sessions)+"/"+strconv.Itoa(a.Same)+")",
		"on", s.local, "src", s.src, "ident", s.ident, "dst", s.dst, "id", s.id())
	if upstream.Loops(w.cfg, s.src, s.local, s.dst) {
		s.info("loop refused", "src", s.src, "dst", s.dst)
		s.refuseConnection(smtp.CodeRejected, imsg.MsgLoopAvoidance, "")
		return false
	}
	s.newLogged = s.checkTargetQuota()
	return s.newLogged
}

// checkTargetQuota asks whether the client may call one more server.
func (s *session) checkTargetQuota() bool {
	if !s.quotas.Has(imsg.RateTargets) {
		return true
	}
	a, err := link.Ask(&s.w.lockd, &imsg.QuotaUse{Number: s.number, Counter: imsg.RateTargets, Amount: 1}, admissionWait)
	if err != nil {
		s.admissionFailed(err)
		return false
	}
	if a.Refusal != imsg.Admitted {
		s.refuseAdmission(&imsg.Admission{Refusal: a.Refusal})
	}
	return a.Refusal == imsg.Admitted
}

// askAdmission asks lockd for admission; one that is just being replaced is asked
// again.
func (s *session) askAdmission(question imsg.Question[imsg.Admission]) (*imsg.Admission, error) {
	deadline := time.Now().Add(admissionWait)
	for {
		a, err := link.Ask(&s.w.lockd, question, time.Until(deadline))
		if err == nil {
			return a, nil
		}
		if err != imsg.Gone || time.Now().After(deadline) {
			return nil, err
		}
		time.Sleep(admissionRetry)
	}
}

// admissionFailed refuses a client that lockd did not answer for.
func (s *session) admissionFailed(err error) {
	s.w.count(imsg.CountRejectOther, 1)
	s.w.log.Error("no admission", "from", s.src, "error", err)
	s.refuseConnection(smtp.CodeTimeout, imsg.MsgTempUnavail, "")
}

// refuseAdmission tells a client why it was not admitted. What passes by itself is 421,
// after which a sender tries again (RFC 5321 section 3.8); only a lock is 554.
func (s *session) refuseAdmission(a *imsg.Admission) {
	w := s.w
	code := smtp.CodeTimeout
	why, whom := "Rejecting", s.src.String()
	text := imsg.MsgTempUnavail
	counter := imsg.CountRejectOther
	attrs := []any{}
	switch a.Refusal {
	case imsg.RefusedConnections:
		why, text = "Rejecting ("+strconv.Itoa(a.Sessions)+")", imsg.MsgMaxReached
	case imsg.RefusedLoad:
		text = imsg.MsgSystemLoad
		attrs = append(attrs, "load", a.Load)
	case imsg.RefusedHost:
		why, text, counter = "Rejecting (host "+strconv.Itoa(a.Same)+")", imsg.MsgMaxPerHost, imsg.CountRejectHost
	case imsg.RefusedIdent:
		why, text, counter = "Rejecting (ident "+strconv.Itoa(a.Same)+")", imsg.MsgMaxPerIdent, imsg.CountRejectIdent
		whom += " [" + s.ident + "]"
	case imsg.RefusedLocked:
		code, text, counter, why = smtp.CodeRejected, imsg.MsgVirusLocked, imsg.CountRejectLock, ""
	case imsg.RefusedRateError:
		text, counter, why = imsg.MsgRatelimitError, imsg.CountRejectRate, ""
	case imsg.RefusedRate:
		text, counter, why = imsg.MsgRateReject, imsg.CountRejectRate, ""
	case imsg.RefusedTargets:
		text, counter, why = imsg.MsgRatelimitDst, imsg.CountRejectRate, ""
	}
	w.count(counter, 1)
	if why != "" { // of locks and rates lockd logs itself
		s.info(withComma(why+" connection from "+whom, attrs), attrs...)
	}
	s.refuseConnection(code, text, "")
}

// withComma puts the comma between a message and its attributes where the old
// daemon's line has one.
func withComma(message string, attrs []any) string {
	if len(attrs) > 0 {
		return message + ","
	}
	return message
}

// refuseConnection says one line in place of a greeting and closes.
func (s *session) refuseConnection(code smtp.Code, text imsg.Text, detail string) {
	s.admissionDecided()
	s.claim("error")
	line := smtp.AppendReply(nil, code, false, s.w.cfg.ProxyName, s.text(text)+detail)
	s.client.Conn.SetDeadline(time.Now().Add(lingerWait))
	s.client.Write(line)
	s.client.Conn.CloseWrite()
	s.deregister()
	s.linger()
	s.end("error")
}

// linger waits for a refused client to close, if not too many are waited for. One
// who is not waited for may lose our line to a reset, but only if it sends more
// than has come already.
func (s *session) linger() {
	if !s.w.startLingering() {
		s.client.Drain()
		return
	}
	defer s.w.endLingering()
	s.drainInput()
}
