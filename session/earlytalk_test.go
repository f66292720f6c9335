package session

import (
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func TestEarlyTalk(t *testing.T) {
	r := newRig(t, nil)
	r.client.say("EHLO spammer\r\n")
	r.client.hears("554 gate.example msg_earlytalker\r\n")
	r.client.end()
	r.server.end()
	if r.offence().Found != imsg.FoundEarlyTalk {
		t.Errorf("offence %+v", r.offence())
	}
}

// Who gives up, or speaks TLS, before the greeting is no early talker.
func TestNoEarlyTalk(t *testing.T) {
	for _, tc := range []struct{ says, hears string }{
		{"QUIT\r\n", "221 gate.example msg_sign_off\r\n"},
		{" quit \r\nEHLO spammer\r\n", "221 gate.example msg_sign_off\r\n"},
		{"quit\n", "221 gate.example msg_sign_off\r\n"},
		{clientHello, "554 gate.example msg_tls_hello\r\n"},
		{clientHello + "\r\nEHLO c\r\n", "554 gate.example msg_tls_hello\r\n"},
		{"\x16\x03", "554 gate.example msg_tls_hello\r\n"},
	} {
		r := newRig(t, nil)
		r.client.say(tc.says)
		r.client.hears(tc.hears)
		r.client.end()
		r.server.end()
		r.seen("the end", func() bool { return len(r.left) > 0 })
		r.set(func() {
			if len(r.offences) > 0 || r.counts[imsg.CountEarlyTalk] > 0 {
				t.Errorf("%q is an event: %+v", tc.says, r.offences)
			}
		})
		r.LogsNot("FOUND:EARLYTALK")
	}
}

const clientHello = "\x16\x03\x01\x00\xf1\x01\x00\x00\xed\x03\x03 random octets, and no line end"

// All other early talk stays what it was.
func TestEarlyTalkers(t *testing.T) {
	for _, says := range []string{
		"\r\n", "GET / HTTP/1.1\r\n", "NOOP\r\nQUIT\r\n", "QUITE\r\n", "QUIT\x00\r\n",
		"\x16\r\n", "\x16\x02\r\n", "\x15\x03\r\n", "x\x16\x03\r\n", "\x80.\x01\x03\x01\r\n",
	} {
		r := newRig(t, nil)
		r.client.say(says)
		r.client.hears("554 gate.example msg_earlytalker\r\n")
		if r.offence().Found != imsg.FoundEarlyTalk {
			t.Errorf("%q: offence %+v", says, r.offence())
		}
	}
}

// A ClientHello is told what it met at any time, in any pieces, if it comes first.
func TestTLSWhereNoneIsSpoken(t *testing.T) {
	r := newRig(t, nil)
	r.toClient("220 mx\r\n")
	r.client.say("\x16")
	r.client.say("\x03\x01")
	r.client.hears("554 gate.example msg_tls_hello\r\n")
	r.client.end()
	r.server.end()

	r = newRig(t, func(c *imsg.SessionConfig) { c.EarlyTalk = false })
	r.client.say(clientHello)
	r.client.hears("554 gate.example msg_tls_hello\r\n")

	r = newRig(t, nil)
	r.toClient("220 mx\r\n")
	r.toServer("NOOP\r\n")
	r.toClient("250 ok\r\n")
	r.client.say("\x16\x03\r\n")
	r.client.hears("500 gate.example msg_proto_error\r\n")
}
