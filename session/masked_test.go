package session

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// Nothing of an extension that is masked reaches the server, and the session goes on.
func TestMasked(t *testing.T) {
	r := newRig(t, nil)
	r.server.say("220 mx\r\n")
	r.client.hears("220 mx\r\n")
	r.toServer("EHLO c\r\n")
	r.toClient("250-mx\r\n250 ENHANCEDSTATUSCODES\r\n")
	for _, x := range smtp.Extensions {
		if x.Treatment != smtp.Mask {
			continue
		}
		for _, verb := range x.Verbs {
			r.client.say(verb + " 5 LAST\r\n")
			r.client.hears("502 5.5.2 gate.example msg_unimpl_command\r\n")
			r.logs(verb + ":FILTERED src=127.0.0.1, ident=")
		}
		for _, p := range x.Params {
			r.client.say("MAIL FROM:<a@b> SIZE=1 " + p + "\r\nRCPT TO:<c@d> " + p + "=x\r\n")
			r.client.hears("555 5.5.4 gate.example msg_unimpl_command\r\n555 5.5.4 gate.example msg_unimpl_command\r\n")
			r.logs(x.Keyword + ":FILTERED src=127.0.0.1, ident=")
		}
	}
	r.client.say("MAIL FROM:<a@b> BODY=BINARYMIME\r\n") // chunking is filtered
	r.client.hears("555 5.5.4 gate.example msg_unimpl_command\r\n")
	r.toServer("MAIL FROM:<a@b> BODY=8BITMIME SIZE=1\r\n")
	r.toClient("250 ok\r\n")
}

// A sender that must not send without TLS is to try again, not to give up.
func TestSTARTTLSForbidden(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.TLS.Policy = imsg.TLSMask })
	r.server.say("220 mx\r\n")
	r.client.hears("220 mx\r\n")
	r.client.say("STARTTLS\r\n")
	r.client.hears("454 gate.example msg_unimpl_command\r\n")
	r.toServer("EHLO c\r\n")
	r.server.say("250-mx\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n")
	r.client.hears("250-mx\r\n250-STA*TTLS\r\n250 ENHANCEDSTATUSCODES\r\n")
	r.client.say("STARTTLS\r\nNOOP\r\n")
	r.client.hears("454 4.7.0 gate.example msg_unimpl_command\r\n")
	r.server.hears("NOOP\r\n")
	r.toClient("250 ok\r\n")
}

// Two real Exims that offer and use PRDR and PIPECONNECT, which they are seen to do
// without us, do neither through us, and each mail arrives once.
func TestEximsWithPRDR(t *testing.T) {
	server := startExim(t)
	sees := func(t *testing.T, addr string, used bool) {
		send := eximClient(t, addr)
		var log string
		for i := range 3 { // what the first one was offered the others believe
			log = send(fmt.Sprintf("Subject: mail %d\n\ntext\n", i), "b@mx.example", "c@mx.example")
			if len(delivered.FindAllString(log, -1)) != 2*(i+1) {
				t.Fatalf("not delivered: %s", log)
			}
		}
		if strings.Contains(log, " PRDR ") != used || strings.Contains(log, " L* ") != used {
			t.Errorf("PRDR and PIPECONNECT are used: %v\n%s", !used, log)
		}
		if mails := server.settle(t); len(mails) != 6 {
			t.Errorf("%d mails are delivered", len(mails))
		}
	}
	t.Run("direct", func(t *testing.T) { sees(t, server.addr, true) })
	h := newHouse(t, server.addr, func(c *imsg.SessionConfig) { c.ScanChunks = true })
	t.Run("through the gateway", func(t *testing.T) { sees(t, h.addr, false) })
	h.LogsNot("FOUND:EARLYTALK", "PRDR:FILTERED")
}

// delivered is a line of Exim's log, the second recipient's one with a dash.
var delivered = regexp.MustCompile(`(?m) [-=]> [bc]@mx\.example R=gateway `)

// The limit a client is told leaves room for what we add.
func TestSizeLowered(t *testing.T) {
	for kind, header := range map[imsg.NatHeader]string{
		imsg.NatNone:    "",
		imsg.NatIPOnly:  "X-Nat-Received: 127.0.0.1\r\n\r\n",
		imsg.NatGeneric: "X-Nat-Received: from [127.0.0.1]:PORT [ident-empty]\r\n\tby gate.example with TPROXY id 1700000000.101\r\n\tabuse-to abuse\r\n\r\n",
	} {
		r := newRig(t, func(c *imsg.SessionConfig) { c.NatHeaderType, c.Abuse = kind, "abuse" })
		added := len(strings.Replace(header, "PORT", portOf(r.client.conn.LocalAddr()), 1))
		r.server.say("220 mx\r\n")
		r.client.hears("220 mx\r\n")
		r.toServer("EHLO c\r\n")
		r.server.say("250-mx\r\n250-SIZE 1000\r\n250-SIZE 2\r\n250-SIZE 0\r\n250 SIZE\r\n")
		r.client.hears(fmt.Sprintf("250-mx\r\n250-SIZE %d\r\n250-SIZE %d\r\n250-SIZE 0\r\n250 SIZE\r\n", 1000-added, max(1, 2-added)))
		r.toServer("MAIL FROM:<a@b> SIZE=1000\r\n")
	}
}
