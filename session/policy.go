// What the administrator does not let pass: regular expressions, block lists and
// SPF at a client's commands. This file owns their order and what a refused
// command becomes; who is asked for a verdict decides nothing more.

package session

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/regex"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// pair is what one thing a client says must match and must not; nil is no rule.
type pair struct{ enforce, reject *regex.Matcher }

// rules are the regular expressions of a configuration.
type rules struct{ helo, mail, rcpt pair }

// compile is done once: a pattern that is wrong was found by the parent already.
func compile(cfg *imsg.SessionConfig) (r rules, err error) {
	for _, p := range []struct {
		pattern string
		to      **regex.Matcher
	}{
		{cfg.EnforceHelo, &r.helo.enforce},
		{cfg.RejectHelo, &r.helo.reject},
		{cfg.EnforceMail, &r.mail.enforce},
		{cfg.RejectMail, &r.mail.reject},
		{cfg.EnforceRcpt, &r.rcpt.enforce},
		{cfg.RejectRcpt, &r.rcpt.reject},
	} {
		if p.pattern == "" {
			continue
		}
		m, err := regex.New(p.pattern)
		if err != nil {
			return r, fmt.Errorf("understand %q: %w", p.pattern, err)
		}
		*p.to = m
	}
	return r, nil
}

// refuses tells whether the rules let text not pass. What cannot be matched does
// not: clients could choose it so.
func (p pair) refuses(text []byte) bool {
	if p.enforce != nil {
		if found, err := p.enforce.Match(text); !found || err != nil {
			return true
		}
	}
	if p.reject != nil {
		if found, err := p.reject.Match(text); found || err != nil {
			return true
		}
	}
	return false
}

// checkHelo decides on what follows HELO or EHLO.
func (s *session) checkHelo(out *[]byte, name []byte) step {
	if !s.w.rules.helo.refuses(name) {
		return goOn
	}
	s.info("REGEX:REJECT", "src", s.src.Addr(), "ident", s.ident, "helo", s.helo)
	return s.refuseMatch(out, imsg.FoundRegexHelo, imsg.MsgRegexHelo)
}

// refusesAddress looks at an address in each way that servers read it.
func (p pair) refusesAddress(addr, arg []byte) bool {
	if p.enforce == nil && p.reject == nil {
		return false
	}
	return slices.ContainsFunc(addressReadings(addr, arg), p.refuses)
}

// addressReadings are an address as it stands, and as a lenient server has it, if that
// is another: what only one of them would refuse must not pass.
func addressReadings(addr, arg []byte) [][]byte {
	if box := smtp.Mailbox(arg); !bytes.Equal(box, addr) {
		return [][]byte{addr, box}
	}
	return [][]byte{addr}
}

// checkMail decides on a sender, addr, of the argument arg: regex, block lists, SPF.
// The last two are for those who have not logged in.
func (s *session) checkMail(out *[]byte, addr, arg []byte) step {
	cfg := s.w.cfg
	if cfg.AuthSkip&imsg.SkipRegex == 0 && s.w.rules.mail.refusesAddress(addr, arg) {
		s.info("REGEX:REJECT", "mail", s.loggedAddress(addr, cfg.LogMailFrom))
		return s.refuseMatch(out, imsg.FoundRegexMailFrom, imsg.MsgRegexMailFrom)
	}
	if s.authenticated() {
		return goOn
	}
	if cfg.DNSBL && cfg.AuthSkip&imsg.SkipDNSBL != 0 {
		if l := s.askDNSBL(out); l != nil {
			s.countListed(l)
			return s.refuseOffender(out, imsg.FoundDNSBL, imsg.MsgDNSDBReject, listedDetail(l))
		}
	}
	if cfg.SPF != imsg.SPFOff {
		return s.checkSPF(out, addressReadings(addr, arg))
	}
	return goOn
}

// checkRcpt decides on a recipient.
func (s *session) checkRcpt(out *[]byte, addr, arg []byte) step {
	cfg := s.w.cfg
	if cfg.AuthSkip&imsg.SkipRegex != 0 || !s.w.rules.rcpt.refusesAddress(addr, arg) {
		return goOn
	}
	s.info("REGEX:REJECT", "rcpt", s.loggedAddress(addr, cfg.LogRcptTo))
	return s.refuseMatch(out, imsg.FoundRegexRcptTo, imsg.MsgRegexRcptTo)
}

func (s *session) refuseMatch(out *[]byte, found imsg.Found, text imsg.Text) step {
	s.w.count(imsg.CountRegex, 1)
	return s.refuseOffender(out, found, text, "")
}

// refuseOffender refuses a command in its turn, reports the client and takes over.
// The takeover repeats the text without its detail.
func (s *session) refuseOffender(out *[]byte, found imsg.Found, text imsg.Text, detail string) step {
	if !s.awaitReplies(out) {
		return stop
	}
	s.reportOffence(found, "", 0, "")
	next := s.refuseAndTakeOver(out, smtp.CodeRefused, s.text(text)+detail)
	s.reason = s.text(text)
	return next
}

func (s *session) authenticated() bool {
	return imsg.AuthFlags(s.auth.Load())&imsg.AuthAccepted != 0
}

// askDNSBL asks the DNS block lists; nil is a client that stands on none. Lists
// that cannot be asked list nobody.
func (s *session) askDNSBL(out *[]byte) *imsg.DNSBLResult {
	s.state.Store(uint32(imsg.StateDNSBL))
	l, err := askLookupd(s, out, &imsg.DNSBLQuery{Client: s.src.Addr()}, s.w.cfg.TimeoutLookup)
	if err != nil {
		s.log().Warn("DNSBL:FAILED", "src", s.src.Addr(), "error", err)
		return nil
	}
	if l.Zone != "" {
		return l
	}
	return nil
}

func (s *session) countListed(l *imsg.DNSBLResult) {
	s.info("DNSBL:FOUND", "domain", l.Zone, "answer", l.Answer)
	s.w.count(imsg.CountRejectDNSBL, 1)
}

// listedDetail is what a client is told of the list it stands on.
func listedDetail(l *imsg.DNSBLResult) string { return ": DNSBL: " + l.Zone + ": " + l.Answer.String() }

// refuseListed refuses a connection that a block list names.
func (s *session) refuseListed() bool {
	l := s.askDNSBL(new([]byte))
	if l == nil {
		return false
	}
	s.countListed(l)
	s.reportOffence(imsg.FoundDNSBL, "", 0, "")
	s.refuseConnection(smtp.CodeRejected, imsg.MsgDNSDBReject, listedDetail(l))
	return true
}

// checkSPF asks what the sender's domain says (RFC 7208), of each reading of its
// address. Only a plain no refuses, and a question that failed says nothing.
func (s *session) checkSPF(out *[]byte, senders [][]byte) step {
	cfg := s.w.cfg
	client, verdict, addr := s.spfClient(), imsg.SPFPass, senders[0]
	if !client.IsLoopback() {
		verdict = s.askSPF(out, client, addr)
		for _, other := range senders[1:] {
			if verdict != imsg.SPFFail && s.askSPF(out, client, other) == imsg.SPFFail {
				verdict, addr = imsg.SPFFail, other
			}
		}
	}
	s.info("SPF:"+verdict.String(), "ip", client, "helo", s.helo, "from", s.loggedAddress(addr, cfg.LogMailFrom))
	if verdict != imsg.SPFFail {
		return goOn
	}
	s.w.count(imsg.CountSPF, 1)
	if cfg.SPFLogOnly {
		return goOn
	}
	return s.refuseOffender(out, imsg.FoundSPF, imsg.MsgSPFReject, ": -")
}

func (s *session) askSPF(out *[]byte, client netip.Addr, addr []byte) imsg.SPFVerdict {
	// To ask about a domain in UTF-8 takes its A-labels (RFC 8616, 4), which we
	// have not. As it stands it has no policy.
	if bytes.ContainsFunc(addr[bytes.LastIndexByte(addr, '@')+1:], func(r rune) bool { return r >= 0x80 }) {
		return imsg.SPFNone
	}
	s.state.Store(uint32(imsg.StateSPF))
	r, err := askLookupd(s, out, &imsg.SPF{Client: client, Helo: s.helo, MailFrom: printable(addr)}, s.w.cfg.TimeoutLookup)
	if err != nil {
		s.log().Warn("SPF:FAILED", "ip", client, "error", err)
		return imsg.SPFNone
	}
	if r.Problem != "" {
		s.debug("SPF:PROBLEM", "ip", client, "problem", r.Problem)
	}
	return r.Verdict
}

// spfClient is the address that the sender's domain is asked about.
func (s *session) spfClient() netip.Addr {
	cfg := s.w.cfg
	switch cfg.SPF {
	case imsg.SPFFixed:
		return cfg.SPFFixedIP
	case imsg.SPFOutgoing:
		for _, a := range cfg.Outgoing {
			if !a.IsUnspecified() && a.Is4() == s.dst.Addr().Is4() {
				return a
			}
		}
		return addrPort(s.server.Conn.LocalAddr()).Addr()
	}
	return s.src.Addr()
}

// answerMargin is what lookupd has beyond the time that its work may take.
const answerMargin = time.Second

// askLookupd asks lookupd, with everything for the server on its way.
func askLookupd[A any](s *session, out *[]byte, question imsg.Question[A], limit time.Duration) (a *A, err error) {
	if len(*out) > 0 {
		s.flush(out)
	}
	if limit > 0 {
		limit += answerMargin
	}
	s.withoutIdleLimit(func() { a, err = ask(s, &s.w.lookupd, question, limit) })
	return a, err
}
