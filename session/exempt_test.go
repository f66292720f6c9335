package session

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// allBut is every check there is but those.
func allBut(missing ...imsg.Exempt) (from imsg.ExemptSet) {
	for e := range imsg.Exempts {
		if !slices.Contains(missing, e) {
			from = from.With(e)
		}
	}
	return from
}

// strict refuses everybody, by each rule that an exemption spares.
func strict(c *imsg.SessionConfig) {
	c.DNSBL, c.SPF, c.SPFFixedIP = true, imsg.SPFFixed, netip.MustParseAddr("192.0.2.7")
	c.RejectHelo, c.RejectMail, c.RejectRcpt = ".", ".", "."
}

func listedAndForged(m imsg.Message) imsg.Message {
	if _, ok := m.(*imsg.SPF); ok {
		return &imsg.SPFResult{Verdict: imsg.SPFFail}
	}
	return &imsg.DNSBLResult{Zone: "zen.example", Answer: netip.MustParseAddr("127.0.0.2")}
}

func exempting(from imsg.ExemptSet, scores float64) func(h *house, _ string) {
	return func(h *house, _ string) {
		h.exempt, h.lookup = from, listedAndForged
		h.verdict = found(imsg.Finding{Outcome: imsg.Clean}, imsg.Finding{Outcome: imsg.Clean, Score: scores})
	}
}

// TestExempt: a client that is exempt from all there is passes each rule, and viruses are
// looked for.
func TestExempt(t *testing.T) {
	r := newRigIn(t, strict, exempting(allBut(), 99))
	r.client.say("EHLO client.example\r\n") // before the greeting
	r.server.hears("EHLO client.example\r\n")
	r.toClient("220 mx.example ESMTP\r\n")
	r.toClient("250 mx.example\r\n")
	r.toServer("MAIL FROM:<a@x.example>\r\n")
	r.toClient("250 ok\r\n")
	r.toServer("RCPT TO:<b@x.example>\r\n")
	r.toClient("250 ok\r\n")
	r.toServer("DATA\r\n")
	r.toClient("354 ok\r\n")
	r.text("x\r\n.\r\n")
	r.toClient("250 ok\r\n")
	r.logs("SPAM:SKIPPED reason=exempt")
	r.seen("that it was unscanned for spam", func() bool {
		return slices.ContainsFunc(r.told, func(e imsg.Event) bool {
			return e.Kind == imsg.EventUnscanned && e.Engine == "spam" && e.Detail == imsg.UnscannedExempt
		})
	})
	r.set(func() {
		if !slices.Equal(r.asked, []string{"virus"}) || len(r.asks) > 0 || len(r.offences) > 0 {
			t.Errorf("engines %q, lookupd %v, offences %v", r.asked, r.asks, r.offences)
		}
	})
	r.LogsNot("FOUND:")
	r.LogsNot("SPF:")
}

// TestExemptButOne: what an exemption does not name is looked at.
func TestExemptButOne(t *testing.T) {
	hello := func(r *rig) {
		r.toClient("220 mx.example ESMTP\r\n")
		r.client.say("EHLO client.example\r\n")
	}
	mail := func(r *rig) {
		hello(r)
		r.server.hears("EHLO client.example\r\n")
		r.toClient("250 mx.example\r\n")
		r.client.say("MAIL FROM:<a@x.example>\r\n")
	}
	for but, row := range map[imsg.Exempt]struct {
		says  func(r *rig)
		found imsg.Found
	}{
		imsg.ExemptEarlyTalk: {func(r *rig) { r.client.say("EHLO client.example\r\n") }, imsg.FoundEarlyTalk},
		imsg.ExemptRegex:     {hello, imsg.FoundRegexHelo},
		imsg.ExemptSPF:       {mail, imsg.FoundSPF},
		imsg.ExemptDNSBL:     {mail, imsg.FoundDNSBL},
		imsg.ExemptSpam: {func(r *rig) {
			mail(r)
			r.server.hears("MAIL FROM:<a@x.example>\r\n")
			r.toClient("250 ok\r\n")
			r.toServer("RCPT TO:<b@x.example>\r\n")
			r.toClient("250 ok\r\n")
			r.toServer("DATA\r\n")
			r.toClient("354 ok\r\n")
			r.client.say("x\r\n.\r\n")
		}, imsg.FoundSpam},
	} {
		t.Run(but.String(), func(t *testing.T) {
			r := newRigIn(t, func(c *imsg.SessionConfig) { strict(c); c.AuthSkip = imsg.SkipDNSBL }, exempting(allBut(but), 99))
			row.says(r)
			if o := r.offence(); o.Found != row.found {
				t.Errorf("offence %+v", o)
			}
		})
	}
	t.Run("dnsbl at once", func(t *testing.T) {
		h := newHouse(t, "127.0.0.1:1", strict)
		h.set(func() { exempting(allBut(imsg.ExemptDNSBL), 0)(h, "") })
		h.dial()
		if o := h.offence(); o.Found != imsg.FoundDNSBL {
			t.Errorf("offence %+v", o)
		}
	})
}

// TestExemptAndVirus: no bit there is keeps a virus scanner from looking, or lets through
// what it finds.
func TestExemptAndVirus(t *testing.T) {
	r := newRigIn(t, strict, exempting(allBut(), 0))
	r.set(func() { r.verdict.Findings[0].Outcome, r.verdict.Findings[0].Name = imsg.Caught, "V" })
	r.data()
	r.client.say("x\r\n.\r\n")
	if o := r.offence(); o.Found != imsg.FoundVirus {
		t.Errorf("offence %+v", o)
	}
}

// TestExemptOfServer: in the modes in which the server is asked for, what lockd says when
// it is known counts.
func TestExemptOfServer(t *testing.T) {
	from := stranger(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := newHouse(t, "127.0.0.1:1", func(c *imsg.SessionConfig) { strict(c); remote(c); c.NatHeaderType = imsg.NatNone })
	h.set(func() {
		exempting(0, 0)(h, "")
		h.lookup = func(m imsg.Message) imsg.Message {
			if _, ok := m.(*imsg.TargetQuery); ok {
				h.exempt = allBut()
				return &imsg.TargetResult{Target: netip.MustParseAddrPort(l.Addr().String())}
			}
			return listedAndForged(m)
		}
	})
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).Dial("tcp4", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	client := newTalker(t, "client", conn)
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{house: h, client: client, server: newTalker(t, "server", accepted)}
	r.data()
	r.toServer("x\r\n.\r\n")
	r.toClient("250 ok\r\n")
	r.set(func() {
		if len(r.offences) > 0 {
			t.Errorf("offences %+v", r.offences[0])
		}
	})
}
