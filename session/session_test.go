package session

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

const aMessage = "Subject: hello\r\n\r\n..stuffed\r\nlast line\r\n"

func TestCleanMail(t *testing.T) {
	r := newRig(t, nil)
	r.data()
	r.client.say(aMessage)
	r.natHeader()
	r.server.hears(aMessage) // while the message is not complete
	r.client.say(".\r\n")
	r.server.hears(".\r\n")
	r.toClient("250 2.0.0 queued\r\n")
	r.toServer("QUIT\r\n")
	r.toClient("221 bye\r\n")
	r.server.conn.Close()
	r.client.end()
	r.seen("Leave", func() bool { return len(r.left) == 1 && r.left[0] == 101 })
	r.mu.Lock()
	scanned := r.scanned[0]
	r.mu.Unlock()
	head, body, _ := strings.Cut(scanned, "\r\n")
	if want := "Subject: hello\r\n\r\n.stuffed\r\nlast line\r\n"; body != want {
		t.Errorf("scanned %q\nwant %q", body, want)
	}
	if want := "X-Proxy-Spool-Info: src=" + r.client.conn.LocalAddr().String() + ", ident=, dst=" + r.server.conn.LocalAddr().String() + ", trns=0"; head != want {
		t.Errorf("spool header %q\nwant %q", head, want)
	}
	r.nothingSpooled()
}

func (r *rig) nothingSpooled() {
	r.t.Helper()
	imsgtest.Until(r.t, "nothing is spooled", func() bool {
		entries, err := os.ReadDir(".")
		return err == nil && !slices.ContainsFunc(entries, func(e os.DirEntry) bool {
			info, err := e.Info() // an empty one may wait for another session
			return err == nil && info.Size() > 0
		})
	})
}

func TestVirusIsCutOff(t *testing.T) {
	r := newRig(t, nil)
	r.set(func() {
		r.verdict = found(imsg.Finding{Outcome: imsg.Caught, Name: "Eicar"}, imsg.Finding{Outcome: imsg.Clean})
	})
	r.data()
	r.text("evil\r\n")
	r.client.say(".\r\n")
	r.client.hears("550 5.7.1 gate.example msg_virus_found (Eicar)\r\n")
	r.server.end()
	r.client.say("MAIL FROM:<x@y>\r\nRCPT TO:<z>\r\nDATA\r\nRSET\r\nNOOP\r\nEHLO me\r\nHELO\r\nVRFY x\r\nQUIT\r\n")
	r.client.hears("451 4.3.2 gate.example msg_virus_found (Eicar)\r\n" +
		"503 5.5.1 gate.example msg_virus_no_more\r\n503 5.5.1 gate.example msg_virus_no_more\r\n" +
		"250 2.0.0 gate.example OK\r\n250 2.0.0 gate.example OK\r\n250 gate.example msg_hello\r\n" +
		"502 5.5.2 gate.example msg_unimpl_command\r\n502 5.5.2 gate.example msg_unimpl_command\r\n221 2.0.0 gate.example msg_sign_off\r\n")
	r.client.end()
	o := r.offence()
	if o.Found != imsg.FoundVirus || o.Virus != "Eicar" || o.MailFrom != "a@client.example" || o.Helo != "client.example" ||
		o.Recipients != 1 || o.Transaction != 1 || o.Size != 6 || o.Spool != "" || o.Number != 101 {
		t.Errorf("offence %+v", o)
	}
}

func TestSpam(t *testing.T) {
	for _, refuse := range []bool{true, false} {
		r := newRig(t, func(c *imsg.SessionConfig) { c.SpamRefuse = refuse })
		r.set(func() {
			r.verdict = found(imsg.Finding{Outcome: imsg.Clean}, imsg.Finding{Outcome: imsg.Clean, Score: 7})
		})
		r.data()
		r.text("buy\r\n")
		r.client.say(".\r\n")
		if refuse {
			r.client.hears("550 5.7.1 gate.example msg_spam_found [7.000000]\r\n")
			r.server.end()
		} else {
			r.server.hears(".\r\n")
		}
	}
}

func TestScannerFails(t *testing.T) {
	for name, v := range map[string]imsg.Verdict{
		"failed":    found(imsg.Finding{Outcome: imsg.Failed, Problem: "gone"}, imsg.Finding{Outcome: imsg.Clean}),
		"timed out": found(imsg.Finding{Outcome: imsg.TimedOut}, imsg.Finding{Outcome: imsg.Clean}),
		"nonsense":  found(imsg.Finding{Outcome: imsg.NotAsked}, imsg.Finding{Outcome: imsg.Clean}),
	} {
		for _, ignore := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, func(c *imsg.SessionConfig) { c.IgnoreErrors = ignore })
				r.set(func() { r.verdict = v })
				r.data()
				r.text("x\r\n")
				r.client.say(".\r\n")
				if ignore {
					r.server.hears(".\r\n")
					return
				}
				r.client.hears("451 4.3.0 gate.example msg_scanner_failed\r\n")
				r.server.end()
				r.client.say("QUIT\r\n")
				r.client.hears("221 2.0.0 gate.example msg_sign_off\r\n")
			})
		}
	}
}

func TestSpamScannerFailurePasses(t *testing.T) {
	r := newRig(t, nil)
	r.set(func() {
		r.verdict = found(imsg.Finding{Outcome: imsg.Clean}, imsg.Finding{Outcome: imsg.Failed, Problem: "gone"})
	})
	r.data()
	r.text("x\r\n.\r\n")
}

// scand dies while it looks: 451, never clean. Its successor serves the next one.
func TestScandDies(t *testing.T) {
	r := newRig(t, nil)
	r.set(func() { r.silent = true; r.onScan = func(uint64) { go r.scand.Close() } })
	r.data()
	r.text("x\r\n")
	r.client.say(".\r\n")
	r.client.hears("451 4.3.0 gate.example msg_scanner_failed\r\n")
	r.server.end()
}

func TestLockedMeanwhile(t *testing.T) {
	r := newRig(t, nil)
	r.set(func() {
		r.onScan = func(n uint64) { r.lockd.Send(&imsg.Locked{Numbers: []uint64{n}}) }
	})
	r.data()
	r.text("x\r\n")
	r.lockd.Send(&imsg.Locked{Numbers: []uint64{101}})
	// An answered Snapshot shows that Locked has been heard.
	if _, err := link.Ask(r.lockd, &imsg.Snapshot{}, imsgtest.Patience); err != nil {
		t.Fatal(err)
	}
	r.client.say(".\r\n")
	r.client.hears("451 4.4.0 gate.example msg_virus_locked\r\n")
	r.client.end()
	r.server.end()
}

// lockd's word may overtake the goroutine that was admitted.
func TestLockedBeforeTheFirstStep(t *testing.T) {
	r := newRigIn(t, nil, func(h *house, _ string) {
		h.onEnter = func(number uint64) {
			h.lockd.Send(&imsg.Locked{Numbers: []uint64{number}})
		}
	})
	r.data()
	r.text("text\r\n")
	r.client.say(".\r\n")
	r.client.hears("451 4.4.0 gate.example msg_virus_locked\r\n")
	r.client.end()
	r.server.end()
}

// What passes by itself is a refusal for now, of which a sender tries again; a
// lock is one for good.
func TestRefusedAdmission(t *testing.T) {
	for refusal, want := range map[imsg.Refusal]string{
		imsg.RefusedConnections: "421 gate.example msg_max_reached", imsg.RefusedLoad: "421 gate.example msg_system_load",
		imsg.RefusedHost: "421 gate.example msg_max_per_host", imsg.RefusedLocked: "554 gate.example msg_virus_locked",
		imsg.RefusedRateError: "421 gate.example msg_ratelimit_error", imsg.RefusedRate: "421 gate.example msg_rate_reject",
	} {
		h := newHouse(t, "127.0.0.1:1", nil)
		h.set(func() { h.refusal = refusal })
		c := h.dial()
		c.say("EHLO too early, yet harmless\r\n")
		c.hears(want + "\r\n")
		c.end()
	}
}

func TestNoLockd(t *testing.T) {
	if testing.Short() {
		t.Skip("waits out the admission")
	}
	h := newHouse(t, "127.0.0.1:1", nil)
	h.lockd.Close()
	c := h.dial()
	c.hears("421 gate.example msg_temp_unavail\r\n")
	c.end()
}

func TestServerUnreachable(t *testing.T) {
	h := newHouse(t, "127.0.0.1:1", nil)
	c := h.dial()
	c.hears("220 gate.example SMTP\r\n")
	c.say("EHLO x\r\nMAIL FROM:<a>\r\nQUIT\r\n")
	c.hears("250 gate.example msg_hello\r\n451 gate.example msg_cannot_connect [127.0.0.1]: connection refused\r\n221 gate.example msg_sign_off\r\n")
	c.end()
	h.seen("Leave", func() bool { return len(h.left) == 1 })
}

func TestTooManyTakeoverCommands(t *testing.T) {
	h := newHouse(t, "127.0.0.1:1", func(c *imsg.SessionConfig) { c.TakeoverCmds = 2 })
	c := h.dial()
	c.hears("220 gate.example SMTP\r\n")
	c.say("NOOP\r\nNOOP\r\nNOOP\r\n")
	c.hears("250 gate.example OK\r\n250 gate.example OK\r\n554 gate.example msg_transaction_failed\r\n")
	c.end()
}

func TestTakeoverTimesOut(t *testing.T) {
	h := newHouse(t, "127.0.0.1:1", func(c *imsg.SessionConfig) { c.TimeoutSession = time.Second })
	c := h.dial()
	c.hears("220 gate.example SMTP\r\n421 gate.example msg_session_timeout\r\n")
	c.end()
}

func TestIdleTimesOut(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.TimeoutIdle = time.Second })
	r.client.end()
	r.server.end()
}

func TestPipelining(t *testing.T) {
	r := newRig(t, nil)
	r.toClient("220 mx\r\n")
	// Two transactions, the first DATA refused, all in one go: what follows
	// DATA waits for its reply.
	r.client.say("EHLO c\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nMAIL FROM:<c>\r\nRCPT TO:<d>\r\nBURL x\r\nDATA\r\ntext\r\n.\r\nNOOP\r\n")
	r.server.hears("EHLO c\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n")
	r.server.say("250-mx\r\n250-BURL imap\r\n250-CHUNKING\r\n250 PIPELINING\r\n250 ok\r\n550 no\r\n554 no valid recipients\r\n")
	r.client.hears("250-mx\r\n250-BUR* imap\r\n250-CHU*KING\r\n250 PIPELINING\r\n250 ok\r\n550 no\r\n554 no valid recipients\r\n")
	r.server.hears("MAIL FROM:<c>\r\nRCPT TO:<d>\r\nDATA\r\n")
	r.server.say("250 ok\r\n250 ok\r\n")
	r.client.hears("250 ok\r\n250 ok\r\n502 gate.example msg_unimpl_command\r\n")
	r.toClient("354 go\r\n")
	r.natHeaderApart()
	r.server.hears("text\r\n.\r\nNOOP\r\n")
	r.toClient("250 queued\r\n250 noop\r\n")
}

func TestUnsolicitedReply(t *testing.T) {
	r := newRig(t, nil)
	r.toClient("220 mx\r\n")
	r.server.say("250 surprise\r\n")
	r.client.hears("421 gate.example msg_proto_error\r\n")
	r.client.end()
}

func TestServerSays421(t *testing.T) {
	r := newRig(t, nil)
	r.toClient("220 mx\r\n")
	r.toClient("421 mx going down\r\n")
	r.client.end()
	r.server.end()
}

func TestBare354(t *testing.T) {
	r := newRig(t, nil)
	r.toClient("220 mx\r\n")
	r.toServer("NOOP\r\n")
	r.server.say("354 send\r\n")
	r.client.hears("421 gate.example msg_proto_error\r\n")
	r.client.end()
}

func TestSizeLimit(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.SizeLimit = 100 })
	r.toClient("220 mx\r\n")
	r.client.say("EHLO c\r\n")
	r.server.hears("EHLO c\r\n")
	r.server.say("250-mx\r\n250 SIZE 1000\r\n")
	r.client.hears("250-mx\r\n250 SIZE 100\r\n")
	r.client.say("MAIL FROM:<a> SIZE=101\r\n")
	r.client.hears("552 gate.example msg_size_limit (100 octets at most)\r\n")
	r.toServer("MAIL FROM:<a>\r\n")
	r.toClient("250 ok\r\n")
	r.toServer("DATA\r\n")
	r.toClient("354 ok\r\n")
	r.client.say(strings.Repeat("0123456789\r\n", 20) + ".\r\nQUIT\r\n")
	r.client.hears("552 gate.example msg_size_limit (100 octets at most)\r\n221 gate.example msg_sign_off\r\n")
	r.client.end()
}

func TestSTARTTLS(t *testing.T) {
	r := newRig(t, nil)
	r.toClient("220 mx\r\n")
	r.toServer("EHLO c\r\n")
	r.toClient("250-mx\r\n250 STARTTLS\r\n")
	r.toServer("STARTTLS\r\n")
	r.toClient("220 go\r\n")
	r.toServer("\x16\x03\x01 anything\n at all \x00")
	r.toClient("\r\n.\r\n\xff\xfe")
	r.client.conn.(*net.TCPConn).CloseWrite()
	r.server.end()
	r.toClient("still talking")
	r.server.conn.Close()
	r.client.end()
}

func TestSTARTTLSRefused(t *testing.T) {
	r := newRig(t, nil)
	r.toClient("220 mx\r\n")
	r.toServer("STARTTLS\r\n")
	r.toClient("454 not now\r\n")
	r.toServer("NOOP\r\n")
	r.toClient("250 ok\r\n")
}

func TestSTARTTLSInjection(t *testing.T) {
	r := newRig(t, nil)
	r.toClient("220 mx\r\n")
	r.client.say("STARTTLS\r\nRSET\r\n")
	r.client.hears("554 gate.example msg_proto_error\r\n")
	r.client.end()
	r.server.end()
}

func TestAuth(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) {
		c.AuthRequire = imsg.AuthIfSupported
		c.AuthSkip = imsg.SkipAntivirus | imsg.SkipAntispam
	})
	r.toClient("220 mx\r\n")
	r.toServer("EHLO c\r\n")
	r.toClient("250-mx\r\n250 AUTH PLAIN LOGIN\r\n")
	r.client.say("DATA\r\n")
	r.client.hears("530 gate.example msg_auth_required\r\n")
	r.toServer("AUTH LOGIN\r\n")
	r.toClient("334 VXNlcm5hbWU6\r\n")
	r.toServer("DATA\r\n") // a response, not a command
	r.toClient("334 UGFzc3dvcmQ6\r\n")
	r.toServer("*\r\n")
	r.toClient("501 cancelled\r\n")
	r.toServer("AUTH PLAIN AGEAYg==\r\n")
	r.toClient("235 ok\r\n")
	r.toServer("MAIL FROM:<a>\r\n")
	r.toClient("250 ok\r\n")
	r.toServer("DATA\r\n")
	r.toClient("354 ok\r\n")
	r.text("unscanned\r\n.\r\n")
	r.set(func() {
		if len(r.scanned) > 0 {
			t.Errorf("scanned %q", r.scanned)
		}
	})
}

func TestAuthDirect(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.AuthSkip = imsg.SkipDirect })
	r.toClient("220 mx\r\n")
	r.client.say("AUTH PLAIN AGEAYg==\r\nanything, in order\n")
	r.server.hears("AUTH PLAIN AGEAYg==\r\n")
	r.toClient("235 ok\r\n")
	r.server.hears("anything, in order\n")
	r.toServer("\x00\x01")
	r.toClient("whatever")
}

func TestBadCommands(t *testing.T) {
	r := newRig(t, nil)
	r.toClient("220 mx\r\n")
	for _, bad := range []string{"NO\x00OP\r\n", "NOOP \x07\r\n", strings.Repeat("x", 100_000) + "\r\n", "a\rb\r\n"} {
		r.client.say(bad)
		r.client.hears("500 gate.example msg_proto_error\r\n")
	}
	r.client.say("BDAT 9 LAST\r\nQUIT\r\n123NOOP\r\n")
	r.client.hears("502 gate.example msg_unimpl_command\r\n")
	r.server.hears("NOOP\r\n")
	r.toClient("250 ok\r\n")
	r.client.say("  mAiL \t FROM:<x>  \r\n")
	r.server.hears("mAiL FROM:<x>\r\n")
}

// A client that closes its writing half still gets what it is owed.
func TestHalfClose(t *testing.T) {
	r := newRig(t, nil)
	r.toClient("220 mx\r\n")
	r.toServer("NOOP\r\nQUIT\r\n")
	r.client.conn.(*net.TCPConn).CloseWrite()
	r.server.end()
	r.toClient("250 ok\r\n221 bye\r\n")
	r.server.conn.Close()
	r.client.end()
}

// A client that vanishes in the middle of a message leaves nothing behind.
func TestClientVanishes(t *testing.T) {
	r := newRig(t, nil)
	r.data()
	r.client.say("half a mess")
	r.natHeaderApart()
	r.server.hears("half a mess")
	r.client.conn.Close()
	r.server.end()
	r.seen("Leave", func() bool { return len(r.left) == 1 })
	r.nothingSpooled()
}

func TestSpoolIsKept(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.SpoolLeaveOn = imsg.LeaveVirus })
	r.set(func() { r.verdict = found(imsg.Finding{Outcome: imsg.Caught, Name: "V"}, imsg.Finding{}) })
	r.data()
	r.client.say("evil\r\n.\r\n")
	r.client.hears("550 5.7.1 gate.example msg_virus_found (V)\r\n")
	name := r.offence().Spool
	b, err := os.ReadFile(name)
	if err != nil || !strings.HasSuffix(string(b), "\r\nevil\r\n") {
		t.Errorf("kept %q: %q, %v", name, b, err)
	}
}

// Draining ends the process with its last session, not before.
func TestDrain(t *testing.T) {
	r := newRig(t, nil)
	r.toClient("220 mx\r\n")
	r.Tell(&imsg.Drain{})
	r.toServer("QUIT\r\n")
	r.toClient("221 bye\r\n")
	r.server.conn.Close()
	r.client.end()
	if err := wait(t, r.Ended); err != nil {
		t.Fatal(err)
	}
	r.Ended <- nil
}

// A fresh lockd hears of the sessions that live.
func TestLockdIsReplaced(t *testing.T) {
	r := newRig(t, nil)
	r.toClient("220 mx\r\n")
	r.lockd.Close()
	told := make(chan *imsg.Announce, 1)
	lockd := r.Join(imsg.Lockd, 0, func(q link.Request) {
		if a, ok := q.Message.(*imsg.Announce); ok {
			told <- a
			return
		}
		r.asLockd(q)
	})
	a := wait(t, told)
	if len(a.Sessions) != 1 || a.Sessions[0].Number != 101 || !a.Last {
		t.Errorf("announced %+v", a)
	}
	m, err := link.Ask(lockd, &imsg.Snapshot{}, imsgtest.Patience)
	if err != nil || len(m.Sessions) != 1 || m.Sessions[0].State != imsg.StatePre {
		t.Errorf("snapshot %+v, %v", m, err)
	}
	r.toServer("NOOP\r\n")
}

// A server that hangs up while a message is scanned, or a list is asked, leaves
// the client no more time to close than it ever has.
func TestServerGoesWhileWeAsk(t *testing.T) {
	r := newRig(t, nil)
	gone := make(chan bool)
	r.set(func() {
		r.onScan = func(uint64) {
			r.server.conn.Close()
			r.client.end()
			close(gone)
		}
	})
	r.data()
	r.client.say("x\r\n.\r\n")
	wait(t, gone)
	r.seen("Leave", func() bool { return len(r.left) == 1 })
}
