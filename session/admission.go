// Admission: everybody who may refuse a connection, in the contract's order, and
// what a refused client hears. This file owns no reason to refuse.

package session

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
	"github.com/smtp-gated/smtp-gated/session/relay"
	"github.com/smtp-gated/smtp-gated/session/smtp"
	"github.com/smtp-gated/smtp-gated/session/upstream"
)

// admissionRetry is the pause before a lockd that is just being replaced is asked
// again.
const admissionRetry = 10 * time.Millisecond

// enter asks lockd whether the client may come in. It waits for nothing.
func (s *session) enter() {
	w := s.w
	var problem error
	switch {
	case w.cfg.Mode.Fixed():
		s.choose()
	case !w.cfg.Mode.Asks():
		problem = s.client.With(func(fd int) (err error) {
			s.facts.Target, err = upstream.Target(w.cfg, fd, s.facts.Client, s.facts.Local)
			return err
		})
	}
	question := &imsg.Enter{Client: s.facts.Client, Local: s.facts.Local, Target: s.facts.Target, Check: s.facts.Check}
	again := func() {
		a, err := s.askAdmission(question, s.entered)
		s.admit(a, err, problem)
	}
	s.refs.Add(1)
	w.tellLeaves()
	asked := link.AskThen(context.Background(), &w.lockd, question, admissionWait, func(_ *loop.Turn, a *imsg.Admission, err error) {
		defer s.unref()
		if err == nil {
			s.entered(a)
		}
		switch {
		case err == imsg.Gone: // another one will take its place
			s.aside(again)
		case err == nil && s.waits(a):
			s.aside(func() { s.admit(a, nil, problem) })
		default:
			s.admit(a, err, problem)
		}
	})
	if !asked {
		s.aside(again)
		s.unref()
	}
}

// entered puts the session on the list of those that lockd knows.
func (s *session) entered(a *imsg.Admission) {
	s.facts.Number = a.Number
	if a.Refusal == imsg.Admitted {
		s.w.register(s)
		s.traced(a)
	}
}

// waits tells whether more must be asked of others, or waited for, before there is a
// session.
func (s *session) waits(a *imsg.Admission) bool {
	cfg := s.w.cfg
	return s.tls || cfg.Mode.Asks() || cfg.DNSBL || a.Uses.Has(imsg.RateTargets) || upstream.Waits(cfg, s.facts.Client.Addr())
}

// admit goes on with lockd's answer, or without one: everybody else is asked who may refuse
// the connection, in the contract's order, and the server is reached.
func (s *session) admit(a *imsg.Admission, err, problem error) {
	if err != nil {
		s.admissionFailed(err)
		return
	}
	if !s.admitted(a, problem) {
		return
	}
	if !s.admissionDecided() {
		s.refuseLate()
		return
	}
	if s.tls && !s.secureFirst() {
		return
	}
	s.connect()
}

// admitted asks everybody else who may refuse the connection.
func (s *session) admitted(a *imsg.Admission, problem error) bool {
	w := s.w
	s.logAccept()
	s.tellWould(a)
	if a.Refusal != imsg.Admitted {
		s.refuseAdmission(a)
		return false
	}
	if problem != nil {
		s.info("LOOKUP:FAILED", "src", s.facts.Client.Addr(), "error", problem)
		s.serveUnreachable(imsg.RuleLookup, "", s.lookupErrorText(problem))
		return false
	}
	if w.cfg.Mode.Asks() {
		if !s.locate(&a) {
			return false
		}
		s.tellWould(a)
	}
	s.facts.Quotas, s.facts.Exempt = a.Uses, a.Exempt
	if w.cfg.DNSBL && !a.Exempt.Has(imsg.ExemptDNSBL) && w.cfg.AuthSkip&imsg.SkipDNSBL == 0 && s.refuseListed() {
		return false
	}
	if s.facts.Check {
		return !s.loops()
	}
	s.Always("NEW ("+strconv.Itoa(a.Sessions)+"/"+strconv.Itoa(a.Same)+")",
		"on", s.facts.Local, "src", s.facts.Client, "ident", s.facts.Ident, "dst", s.facts.Target, "id", s.facts.ID())
	if s.loops() {
		return false
	}
	s.newLogged = s.checkTargetQuota()
	return s.newLogged
}

// loops refuses a session that would come back to us.
func (s *session) loops() bool {
	w := s.w
	if upstream.Loops(w.cfg, s.facts.Client, s.facts.Local, s.facts.Target) {
		s.info("loop refused", "src", s.facts.Client, "dst", s.facts.Target)
		if upstream.Returns(w.cfg, s.facts.Client) {
			s.Observe(imsg.FindingLoop, "", "from "+s.facts.Client.String()+" to "+s.facts.Target.String())
		}
		s.refuseConnection(refused{rule: imsg.RuleLoop, code: smtp.CodeRejected, text: imsg.MsgLoopAvoidance})
		return true
	}
	s.Observe(imsg.FindingLoop, "", "")
	return false
}

// logAccept says who has come.
func (s *session) logAccept() {
	switch {
	case s.facts.Check:
		s.Log(slog.LevelDebug, "ACCEPT:", "from", s.facts.Client, "check", "yes")
	case s.facts.Via.IsValid():
		s.info("ACCEPT:", "from", s.facts.Client, "via", s.facts.Via, "to", s.proxied)
	default:
		s.info("ACCEPT:", "from", s.facts.Client)
	}
}

// checkTargetQuota asks whether the client may call one more server.
func (s *session) checkTargetQuota() bool {
	if !s.facts.Quotas.Has(imsg.RateTargets) {
		return true
	}
	a, err := link.Ask(&s.w.lockd, &imsg.QuotaUse{Number: s.facts.Number, Counter: imsg.RateTargets, Amount: 1}, admissionWait)
	if err != nil {
		s.admissionFailed(err)
		return false
	}
	if a.Refusal == imsg.RefusedTargets && s.monitored(imsg.RuleRate, "targets", smtp.CodeTimeout) || a.Refusal == imsg.Admitted {
		return true
	}
	s.refuseAdmission(&imsg.Admission{Refusal: a.Refusal})
	return false
}

// tellWould tells of the rules that lockd only looks for.
func (s *session) tellWould(a *imsg.Admission) {
	for r := range imsg.PolicyRules {
		if a.Would.Has(r) {
			code, what := smtp.CodeTimeout, ""
			switch r {
			case imsg.RuleLocked:
				code = smtp.CodeRejected
			case imsg.RuleRate:
				what = imsg.RateConnections.String()
			}
			s.monitored(r, what, code)
		}
	}
}

// monitored tells whether a rule is one that policy.monitor only looks for. It is counted
// and told of then, and nothing follows.
func (s *session) monitored(rule imsg.PolicyRule, what string, code smtp.Code) bool {
	if !s.w.cfg.Monitor.Has(rule) {
		return false
	}
	s.w.count(imsg.CountWould(rule), 1)
	s.info("WOULD:REFUSE", "rule", rule, "detail", what, "src", s.facts.Client.Addr(), "ident", s.facts.Ident)
	s.Tell(imsg.Event{Kind: imsg.EventWould, Would: imsg.EventRefuse, Rule: rule, Detail: imsg.Printable(what, 255), Code: code.Number()})
	return true
}

// askAdmission asks lockd for admission; one that is just being replaced is asked
// again. What follows for the list of those that lockd knows is done before another
// lockd hears of that list.
func (s *session) askAdmission(question imsg.Question[imsg.Admission], follow func(*imsg.Admission)) (*imsg.Admission, error) {
	deadline := time.Now().Add(admissionWait)
	for {
		a, err := s.askAdmissionOnce(question, time.Until(deadline), follow)
		if err == nil {
			return a, nil
		}
		if err != imsg.Gone || time.Now().After(deadline) {
			return nil, err
		}
		time.Sleep(admissionRetry)
	}
}

func (s *session) askAdmissionOnce(question imsg.Question[imsg.Admission], wait time.Duration, follow func(*imsg.Admission)) (*imsg.Admission, error) {
	start := time.Now()
	s.w.tellLeaves()
	lockd := s.w.lockd.Hold(wait)
	if lockd == nil {
		return nil, imsg.Gone
	}
	defer lockd.Release()
	a, err := link.Ask(lockd, question, wait-time.Since(start))
	if err == nil {
		follow(a)
	}
	return a, err
}

// admissionFailed refuses a client that lockd did not answer for.
func (s *session) admissionFailed(err error) {
	s.w.count(imsg.CountRejectOther, 1)
	s.name()
	s.w.log.Error("no admission", "from", s.facts.Client, "id", s.facts.ID(), "error", err)
	s.refuseConnection(refused{rule: imsg.RuleRoom, code: smtp.CodeTimeout, text: imsg.MsgTempUnavail})
}

// refuseAdmission tells a client why it was not admitted. What passes by itself is 421,
// after which a sender tries again (RFC 5321 section 3.8); only a lock is 554.
func (s *session) refuseAdmission(a *imsg.Admission) {
	w := s.w
	r := refused{rule: imsg.RuleRoom, code: smtp.CodeTimeout, text: imsg.MsgTempUnavail}
	why, whom := "Rejecting", s.facts.Client.String()
	counter := imsg.CountRejectOther
	attrs := []any{}
	switch a.Refusal {
	case imsg.RefusedConnections:
		why, r.rule, r.text = "Rejecting ("+strconv.Itoa(a.Sessions)+")", imsg.RuleConnections, imsg.MsgMaxReached
	case imsg.RefusedLoad:
		r.rule, r.text = imsg.RuleLoad, imsg.MsgSystemLoad
		attrs = append(attrs, "load", a.Load)
	case imsg.RefusedHost:
		why, counter = "Rejecting (host "+strconv.Itoa(a.Same)+")", imsg.CountRejectHost
		r.rule, r.text = imsg.RuleMaxHost, imsg.MsgMaxPerHost
	case imsg.RefusedIdent:
		why, counter = "Rejecting (ident "+strconv.Itoa(a.Same)+")", imsg.CountRejectIdent
		r.rule, r.text = imsg.RuleMaxIdent, imsg.MsgMaxPerIdent
		whom += " [" + s.facts.Ident + "]"
	case imsg.RefusedLocked:
		why, counter = "", imsg.CountRejectLock
		r = refused{rule: imsg.RuleLocked, code: smtp.CodeRejected, text: imsg.MsgVirusLocked}
	case imsg.RefusedRateError:
		why, counter, r.text = "", imsg.CountRejectRate, imsg.MsgRatelimitError
	case imsg.RefusedRate:
		why, counter = "", imsg.CountRejectRate
		r.rule, r.what, r.text = imsg.RuleRate, imsg.RateConnections.String(), imsg.MsgRateReject
	case imsg.RefusedTargets:
		why, counter = "", imsg.CountRejectRate
		r.rule, r.what, r.text = imsg.RuleRate, "targets", imsg.MsgRatelimitDst
	}
	w.count(counter, 1)
	if why != "" { // of locks and rates lockd logs itself
		s.info(withComma(why+" connection from "+whom, attrs), attrs...)
	}
	s.refuseConnection(r)
}

// withComma puts the comma between a message and its attributes where the old
// daemon's line has one.
func withComma(message string, attrs []any) string {
	if len(attrs) > 0 {
		return message + ","
	}
	return message
}

// refused is what a client hears in place of a greeting, and why.
type refused struct {
	rule   imsg.PolicyRule
	what   string // of the rule, for who runs the gateway
	code   smtp.Code
	text   imsg.Text
	detail string // that the text goes on with
}

// refuseConnection says one line in place of a greeting and closes. It waits for nothing. A
// client that begins with TLS hears it under TLS, if not too many are waited for.
func (s *session) refuseConnection(r refused) {
	s.admissionDecided()
	s.closeBy("error")
	s.name()
	id, text := "", s.text(r.text)+r.detail
	if s.w.cfg.ReplyID {
		id = s.facts.ID()
	}
	s.Tell(imsg.Event{
		Kind: imsg.EventRefuse, Rule: r.rule, Detail: imsg.Printable(r.what, 255), Code: r.code.Number(), Text: imsg.Printable(text, 512),
	})
	line := smtp.AppendReply(nil, r.code, false, s.w.cfg.ProxyName, text, id)
	s.facts.Trace.Refused(line)
	secures := s.tls && !s.facts.Secured[relay.Client]
	if !secures {
		s.sayLast(line)
	}
	s.deregister()
	if !s.w.startLingering() {
		s.client.Drain()
		s.end("error")
		return
	}
	s.aside(func() {
		if secures && s.beginTLS(openingWait) {
			s.sayLast(line)
		}
		s.linger()
	})
}

// sayLast says what nothing follows.
func (s *session) sayLast(line []byte) {
	s.client.Write(line) // there is room for the first one
	s.client.CloseWrite()
}

// linger waits for a refused client to close, if not too many are waited for. One
// who is not waited for may lose our line to a reset, but only if it sends more
// than has come already.
func (s *session) linger() {
	defer s.end("error")
	defer s.w.endLingering()
	ctx, cancel := context.WithTimeout(context.Background(), relay.LingerWait)
	defer cancel()
	for {
		// What is buffered goes first: a full buffer could take no more.
		s.client.Consume(len(s.client.Bytes()))
		if s.client.FillUntil(ctx) != nil {
			return
		}
	}
}

// closeBy says who ends the session, if nobody has.
func (s *session) closeBy(by string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closedBy == "" {
		s.closedBy = by
	}
}

// refuseListed refuses a connection that a block list names. Lists that cannot be
// asked list nobody.
func (s *session) refuseListed() bool {
	s.setup.Store(uint32(imsg.StateDNSBL))
	l, err := askLookupd(s, &imsg.DNSBLQuery{Client: s.facts.Client.Addr()}, s.w.cfg.TimeoutLookup)
	if err == nil {
		s.noteLists(l.DNS, nil)
		s.Asked(l.Answered, l.Silent)
	}
	switch {
	case err != nil:
		s.noteLists(0, err)
		s.Log(slog.LevelWarn, "DNSBL:FAILED", "src", s.facts.Client.Addr(), "error", err)
		return false
	case l.Zone == "":
		return false
	}
	s.info("DNSBL:FOUND", "domain", l.Zone, "answer", l.Answer)
	if s.monitored(imsg.RuleDNSBL, relay.Listing(l), smtp.CodeRejected) {
		return false
	}
	s.w.count(imsg.CountRejectDNSBL, 1)
	// Scripts count transactions from 1.
	o := &imsg.Offence{Number: s.facts.Number, Transaction: 1, Found: imsg.FoundDNSBL, Target: s.facts.Target}
	if _, err := link.Ask(&s.w.lockd, o, admissionWait); err != nil {
		s.Log(slog.LevelError, "offence not confirmed", "found", o.Found, "error", err)
	}
	s.refuseConnection(refused{
		rule: imsg.RuleDNSBL, what: relay.Listing(l), code: smtp.CodeRejected, text: imsg.MsgDNSDBReject, detail: relay.ListedDetail(l),
	})
	return true
}

// noteLists notes how the block lists did, unless nobody waits for them any more.
func (s *session) noteLists(did imsg.DNSOutcome, err error) {
	if problem, known := relay.DNSProblem(did, err); known && !s.clientGone() {
		s.Observe(imsg.FindingDNS, imsg.ObjectDNSBL, problem)
		s.w.count(imsg.CountDNS(imsg.ObjectDNSBL, did, err != nil), 1)
	}
}
