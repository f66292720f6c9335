package session

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// hello brings a session to its first MAIL.
func (r *rig) hello() {
	r.t.Helper()
	r.toClient("220 mx.example ESMTP\r\n")
	r.toServer("EHLO client.example\r\n")
	r.toClient("250-mx.example\r\n250 ENHANCEDSTATUSCODES\r\n")
}

func (r *rig) login() {
	r.t.Helper()
	r.toServer("AUTH PLAIN AGEAYg==\r\n")
	r.toClient("235 ok\r\n")
}

// forbidden expects the end of the server and the takeover with the reason, and at last the log line.
func (r *rig) forbidden(detail, reason string, found imsg.Found, closed string) {
	r.t.Helper()
	r.server.hears("QUIT\r\n")
	r.server.end()
	r.client.hears("550 5.7.1 gate.example " + reason + detail + "\r\n")
	r.client.say("MAIL FROM:<x>\r\nQUIT\r\n")
	r.client.hears("451 4.3.2 gate.example " + reason + "\r\n221 2.0.0 gate.example msg_sign_off\r\n")
	if o := r.offence(); o.Found != found || o.Helo != "client.example" {
		r.t.Errorf("offence %+v", o)
	}
	r.client.conn.Close()
	r.logs(closed)
}

func TestRegex(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*imsg.SessionConfig)
		says    []string
		refused string // the option's text; empty: all passes
		log     string
		login   bool
	}{
		"rejected mail":         {func(c *imsg.SessionConfig) { c.RejectMail = "^spam@" }, []string{"MAIL FROM: <spam@x.example>"}, "msg_regex_mail_from", "REGEX:REJECT mail=spam@x.example", false},
		"mail rejected anyway":  {func(c *imsg.SessionConfig) { c.RejectMail = "^spam@" }, []string{"MAIL FROM: <spam@x.example>"}, "msg_regex_mail_from", "REGEX:REJECT mail=spam@x.example", true},
		"passing mail":          {func(c *imsg.SessionConfig) { c.RejectMail = "^spam@" }, []string{"MAIL FROM:<Spam@x.example>"}, "", "", false},
		"enforced mail":         {func(c *imsg.SessionConfig) { c.EnforceMail = `@x\.example$` }, []string{"mail  from:<a@x.example.org> SIZE=1"}, "msg_regex_mail_from", "REGEX:REJECT mail=a@x.example.org", false},
		"hashed":                {func(c *imsg.SessionConfig) { c.RejectMail, c.LogMailFrom = "a", imsg.LogBase64 }, []string{"MAIL FROM:<a>"}, "msg_regex_mail_from", "REGEX:REJECT mail=DMF1ucDxtqgxw5niaXcmYQ", false},
		"the whole is matched":  {func(c *imsg.SessionConfig) { c.RejectMail, c.EmailLength = "example$", 3 }, []string{"MAIL FROM:<abcd@x.example>"}, "msg_regex_mail_from", "REGEX:REJECT mail=abc", false},
		"too long to be judged": {func(c *imsg.SessionConfig) { c.RejectMail = "^spam@" }, []string{"MAIL FROM:<" + strings.Repeat("a", 1025) + ">"}, "msg_regex_mail_from", "REGEX:REJECT mail=" + strings.Repeat("a", 64), false},
		"enforced rcpt":         {func(c *imsg.SessionConfig) { c.EnforceRcpt = "^b" }, []string{"MAIL FROM:<a>", "RCPT TO:<b>", "RCPT TO:<cb>"}, "msg_regex_rcpt_to", "REGEX:REJECT rcpt=cb", false},
		"rejected rcpt":         {func(c *imsg.SessionConfig) { c.EnforceRcpt, c.RejectRcpt = "^b", "(?!bc)b" }, []string{"MAIL FROM:<a>", "RCPT TO:<bc>", "RCPT TO:<b>"}, "msg_regex_rcpt_to", "REGEX:REJECT rcpt=b", false},
		"a blank within":        {func(c *imsg.SessionConfig) { c.RejectMail = "^spam@x" }, []string{"MAIL FROM:<spam @x.example>"}, "msg_regex_mail_from", "REGEX:REJECT mail=spam", false},
		"behind a phrase":       {func(c *imsg.SessionConfig) { c.RejectRcpt = "^b@" }, []string{"MAIL FROM:<a>", "RCPT TO:x<b@x.example>"}, "msg_regex_rcpt_to", "REGEX:REJECT rcpt=x<b@x.example", false},
		"one reading, not both": {func(c *imsg.SessionConfig) { c.EnforceRcpt = `^"b"@` }, []string{"MAIL FROM:<a>", `RCPT TO:<"b"@x>`}, "msg_regex_rcpt_to", `REGEX:REJECT rcpt="b"@x`, false},
		"switched off":          {func(c *imsg.SessionConfig) { c.RejectMail, c.EnforceRcpt, c.AuthSkip = ".", "^b", imsg.SkipRegex }, []string{"MAIL FROM:<a>", "RCPT TO:<c>"}, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tc.change)
			r.hello()
			if tc.login {
				r.login()
			}
			for i, line := range tc.says {
				if tc.refused != "" && i == len(tc.says)-1 {
					r.client.say(line + "\r\n")
					break
				}
				r.client.say(line + "\r\n")
				r.server.hears(line + "\r\n")
				r.toClient("250 ok\r\n")
			}
			if tc.refused == "" {
				return
			}
			found := map[string]imsg.Found{"msg_regex_mail_from": imsg.FoundRegexMailFrom, "msg_regex_rcpt_to": imsg.FoundRegexRcptTo}[tc.refused]
			closed := "CLOSE:TAKEN"
			if tc.login {
				closed += " login=a"
			}
			r.forbidden("", tc.refused, found, closed)
			r.logs(tc.log)
		})
	}
}

// HELO is matched whatever auth_skip says, and in its turn.
func TestRegexHelo(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.RejectHelo, c.AuthSkip, c.EarlyTalk = `^\[`, imsg.SkipRegex, false })
	r.client.say("NOOP\r\nhelo [192.0.2.1]\r\nMAIL FROM:<a>\r\n")
	r.server.hears("NOOP\r\n")
	r.toClient("220 mx\r\n")
	r.toClient("250 ok\r\n")
	r.server.hears("QUIT\r\n")
	r.client.hears("550 gate.example msg_regex_helo\r\n451 gate.example msg_regex_helo\r\n")
	if o := r.offence(); o.Found != imsg.FoundRegexHelo || o.Helo != "[192.0.2.1]" {
		t.Errorf("offence %+v", o)
	}
	r.logs("REGEX:REJECT src=127.0.0.1, ident=, helo=[192.0.2.1]")
}

func TestListedAtMail(t *testing.T) {
	answer := &imsg.DNSBLResult{Zone: "zen.example", Answer: netip.MustParseAddr("127.0.0.2")}
	on := func(c *imsg.SessionConfig) { c.DNSBL, c.AuthSkip = true, imsg.SkipDNSBL }
	play := func(m imsg.Message) func(*house, string) {
		return func(h *house, _ string) { h.lookup = func(imsg.Message) imsg.Message { return m } }
	}
	t.Run("listed", func(t *testing.T) {
		r := newRigIn(t, on, play(answer))
		r.hello()
		r.client.say("MAIL FROM:<a>\r\n")
		r.forbidden(": DNSBL: zen.example: 127.0.0.2", "msg_dnsdb_reject", imsg.FoundDNSBL, "CLOSE:TAKEN")
		r.logs("DNSBL:FOUND domain=zen.example, answer=127.0.0.2")
	})
	t.Run("authenticated", func(t *testing.T) {
		r := newRigIn(t, on, play(answer))
		r.hello()
		r.login()
		r.toServer("MAIL FROM:<a>\r\n")
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.asks) > 0 {
			t.Error("asked")
		}
	})
	for name, m := range map[string]imsg.Message{"not listed": &imsg.DNSBLResult{}, "failed": &imsg.Failure{Errno: imsg.Timeout}} {
		t.Run(name, func(t *testing.T) {
			r := newRigIn(t, on, play(m))
			r.hello()
			r.toServer("MAIL FROM:<a>\r\n")
		})
	}
}

// A client that is listed before the server is asked has neither NEW nor CLOSE.
func TestListedAtOnce(t *testing.T) {
	h := newHouse(t, "127.0.0.1:1", func(c *imsg.SessionConfig) { c.DNSBL = true })
	h.set(func() {
		h.lookup = func(imsg.Message) imsg.Message {
			return &imsg.DNSBLResult{Zone: "zen.example", Answer: netip.MustParseAddr("127.0.0.2")}
		}
	})
	c := h.dial()
	c.hears("554 gate.example msg_dnsdb_reject: DNSBL: zen.example: 127.0.0.2\r\n")
	c.end()
	h.seen("Leave", func() bool { return len(h.left) == 1 })
	h.logs("DNSBL:FOUND domain=zen.example, answer=127.0.0.2")
	h.LogsNot("NEW (", "CLOSE")
}

func TestSPF(t *testing.T) {
	fixed := netip.MustParseAddr("192.0.2.7")
	for name, tc := range map[string]struct {
		change func(*imsg.SessionConfig)
		answer imsg.Message
		log    string
		asked  bool
		login  bool
		fails  bool
	}{
		"fail":               {nil, &imsg.SPFResult{Verdict: imsg.SPFFail}, "SPF:fail ip=192.0.2.7, helo=client.example, from=a@x.example", true, false, true},
		"softfail":           {nil, &imsg.SPFResult{Verdict: imsg.SPFSoftFail}, "SPF:softfail ip=192.0.2.7, helo=client.example, from=a@x.example", true, false, false},
		"permerror":          {nil, &imsg.SPFResult{Verdict: imsg.SPFPermError, Problem: "x"}, "SPF:permerror ip=192.0.2.7, helo=client.example, from=a@x.example", true, false, false},
		"no answer":          {nil, &imsg.Failure{Errno: imsg.Busy}, "SPF:none ip=192.0.2.7, helo=client.example, from=a@x.example", true, false, false},
		"log only":           {func(c *imsg.SessionConfig) { c.SPFLogOnly = true }, &imsg.SPFResult{Verdict: imsg.SPFFail}, "SPF:fail ip=192.0.2.7, helo=client.example, from=a@x.example", true, false, false},
		"authenticated":      {nil, &imsg.SPFResult{Verdict: imsg.SPFFail}, "", false, true, false},
		"loopback incoming":  {func(c *imsg.SessionConfig) { c.SPF = imsg.SPFIncoming }, nil, "SPF:pass ip=127.0.0.1, helo=client.example, from=a@x.example", false, false, false},
		"loopback outgoing":  {func(c *imsg.SessionConfig) { c.SPF = imsg.SPFOutgoing }, nil, "SPF:pass ip=127.0.0.1, helo=client.example, from=a@x.example", false, false, false},
		"hashed in the log":  {func(c *imsg.SessionConfig) { c.LogMailFrom = imsg.LogBase64 }, &imsg.SPFResult{Verdict: imsg.SPFPass}, "SPF:pass ip=192.0.2.7, helo=client.example, from=" + "+UwTs3/jo1p8PydmfwdOeA", true, false, false},
		"shortened in a log": {func(c *imsg.SessionConfig) { c.EmailLength = 3 }, &imsg.SPFResult{Verdict: imsg.SPFPass}, "SPF:pass ip=192.0.2.7, helo=client.example, from=a@x", true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRigIn(t, func(c *imsg.SessionConfig) {
				c.SPF, c.SPFFixedIP = imsg.SPFFixed, fixed
				if tc.change != nil {
					tc.change(c)
				}
			}, func(h *house, _ string) { h.lookup = func(imsg.Message) imsg.Message { return tc.answer } })
			r.hello()
			if tc.login {
				r.login()
			}
			if tc.fails {
				r.client.say("MAIL FROM:<a@x.example>\r\n")
				r.forbidden(": -", "msg_spf_reject", imsg.FoundSPF, "CLOSE:TAKEN")
			} else {
				r.toServer("MAIL FROM:<a@x.example>\r\n")
			}
			if tc.log != "" {
				r.logs(tc.log)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if tc.asked != (len(r.asks) == 1) {
				t.Fatalf("asked %v", r.asks)
			}
			if want := (imsg.SPF{Client: fixed, Helo: "client.example", MailFrom: "a@x.example"}); tc.asked && *r.asks[0].(*imsg.SPF) != want {
				t.Errorf("asked %+v, want %+v", r.asks[0], want)
			}
		})
	}
}

// Nobody is asked about a domain in UTF-8: it would be another one.
func TestSPFOfUTF8(t *testing.T) {
	r := newRigIn(t, func(c *imsg.SessionConfig) {
		c.SPF, c.SPFFixedIP = imsg.SPFFixed, netip.MustParseAddr("192.0.2.7")
	}, func(h *house, _ string) {
		h.lookup = func(m imsg.Message) imsg.Message {
			if m.(*imsg.SPF).MailFrom != "##@x.example" {
				return &imsg.SPFResult{Verdict: imsg.SPFFail}
			}
			return &imsg.SPFResult{Verdict: imsg.SPFPass}
		}
	})
	r.hello()
	for _, mail := range []string{"a@ü.example", "ü@x.example"} {
		r.client.say("MAIL FROM:<" + mail + "> SMTPUTF8\r\n")
		r.server.hears("MAIL FROM:<" + mail + "> SMTPUTF8\r\n")
		r.toClient("250 ok\r\n")
	}
}

// A sender that servers may read as another one is asked about under both names.
func TestSPFOfBothReadings(t *testing.T) {
	r := newRigIn(t, func(c *imsg.SessionConfig) {
		c.SPF, c.SPFFixedIP = imsg.SPFFixed, netip.MustParseAddr("192.0.2.7")
	}, func(h *house, _ string) {
		h.lookup = func(m imsg.Message) imsg.Message {
			if m.(*imsg.SPF).MailFrom == "a@x.example" {
				return &imsg.SPFResult{Verdict: imsg.SPFFail}
			}
			return &imsg.SPFResult{Verdict: imsg.SPFPass}
		}
	})
	r.hello()
	r.client.say("MAIL FROM:<a @x.example(c)>\r\n")
	r.forbidden(": -", "msg_spf_reject", imsg.FoundSPF, "CLOSE:TAKEN")
	r.logs("SPF:fail ip=192.0.2.7, helo=client.example, from=a@x.example")
}
