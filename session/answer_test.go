package session

import (
	"net"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// idles waits until a client that came now is ended by timeout_idle: so much time
// has passed.
func (h *house) idles() {
	h.t.Helper()
	c := h.dial()
	c.end()
}

// A server may think longer about a message it has whole than timeout_idle: who
// hangs up then has it sent again (RFC 5321, 4.5.3.2.6). Behind the answer the
// old limit holds.
func TestAnswerToMessageIsAwaited(t *testing.T) {
	soon := func(c *imsg.SessionConfig) { c.TimeoutIdle, c.ScanChunks = time.Second, true }
	text := func(r *rig) {
		r.data()
		r.text("x\r\n.\r\n")
	}
	over := func(r *rig) {
		r.t.Helper()
		r.toClient("250 queued\r\n")
		r.client.end()
		r.server.end()
		r.seen("Leave", func() bool { return len(r.left) > 1 })
	}
	t.Run("DATA", func(t *testing.T) {
		r := newRig(t, soon)
		text(r)
		r.idles()
		over(r)
	})
	t.Run("chunks", func(t *testing.T) {
		r := newRig(t, soon)
		r.envelope()
		r.client.say("BDAT 3 LAST\r\nabc")
		r.natChunk()
		r.server.hears("BDAT 3\r\nabc")
		r.server.say("250 ok\r\n")
		r.server.hears("BDAT 0 LAST\r\n")
		r.idles()
		over(r)
	})
	t.Run("commands behind", func(t *testing.T) {
		r := newRig(t, soon)
		text(r)
		r.toServer("NOOP\r\n")
		r.idles()
		r.toClient("250 queued\r\n")
		r.client.end()
	})
	t.Run("a question behind", func(t *testing.T) {
		asked, answer := make(chan bool, 1), make(chan bool)
		r := newRigIn(t, func(c *imsg.SessionConfig) { soon(c); c.DNSBL, c.AuthSkip = true, imsg.SkipDNSBL }, func(h *house, _ string) {
			h.lookup = func(m imsg.Message) imsg.Message { return &imsg.DNSBLResult{} }
		})
		text(r)
		r.set(func() {
			r.lookup = func(m imsg.Message) imsg.Message {
				asked <- true
				r.mu.Unlock()
				<-answer
				r.mu.Lock()
				return &imsg.DNSBLResult{}
			}
		})
		r.client.say("MAIL FROM:<c@client.example>\r\n")
		wait(t, asked)
		r.toClient("250 queued\r\n") // while the question is open
		r.idles()
		close(answer)
		r.server.hears("MAIL FROM:<c@client.example>\r\n")
		r.client.end()
	})
	t.Run("a client that closed its half", func(t *testing.T) {
		r := newRig(t, soon)
		text(r)
		r.client.conn.(*net.TCPConn).CloseWrite()
		r.server.end()
		r.idles()
		r.toClient("250 queued\r\n")
		r.client.end()
	})
	t.Run("a client that is gone", func(t *testing.T) {
		r := newRig(t, soon)
		text(r)
		r.client.conn.(*net.TCPConn).SetLinger(0)
		r.client.conn.Close()
		r.server.end()
		r.seen("Leave", func() bool { return len(r.left) == 1 })
	})
}
