package relay

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

// This file owns what the administrator does not let pass: regular expressions, block
// lists and SPF at a client's commands. Who is asked for a verdict decides nothing
// more.

// pair is what one thing a client says must match and must not; nil is no rule.
type pair struct{ enforce, reject *regex.Matcher }

// Rules are the regular expressions of a configuration.
type Rules struct{ helo, mail, rcpt pair }

// Compile is done once: a pattern that is wrong was found by the parent already.
func Compile(cfg *imsg.SessionConfig) (*Rules, error) {
	r := new(Rules)
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
			return nil, fmt.Errorf("understand %q: %w", p.pattern, err)
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

// checkHelo decides on what follows HELO or EHLO.
func (c *client) checkHelo() (done bool) {
	if !c.Exempt.Has(imsg.ExemptRegex) && c.Rules.helo.refuses(c.command.Arg) {
		c.info("REGEX:REJECT", "src", c.Client.Addr(), "ident", c.Ident, "helo", c.helo)
		c.refuseMatch("helo", imsg.FoundRegexHelo, imsg.MsgRegexHelo)
	}
	return true
}

// checkSender decides on a sender.
func (c *client) checkSender() (done bool) {
	return c.checkAddress(c.Rules.mail, "mail", c.Config.LogMailFrom, imsg.FoundRegexMailFrom, imsg.MsgRegexMailFrom)
}

// checkRecipient decides on a recipient.
func (c *client) checkRecipient() (done bool) {
	return c.checkAddress(c.Rules.rcpt, "rcpt", c.Config.LogRcptTo, imsg.FoundRegexRcptTo, imsg.MsgRegexRcptTo)
}

// checkAddress decides on the address of the command; name and how say what the log
// shows of it.
func (c *client) checkAddress(p pair, name string, how imsg.LogAddress, found imsg.Found, text imsg.Text) (done bool) {
	addr, _ := smtp.Address(c.command.Arg)
	if c.Config.AuthSkip&imsg.SkipRegex == 0 && !c.Exempt.Has(imsg.ExemptRegex) && p.refusesAddress(addr, c.command.Arg) {
		c.info("REGEX:REJECT", name, c.loggedAddress(addr, how))
		c.refuseMatch(name, found, text)
	}
	return true
}

func (c *client) refuseMatch(what string, found imsg.Found, text imsg.Text) {
	c.refuseOffender(imsg.RuleRegex, what, found, text, "")
}

// checkListed asks the DNS block lists about a client that has not logged in. Lists
// that cannot be asked list nobody.
func (c *client) checkListed() (done bool) {
	if c.authenticated() || c.Exempt.Has(imsg.ExemptDNSBL) || !c.Config.DNSBL || c.Config.AuthSkip&imsg.SkipDNSBL == 0 {
		return true
	}
	q := c.ask(imsg.StateDNSBL, &imsg.DNSBLQuery{Client: c.Client.Addr()}, Question{Limit: LookupLimit(c.Config.TimeoutLookup)})
	if q == nil {
		return false
	}
	l, err := answerTo[imsg.DNSBLResult](q)
	if err == nil {
		c.noteDNS(imsg.ObjectDNSBL, l.DNS, nil)
		c.world.Asked(l.Answered, l.Silent)
	}
	switch {
	case err != nil:
		c.noteDNS(imsg.ObjectDNSBL, 0, err)
		c.warn("DNSBL:FAILED", "src", c.Client.Addr(), "error", err)
	case l.Zone != "":
		c.info("DNSBL:FOUND", "domain", l.Zone, "answer", l.Answer)
		c.refuseOffender(imsg.RuleDNSBL, Listing(l), imsg.FoundDNSBL, imsg.MsgDNSDBReject, ListedDetail(l))
	}
	return true
}

// Listing says which list names a client, and how.
func Listing(l *imsg.DNSBLResult) string { return l.Zone + " " + l.Answer.String() }

// domain is what an address has behind its "@".
func domain(addr []byte) string { return printable(addr[bytes.LastIndexByte(addr, '@')+1:]) }

// ListedDetail is what a client is told of the list it stands on.
func ListedDetail(l *imsg.DNSBLResult) string { return ": DNSBL: " + l.Zone + ": " + l.Answer.String() }

// checkSPF asks what the sender's domain says (RFC 7208), of each reading of its
// address. Only a plain no refuses, and a question that failed says nothing.
func (c *client) checkSPF() (done bool) {
	if c.authenticated() || c.Exempt.Has(imsg.ExemptSPF) || c.Config.SPF == imsg.SPFOff {
		return true
	}
	addr, _ := smtp.Address(c.command.Arg)
	senders := addressReadings(addr, c.command.Arg)
	client, verdict := c.spfClient(), imsg.SPFPass
	if !client.IsLoopback() {
		for verdict != imsg.SPFFail && c.command.spf < len(senders) {
			this, answered := c.askSPF(client, senders[c.command.spf])
			if !answered {
				return false
			}
			if c.command.spf == 0 {
				c.command.verdict = this
			}
			if this == imsg.SPFFail {
				c.command.verdict, addr = this, senders[c.command.spf]
			}
			verdict = this
			c.command.spf++
		}
		verdict = c.command.verdict
	}
	c.info("SPF:"+verdict.String(), "ip", client, "helo", c.helo, "from", c.loggedAddress(addr, c.Config.LogMailFrom))
	if verdict != imsg.SPFFail {
		return true
	}
	c.world.Count(imsg.CountSPF, 1)
	if !c.Config.SPFLogOnly {
		c.refuseOffender(imsg.RuleSPF, domain(addr), imsg.FoundSPF, imsg.MsgSPFReject, ": -")
	}
	return true
}

// askSPF asks about one reading of the sender's address.
func (c *client) askSPF(client netip.Addr, addr []byte) (v imsg.SPFVerdict, answered bool) {
	// To ask about a domain in UTF-8 takes its A-labels (RFC 8616, 4), which we
	// have not. As it stands it has no policy.
	if bytes.ContainsFunc(addr[bytes.LastIndexByte(addr, '@')+1:], func(r rune) bool { return r >= 0x80 }) {
		return imsg.SPFNone, true
	}
	q := c.ask(imsg.StateSPF, &imsg.SPF{Client: client, Helo: c.helo, MailFrom: printable(addr)}, Question{Limit: LookupLimit(c.Config.TimeoutLookup)})
	if q == nil {
		return 0, false
	}
	r, err := answerTo[imsg.SPFResult](q)
	if err != nil {
		c.noteDNS(imsg.ObjectSPF, 0, err)
		c.warn("SPF:FAILED", "ip", client, "error", err)
		return imsg.SPFNone, true
	}
	c.noteDNS(imsg.ObjectSPF, r.DNS, nil)
	if r.Problem != "" {
		c.debug("SPF:PROBLEM", "ip", client, "problem", r.Problem)
	}
	return r.Verdict, true
}

// spfClient is the address that the sender's domain is asked about.
func (c *client) spfClient() netip.Addr {
	cfg := c.Config
	switch cfg.SPF {
	case imsg.SPFFixed:
		return cfg.SPFFixedIP
	case imsg.SPFOutgoing:
		for _, a := range cfg.Outgoing {
			if !a.IsUnspecified() && a.Is4() == c.Target.Addr().Is4() {
				return a
			}
		}
		return c.Outgoing
	}
	return c.Client.Addr()
}

// LookupLimit is how long lookupd has for an answer, beyond the time that its work may
// take. 0 stays none.
func LookupLimit(timeout time.Duration) time.Duration {
	const margin = time.Second
	if timeout > 0 {
		timeout += margin
	}
	return timeout
}
