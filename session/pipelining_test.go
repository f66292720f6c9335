// A client that sends far ahead of the replies: nothing it may do so is refused,
// and nobody waits for ever (RFC 2920).

package session

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// least is the smallest pipeline_size there is.
const least = 16

func leastPipeline(c *imsg.SessionConfig) {
	c.PipelineSize, c.ScanChunks, c.TakeoverCmds = least, true, 10_000
	c.NatHeader, c.NatHeaderType = "X", imsg.NatIPOnly
}

// quiet sees to it that a side has heard nothing that it has not read.
func (p *talker) quiet() {
	p.t.Helper()
	p.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if b, err := p.r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("%s hears %q, %v", p.name, b, err)
	}
	p.conn.SetDeadline(imsgtest.Deadline())
	p.r.Reset(p.conn)
}

// patient is for tests that move much.
func (r *rig) patient() {
	for _, p := range []*talker{r.client, r.server} {
		p.conn.SetDeadline(time.Now().Add(2 * time.Minute))
	}
}

// waited waits until the client was kept waiting for a place.
func (h *house) waited() {
	h.t.Helper()
	h.seen("a wait", func() bool { return h.counts[imsg.CountPipeline] > 0 })
}

// numbered are n commands, told apart by their arguments.
func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// The client is read until pipeline_size replies are owed; each that comes makes
// room for one command.
func TestPipelineWaits(t *testing.T) {
	r := newRig(t, leastPipeline)
	r.toClient("220 mx\r\n")
	r.client.say(numbered("NOOP %d\r\n", 3*least))
	r.server.hears(numbered("NOOP %d\r\n", least))
	r.waited()
	r.server.quiet()
	for i := range 2 * least {
		r.toClient(fmt.Sprintf("250 %d\r\n", i))
		r.server.hears(fmt.Sprintf("NOOP %d\r\n", least+i))
	}
	r.server.quiet()
}

// Our own replies take places like those the server owes: a client cannot pile
// them up.
func TestPipelineOfOwnReplies(t *testing.T) {
	r := newRig(t, leastPipeline)
	r.toClient("220 mx\r\n")
	r.client.say("NOOP\r\n" + strings.Repeat("BURL\r\n", 2*least) + "HELP\r\n")
	r.server.hears("NOOP\r\n")
	r.waited()
	r.client.quiet()
	r.server.quiet()
	r.toClient("250 ok\r\n")
	r.client.hears(strings.Repeat("502 gate.example msg_unimpl_command\r\n", 2*least))
	r.server.hears("HELP\r\n")
}

// A client may write all it has to say before it reads a word.
func TestAllInOneWrite(t *testing.T) {
	const many, some = 1000, 50
	ok := func(verb string) string { return "250-" + verb + "\r\n250 ok\r\n" }
	const hello, unknown, bye = "220-mx\r\n220 mx ESMTP\r\n250-mx\r\n250-PIPELINING\r\n250-AUTH LOGIN\r\n250-BUR*\r\n250 CHUNKING\r\n", "502 gate.example msg_unimpl_command\r\n", "221 bye\r\n"
	mail, recipients := "MAIL FROM:<a>\r\n", numbered("RCPT TO:<%d@mx.example>\r\n", many)
	for name, tc := range map[string]struct{ says, hears, reaches, scanned string }{
		"recipients": {
			mail + recipients + "DATA\r\nSubject: x\r\n\r\nx\r\n.\r\n",
			ok("MAIL") + strings.Repeat(ok("RCPT"), many) + "354 go\r\n250 queued\r\n",
			mail + recipients + "DATA\r\nX: 127.0.0.1\r\nSubject: x\r\n\r\nx\r\n.\r\n",
			"Subject: x\r\n\r\nx\r\n",
		},
		"RSET": {
			strings.Repeat("RSET\r\n", many), strings.Repeat(ok("RSET"), many), strings.Repeat("RSET\r\n", many), "",
		},
		"chunks": {
			mail + "RCPT TO:<b>\r\n" + strings.Repeat("BDAT 1\r\nx", many) + "BDAT 2 LAST\r\n\r\n",
			ok("MAIL") + ok("RCPT") + strings.Repeat("250-\r\n250 chunk of 1\r\n", many) + "250-LAST\r\n250 chunk of 0\r\n",
			mail + "RCPT TO:<b>\r\nBDAT 16\r\nX: 127.0.0.1\r\n\r\n" + strings.Repeat("BDAT 1\r\nx", many) + "BDAT 2\r\n\r\nBDAT 0 LAST\r\n",
			"\r\n" + strings.Repeat("x", many) + "\r\n",
		},
		"refused chunks": {
			strings.Repeat("BDAT 6\r\nQUIT\r\n", many),
			strings.Repeat("503 gate.example msg_transaction_failed\r\n", many), "RSET\r\n", "",
		},
		"refused commands": {
			strings.Repeat("NOOP\r\nBURL x\r\nXEXCH50\r\n", many),
			strings.Repeat(ok("NOOP")+unknown+unknown, many), strings.Repeat("NOOP\r\n", many), "",
		},
		"mails": {
			strings.Repeat(mail+"RCPT TO:<b>\r\nDATA\r\nx\r\n.\r\n", some),
			strings.Repeat(ok("MAIL")+ok("RCPT")+"354 go\r\n250 queued\r\n", some),
			strings.Repeat(mail+"RCPT TO:<b>\r\nDATA\r\nX: 127.0.0.1\r\n\r\nx\r\n.\r\n", some),
			strings.TrimSuffix(strings.Repeat("\r\nx\r\n|", some), "|"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *imsg.SessionConfig) { leastPipeline(c); c.EarlyTalk = false })
			r.patient()
			heard := make(chan string, 1)
			go func() { heard <- r.server.obey(false) }()
			r.client.say("EHLO c\r\n" + tc.says + "QUIT\r\n")
			got, err := io.ReadAll(r.client.r)
			if want := hello + tc.hears + bye; err != nil || string(got) != want {
				t.Errorf("client hears %.2000q, %v\nwant %.2000q", got, err, want)
			}
			if got, want := wait(t, heard), "EHLO c\r\n"+tc.reaches+"QUIT\r\n"; got != want {
				t.Errorf("server hears %.2000q\nwant %.2000q", got, want)
			}
			if got := strings.Join(r.scannedBodies(), "|"); got != tc.scanned {
				t.Errorf("scanned %.2000q\nwant %.2000q", got, tc.scanned)
			}
		})
	}
}

// A client that is kept waiting hears of what becomes of its session meanwhile.
func TestPipelineWaitEnds(t *testing.T) {
	start := func(t *testing.T, change func(*imsg.SessionConfig), prepare func(*house, string)) *rig {
		r := newRigIn(t, func(c *imsg.SessionConfig) {
			leastPipeline(c)
			if change != nil {
				change(c)
			}
		}, prepare)
		r.toClient("220 mx\r\n")
		r.client.say("MAIL FROM:<a>\r\n" + numbered("RCPT TO:<%d>\r\n", 2*least) + "QUIT\r\n")
		r.server.hears("MAIL FROM:<a>\r\n" + numbered("RCPT TO:<%d>\r\n", least-1))
		r.waited()
		return r
	}
	t.Run("421", func(t *testing.T) {
		r := start(t, nil, nil)
		r.toClient("421 down\r\n")
		r.client.end()
	})
	t.Run("close", func(t *testing.T) {
		r := start(t, nil, nil)
		r.server.conn.Close()
		r.client.end()
	})
	t.Run("silence", func(t *testing.T) {
		r := start(t, func(c *imsg.SessionConfig) { c.TimeoutIdle = time.Second }, nil)
		r.server.end()
		r.seen("Leave", func() bool { return len(r.left) == 1 })
	})
	t.Run("the client's end", func(t *testing.T) {
		r := start(t, nil, nil)
		r.client.conn.(*net.TCPConn).CloseWrite()
		r.server.say(strings.Repeat("250 ok\r\n", least))
		r.server.hears(rest(least-1, 2*least-1))
		r.server.say(strings.Repeat("250 ok\r\n", least))
		r.server.hears(rest(2*least-1, 2*least) + "QUIT\r\n")
		r.server.say("250 ok\r\n221 bye\r\n")
		r.client.hears(strings.Repeat("250 ok\r\n", 2*least+1) + "221 bye\r\n")
		r.server.conn.Close()
		r.client.end()
	})
	t.Run("one refusal too many", func(t *testing.T) {
		r := start(t, nil, func(h *house, _ string) {
			h.uses, h.over = 1<<imsg.RateRcptToRejects, map[imsg.Rate]imsg.Refusal{imsg.RateRcptToRejects: imsg.RefusedRate}
		})
		r.server.say("250 ok\r\n250 ok\r\n550 no\r\n")
		r.client.hears("250 ok\r\n250 ok\r\n550 gate.example msg_ratelimit_rcptto_rejects\r\n")
		r.client.hears(strings.Repeat("503 gate.example msg_transaction_failed\r\n", 2*least-2) + "221 gate.example msg_sign_off\r\n")
		r.client.end()
	})
	t.Run("takeover", func(t *testing.T) {
		r := start(t, func(c *imsg.SessionConfig) { c.RejectRcpt = "^20$" }, nil)
		r.server.say(strings.Repeat("250 ok\r\n", least))
		r.server.hears(rest(least-1, 20))
		r.server.say(strings.Repeat("250 ok\r\n", 21-least))
		r.client.hears(strings.Repeat("250 ok\r\n", 21) + "550 gate.example msg_regex_rcpt_to\r\n" +
			strings.Repeat("503 gate.example msg_transaction_failed\r\n", 2*least-21) + "221 gate.example msg_sign_off\r\n")
		r.client.end()
	})
}

// rest are the recipients from one on.
func rest(from, to int) string {
	return strings.TrimPrefix(numbered("RCPT TO:<%d>\r\n", to), numbered("RCPT TO:<%d>\r\n", from))
}

// Both sides are full at once, and for good: the client does not read, so that the
// server cannot write, so that it does not read either. Once the client reads, all
// comes through.
func TestBothSidesFull(t *testing.T) {
	for _, size := range []int{least, 1 << 20} {
		r := newRig(t, func(c *imsg.SessionConfig) { c.PipelineSize = size })
		r.toClient("220 mx\r\n")
		r.patient()
		r.client.conn.(*net.TCPConn).SetReadBuffer(256 << 10)
		r.server.conn.(*net.TCPConn).SetWriteBuffer(256 << 10)
		// More than any kernel holds, in few lines.
		const lines = 8000
		command, reply := "NOOP "+strings.Repeat("x", 2000)+"\r\n", "250-"+strings.Repeat("y", 4000)+"\r\n250 ok\r\n"
		go io.WriteString(r.client.conn, strings.Repeat(command, lines))
		var answered atomic.Int64
		done := make(chan bool)
		go func() {
			defer close(done)
			for range lines {
				r.server.line()
				if _, err := io.WriteString(r.server.conn, reply); err != nil {
					return
				}
				answered.Add(1)
			}
		}()
		stuck(answered.Load)
		if n := answered.Load(); n == lines {
			t.Errorf("%d replies found room", n)
		}
		got := make([]byte, len(reply))
		for i := range lines {
			if _, err := io.ReadFull(r.client.r, got); err != nil || string(got) != reply {
				t.Fatalf("reply %d: client hears %q, %v", i, got, err)
			}
		}
		wait(t, done)
	}
}
