package session

import (
	"net/netip"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// quotas makes a rig whose lockd counts what is named and refuses what is in over.
func quotas(t *testing.T, over map[imsg.Rate]imsg.Refusal, change func(*imsg.SessionConfig), counted ...imsg.Rate) *rig {
	return newRigIn(t, change, func(h *house, _ string) {
		for _, c := range counted {
			h.uses |= 1 << c
		}
		h.over = over
	})
}

// uses expects what lockd was asked, in order.
func (r *rig) usesAre(want ...imsg.QuotaUse) {
	r.t.Helper()
	r.seen("uses", func() bool { return len(r.used) >= len(want) })
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, u := range r.used {
		u.Number = 0
		if i >= len(want) || u != want[i] {
			r.t.Fatalf("uses %+v\nwant %+v", r.used, want)
		}
	}
}

func TestQuotasAreCounted(t *testing.T) {
	r := quotas(t, nil, nil, imsg.RateMessages, imsg.RateRecipients, imsg.RateBytes, imsg.RateMailFromRejects, imsg.RateRcptToRejects, imsg.RateAuthRejects)
	r.hello()
	r.toServer("AUTH LOGIN\r\n")
	r.toClient("334 x\r\n")
	r.toServer("x\r\n")
	r.toClient("535-no\r\n535 no\r\n")
	r.client.say("MAIL FROM:<a>\r\nMAIL FROM:<b>\r\nRCPT TO:<c>\r\nRCPT TO:<d>\r\nDATA\r\n")
	r.server.hears("MAIL FROM:<a>\r\nMAIL FROM:<b>\r\nRCPT TO:<c>\r\nRCPT TO:<d>\r\nDATA\r\n")
	r.server.say("550-no\r\n550 no\r\n451 later\r\n550 no\r\n250 ok\r\n354 go\r\n")
	r.client.hears("550-no\r\n550 no\r\n451 later\r\n550 no\r\n250 ok\r\n354 go\r\n")
	r.text("1234\r\n.\r\n")
	r.seen("all uses", func() bool { return len(r.used) == 7 })
	r.mu.Lock()
	defer r.mu.Unlock()
	total := map[imsg.Rate]uint64{}
	for _, u := range r.used {
		total[u.Counter] += u.Amount
	}
	for c, n := range map[imsg.Rate]uint64{imsg.RateAuthRejects: 1, imsg.RateMailFromRejects: 1, imsg.RateRcptToRejects: 1, imsg.RateRecipients: 2, imsg.RateMessages: 1, imsg.RateBytes: 6} {
		if total[c] != n {
			t.Errorf("%v: %d, want %d", c, total[c], n)
		}
	}
}

// One server too many is the last reason to refuse a client: block lists and
// loops are looked at before.
func TestQuotaOfTargets(t *testing.T) {
	play := func(h *house) {
		h.uses, h.over = 1<<imsg.RateTargets, map[imsg.Rate]imsg.Refusal{imsg.RateTargets: imsg.RefusedTargets}
	}
	t.Run("too many", func(t *testing.T) {
		h := newHouse(t, "127.0.0.1:1", nil)
		h.set(func() { play(h) })
		c := h.dial()
		c.hears("421 gate.example msg_ratelimit_dst\r\n")
		c.end()
		h.seen("Leave", func() bool { return len(h.left) == 1 })
		h.LogsNot("CLOSE")
	})
	t.Run("listed", func(t *testing.T) {
		h := newHouse(t, "127.0.0.1:1", func(c *imsg.SessionConfig) { c.DNSBL = true })
		h.set(func() {
			play(h)
			h.lookup = func(imsg.Message) imsg.Message {
				return &imsg.DNSBLResult{Zone: "zen.example", Answer: netip.MustParseAddr("127.0.0.2")}
			}
		})
		c := h.dial()
		c.hears("554 gate.example msg_dnsdb_reject: DNSBL: zen.example: 127.0.0.2\r\n")
		c.end()
		h.set(func() {
			if len(h.used) > 0 {
				t.Errorf("%+v", h.used)
			}
		})
	})
	t.Run("looping", func(t *testing.T) {
		h := newHouse(t, "127.0.0.1:1", func(c *imsg.SessionConfig) { c.Mode = imsg.ModeGetsockname })
		h.set(func() { play(h) })
		c := h.dial()
		c.hears("554 gate.example msg_loop_avoidance\r\n")
		c.end()
		h.seen("Leave", func() bool { return len(h.left) == 1 })
		h.set(func() {
			if len(h.used) > 0 {
				t.Errorf("%+v", h.used)
			}
		})
		h.LogsNot("CLOSE")
	})
}

func TestNothingIsAskedWithoutQuota(t *testing.T) {
	r := quotas(t, nil, nil, imsg.RateConnections)
	r.data()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.used) > 0 {
		t.Errorf("%+v", r.used)
	}
}

// A use that is refused is answered in its turn, and the session goes on.
func TestQuotaOfCommands(t *testing.T) {
	over := map[imsg.Rate]imsg.Refusal{imsg.RateRecipients: imsg.RefusedRate, imsg.RateMessages: imsg.RefusedRate}
	t.Run("recipients", func(t *testing.T) {
		r := quotas(t, over, nil, imsg.RateRecipients)
		r.hello()
		r.client.say("MAIL FROM:<a>\r\nRCPT TO:<b>\r\nNOOP\r\n")
		r.server.hears("MAIL FROM:<a>\r\nNOOP\r\n")
		r.toClient("250 ok\r\n")
		r.client.hears("552 5.3.2 gate.example msg_ratelimit_rcptto\r\n")
		r.toClient("250 noop\r\n")
	})
	t.Run("messages", func(t *testing.T) {
		r := quotas(t, over, nil, imsg.RateMessages)
		r.ready()
		r.client.say("DATA\r\n")
		r.client.hears("552 5.3.2 gate.example msg_ratelimit_messages\r\n")
		r.toServer("RSET\r\n")
		r.nothingSpooled()
	})
	t.Run("messages in chunks", func(t *testing.T) {
		r := quotas(t, over, func(c *imsg.SessionConfig) { c.ScanChunks = true }, imsg.RateMessages)
		r.envelope()
		r.client.say("BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
		r.server.hears("RSET\r\n")
		r.server.say("250 ok\r\n")
		r.client.hears("552 gate.example msg_ratelimit_messages\r\n")
		r.server.hears("NOOP\r\n")
	})
	t.Run("record unusable", func(t *testing.T) {
		r := quotas(t, map[imsg.Rate]imsg.Refusal{imsg.RateMessages: imsg.RefusedRateError}, nil, imsg.RateMessages)
		r.ready()
		r.client.say("DATA\r\n")
		r.client.hears("451 4.3.0 gate.example msg_ratelimit_error\r\n")
		r.toServer("RSET\r\n")
	})
	t.Run("lockd is gone", func(t *testing.T) {
		if testing.Short() {
			t.Skip("waits for another lockd")
		}
		r := quotas(t, nil, nil, imsg.RateMessages)
		r.ready()
		r.lockd.Close()
		r.client.say("DATA\r\n")
		r.client.hears("451 4.3.0 gate.example msg_ratelimit_error\r\n")
		r.toServer("RSET\r\n")
	})
}

func TestQuotaOfBytes(t *testing.T) {
	r := quotas(t, map[imsg.Rate]imsg.Refusal{imsg.RateBytes: imsg.RefusedRate}, nil, imsg.RateBytes)
	r.data()
	r.text("1234\r\n")
	r.client.say(".\r\n")
	r.server.end()
	r.client.hears("552 5.3.2 gate.example msg_ratelimit_bytes\r\n")
	r.client.say("MAIL FROM:<a>\r\n")
	r.client.hears("451 4.3.2 gate.example msg_ratelimit_bytes\r\n")
	r.usesAre(imsg.QuotaUse{Counter: imsg.RateBytes, Amount: 6})
}

// Too many refusals of the server: ours takes the place of the last one, whatever
// the client is doing meanwhile. What it has sent behind is answered, too.
func TestRejection(t *testing.T) {
	refused := map[imsg.Rate]imsg.Refusal{imsg.RateMailFromRejects: imsg.RefusedRate, imsg.RateRcptToRejects: imsg.RefusedRate, imsg.RateAuthRejects: imsg.RefusedRate}
	all := []imsg.Rate{imsg.RateMailFromRejects, imsg.RateRcptToRejects, imsg.RateAuthRejects}
	const trouble = "503 5.5.1 gate.example msg_transaction_failed\r\n"
	const unknown = "502 5.5.2 gate.example msg_unimpl_command\r\n"
	for name, tc := range map[string]struct {
		says, reaches, server, hears string
		reason                       string
		found                        imsg.Found
	}{
		"MAIL": {
			"MAIL FROM:<a>\r\n", "MAIL FROM:<a>\r\n", "550 no\r\n", "550 5.7.1 gate.example msg_ratelimit_mailfrom_rejects\r\n",
			"msg_ratelimit_mailfrom_rejects", imsg.FoundRateMailFrom,
		},
		"RCPT, many lines": {
			"MAIL FROM:<a>\r\nRCPT TO:<b>\r\n", "MAIL FROM:<a>\r\nRCPT TO:<b>\r\n", "250 ok\r\n550-no\r\n550 no\r\n", "250 ok\r\n550 5.7.1 gate.example msg_ratelimit_rcptto_rejects\r\n",
			"msg_ratelimit_rcptto_rejects", imsg.FoundRateRcptTo,
		},
		"AUTH": {
			"AUTH PLAIN x\r\n", "AUTH PLAIN x\r\n", "535 no\r\n", "550 5.7.1 gate.example msg_ratelimit_auth_rejects\r\n",
			"msg_ratelimit_auth_rejects", 0,
		},
		"AUTH, a command behind": {
			"AUTH PLAIN x\r\nRSET\r\n", "AUTH PLAIN x\r\n", "535 no\r\n", "550 5.7.1 gate.example msg_ratelimit_auth_rejects\r\n250 2.0.0 gate.example OK\r\n",
			"msg_ratelimit_auth_rejects", 0,
		},
		"a whole group": {
			"RSET\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nRCPT TO:<c>\r\nDATA\r\n", "RSET\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nRCPT TO:<c>\r\nDATA\r\n",
			"250 reset\r\n550 no\r\n503 no\r\n503 no\r\n503 no\r\n", "250 reset\r\n550 5.7.1 gate.example msg_ratelimit_mailfrom_rejects\r\n" + trouble + trouble + trouble,
			"msg_ratelimit_mailfrom_rejects", imsg.FoundRateMailFrom,
		},
		"own replies behind": {
			"MAIL FROM:<a>\r\nXEXCH50 1 2\r\nRSET\r\nVRFY x\r\n", "MAIL FROM:<a>\r\nRSET\r\nVRFY x\r\n", "550 no\r\n",
			"550 5.7.1 gate.example msg_ratelimit_mailfrom_rejects\r\n" + unknown + "250 2.0.0 gate.example OK\r\n" + unknown,
			"msg_ratelimit_mailfrom_rejects", imsg.FoundRateMailFrom,
		},
		"a chunk behind": {
			"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "MAIL FROM:<a>\r\nRCPT TO:<b>\r\n", "550 no\r\n503 no\r\n",
			"550 5.7.1 gate.example msg_ratelimit_mailfrom_rejects\r\n" + trouble + unknown + "250 2.0.0 gate.example OK\r\n",
			"msg_ratelimit_mailfrom_rejects", imsg.FoundRateMailFrom,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := quotas(t, refused, func(c *imsg.SessionConfig) { c.ScanChunks = true }, all...)
			r.hello()
			r.client.say(tc.says)
			r.server.hears(tc.reaches)
			r.server.say(tc.server)
			r.client.hears(tc.hears)
			r.server.hears("QUIT\r\n")
			r.server.end()
			r.client.say("MAIL FROM:<x>\r\nQUIT\r\n")
			r.client.hears("451 4.3.2 gate.example " + tc.reason + "\r\n221 2.0.0 gate.example msg_sign_off\r\n")
			r.client.end()
			r.client.conn.Close()
			r.seen("Leave", func() bool { return len(r.left) == 1 })
			r.mu.Lock()
			defer r.mu.Unlock()
			switch {
			case tc.found == 0 && len(r.offences) > 0, tc.found != 0 && (len(r.offences) != 1 || r.offences[0].Found != tc.found):
				t.Errorf("offences %+v", r.offences)
			}
		})
	}
	t.Run("QUIT behind", func(t *testing.T) {
		r := quotas(t, refused, nil, all...)
		r.hello()
		r.client.say("MAIL FROM:<a>\r\nQUIT\r\n")
		r.server.hears("MAIL FROM:<a>\r\nQUIT\r\n")
		r.server.say("550 no\r\n")
		r.client.hears("550 5.7.1 gate.example msg_ratelimit_mailfrom_rejects\r\n221 2.0.0 gate.example msg_sign_off\r\n")
		r.client.end()
	})
	t.Run("within a chunk", func(t *testing.T) {
		r := quotas(t, refused, func(c *imsg.SessionConfig) { c.ScanChunks, c.NatHeaderType = true, imsg.NatNone }, all...)
		r.envelope()
		r.client.say("BDAT 3\r\nabcRCPT TO:<x>\r\nBDAT 12 LAST\r\nQUIT\r\n")
		r.server.hears("BDAT 3\r\nabcRCPT TO:<x>\r\nBDAT 12\r\nQUIT\r\n")
		r.toClient("250 ok\r\n")
		r.server.say("550 no\r\n")
		r.client.hears("550 gate.example msg_ratelimit_rcptto_rejects\r\n502 gate.example msg_unimpl_command\r\n")
		r.client.say("QUIT\r\nNOOP\r\n")
		r.client.hears("250 gate.example OK\r\n")
	})
	t.Run("half-closed", func(t *testing.T) {
		r := quotas(t, refused, nil, all...)
		r.hello()
		r.toServer("MAIL FROM:<a>\r\n")
		r.client.conn.(interface{ CloseWrite() error }).CloseWrite()
		r.server.end() // the end went on
		r.server.say("550 no\r\n")
		r.client.hears("550 5.7.1 gate.example msg_ratelimit_mailfrom_rejects\r\n")
		r.client.end()
	})
	t.Run("record unusable", func(t *testing.T) {
		r := quotas(t, map[imsg.Rate]imsg.Refusal{imsg.RateMailFromRejects: imsg.RefusedRateError}, nil, all...)
		r.hello()
		r.toServer("MAIL FROM:<a>\r\n")
		r.server.say("550 no\r\n")
		r.client.hears("451 4.3.0 gate.example msg_ratelimit_error\r\n")
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.offences) > 0 {
			t.Errorf("offences %+v", r.offences)
		}
	})
}

// A chunk whose octets are still to come when the server is left gets its answer
// behind them, be it refused already or not begun.
func TestRejectedBeforeAChunk(t *testing.T) {
	for name, tc := range map[string]struct{ first, answer string }{
		"not begun": {"BDAT 0\r\n", "502 gate.example msg_unimpl_command\r\n"},
		"refused":   {"BDAT x\r\n", "503 gate.example msg_transaction_failed\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRigIn(t, scanChunks, func(h *house, _ string) {
				h.uses, h.over = 1<<imsg.RateRcptToRejects, map[imsg.Rate]imsg.Refusal{imsg.RateRcptToRejects: imsg.RefusedRate}
			})
			r.envelope()
			r.client.say(tc.first)
			if name == "refused" {
				r.server.hears("RSET\r\n")
				r.server.say("250 reset\r\n")
			}
			r.client.line()
			r.client.say("RCPT TO:<c>\r\nBDAT 5\r\n")
			r.server.hears("RCPT TO:<c>\r\n")
			r.server.say("550 no\r\n")
			r.client.hears("550 gate.example msg_ratelimit_rcptto_rejects\r\n")
			r.client.say("helloQUIT\r\n")
			r.client.hears(tc.answer + "221 gate.example msg_sign_off\r\n")
		})
	}
}
