package session

import (
	"regexp"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// TestReplyID: whatever refuses a client, at whatever moment, ends in what the log calls
// the session; and the world is told why, with the same name.
func TestReplyID(t *testing.T) {
	named := func(c *imsg.SessionConfig) { c.ReplyID, c.LogMailFrom = true, imsg.LogRejected }
	name := regexp.MustCompile(` \((\d+\.(?:\d+|w\d+\.\d+))\)$`)
	check := func(t *testing.T, h *house, reply string, want imsg.Event) {
		t.Helper()
		m := name.FindStringSubmatch(reply)
		if m == nil {
			t.Fatalf("%q has no name", reply)
		}
		var got imsg.Event
		h.seen("the event", func() bool {
			for _, e := range h.told {
				if e.Kind == want.Kind {
					got = e
				}
			}
			return got.Kind != 0
		})
		if got.ID != m[1] || got.Rule != want.Rule || got.Code != want.Code || got.Detail != want.Detail || got.Sender != want.Sender || !got.Client.IsValid() || got.Time == 0 {
			t.Errorf("%+v", got)
		}
		if !strings.Contains(reply, got.Text) {
			t.Errorf("the client hears %q, others %q", reply, got.Text)
		}
	}
	t.Run("at the door", func(t *testing.T) {
		h := newHouse(t, "127.0.0.1:1", named)
		h.set(func() { h.refusal = imsg.RefusedLocked })
		check(t, h, h.dial().line(), imsg.Event{Kind: imsg.EventRefuse, Rule: imsg.RuleLocked, Code: 554})
	})
	t.Run("without a number", func(t *testing.T) {
		h := newHouse(t, "127.0.0.1:1", named)
		h.set(func() {
			h.player = func(room imsg.Room, r link.Request) bool {
				if _, ok := r.Message.(*imsg.Enter); ok {
					r.Fail(imsg.Internal)
				}
				return room == imsg.Lockd
			}
		})
		c := h.dial()
		reply := c.line()
		if !strings.Contains(reply, ".w") {
			t.Fatalf("%q", reply)
		}
	})
	t.Run("no server", func(t *testing.T) {
		h := newHouse(t, "127.0.0.1:1", named)
		c := h.dial()
		c.hears("220 gate.example SMTP\r\n")
		c.say("MAIL FROM:<a@b>\r\n")
		check(t, h, c.line(), imsg.Event{Kind: imsg.EventDefer, Rule: imsg.RuleServer, Code: 451, Sender: "a@b"})
		c.say("QUIT\r\n")
		c.hears("221 gate.example msg_sign_off\r\n")
	})
	t.Run("virus", func(t *testing.T) {
		r := newRig(t, named)
		r.set(func() { r.verdict.Findings[0].Outcome, r.verdict.Findings[0].Name = imsg.Caught, "V" })
		r.data()
		r.text("a\r\n")
		r.client.say(".\r\n")
		check(t, r.house, r.client.line(), imsg.Event{Kind: imsg.EventReject, Rule: imsg.RuleVirus, Code: 550, Sender: "a@client.example", Subject: ""})
		r.client.say("RCPT TO:<c@d>\r\n")
		if reply := r.client.line(); !name.MatchString(reply) || !strings.HasPrefix(reply, "503") {
			t.Errorf("%q", reply)
		}
	})
	for name, row := range map[string]struct {
		addresses imsg.HistoryAddresses
		log       imsg.LogAddress
		want      string
	}{
		"not logged":     {imsg.AddressesAsLogged, 0, ""},
		"logged":         {imsg.AddressesAsLogged, imsg.LogAccepted, "a@client.example"},
		"logged as hash": {imsg.AddressesAsLogged, imsg.LogAccepted | imsg.LogBase64, "gpPHCoOCsxAC6GHpUczrdA"},
		"clear":          {imsg.AddressesClear, 0, "a@client.example"},
		"hashed later":   {imsg.AddressesHash, imsg.LogBase64, "a@client.example"},
		"off":            {imsg.AddressesOff, imsg.LogAccepted, ""},
	} {
		t.Run("sender "+name, func(t *testing.T) {
			r := newRig(t, func(c *imsg.SessionConfig) { c.HistoryAddresses, c.LogMailFrom = row.addresses, row.log })
			r.set(func() { r.verdict.Findings[0].Outcome = imsg.Failed })
			r.data()
			r.text("a\r\n")
			r.client.say(".\r\n")
			r.client.hears("451 4.3.0 gate.example msg_scanner_failed\r\n")
			r.seen("the event", func() bool { return len(r.told) > 1 && r.told[len(r.told)-1].Kind == imsg.EventDefer })
			if got := r.told[len(r.told)-1]; got.Kind != imsg.EventDefer || got.Sender != row.want {
				t.Errorf("%+v, want %q", got, row.want)
			}
		})
	}
	t.Run("off", func(t *testing.T) {
		h := newHouse(t, "127.0.0.1:1", nil)
		h.set(func() { h.refusal = imsg.RefusedLocked })
		h.dial().hears("554 gate.example msg_virus_locked\r\n")
	})
}

// TestToldMessage: an event names its message, if it is to, however it comes.
func TestToldMessage(t *testing.T) {
	const text = "Subject: =?utf-8?q?win_a?=\r\n prize\r\nMessage-ID: <1@client.example>\r\n\r\nMessage-ID: <2@x>\r\n"
	for _, on := range []bool{true, false} {
		r := newRig(t, func(c *imsg.SessionConfig) { c.MessageID, c.Subject = on, on })
		r.set(func() { r.verdict.Findings[1].Score = 99 })
		r.data()
		r.client.say(text)
		r.client.say(".\r\n")
		r.client.hears("550 5.7.1 gate.example msg_spam_found [99.000000]\r\n")
		r.seen("the events", func() bool { return len(r.told) == 3 })
		id, subject := "<1@client.example>", "win a prize"
		if !on {
			id, subject = "", ""
		}
		clean, spam, reject := r.told[0], r.told[1], r.told[2]
		if clean.Kind != imsg.EventScan || spam.Kind != imsg.EventScan || !spam.Scored || spam.Score != 99 || spam.Subject != "" || spam.MessageID != id {
			t.Errorf("%+v, %+v", clean, spam)
		}
		if reject.Kind != imsg.EventReject || reject.Rule != imsg.RuleSpam || reject.Score != 99 || reject.MessageID != id || reject.Subject != subject || reject.Size == 0 {
			t.Errorf("%+v", reject)
		}
	}
}
