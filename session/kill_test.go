package session

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// kill has lockd say that an operator ends a session.
func (h *house) kill(number uint64) {
	h.t.Helper()
	if err := h.lockd.Send(&imsg.MustEnd{Number: number}); err != nil {
		h.t.Fatal(err)
	}
}

// TestKill ends a session at every place: at once, with 421 where that can be said, and
// with no end of a message that is under way.
func TestKill(t *testing.T) {
	hello := func(r *rig) {
		r.toClient("220 mx.example ESMTP\r\n")
		r.toServer("EHLO client.example\r\n")
		r.toClient("250-mx.example\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n")
	}
	for _, c := range []struct {
		name   string
		change func(*imsg.SessionConfig)
		play   func(r *rig)
		hears  string // the client, at last
		quit   bool   // the server hears it
		log    string
	}{
		{"not greeted", nil, func(r *rig) { r.kill(101) }, endPlain, false, "CLOSE by=operator, "},
		{"greeted", nil, func(r *rig) {
			r.toClient("220 mx.example ESMTP\r\n")
			r.kill(101)
		}, endPlain, true, "CLOSE by=operator, "},
		{"idle", nil, func(r *rig) {
			hello(r)
			r.kill(101)
		}, endEnhanced, true, "CLOSE by=operator, "},
		{"a transaction without a message", nil, func(r *rig) {
			r.ready()
			r.kill(101)
		}, endEnhanced, true, "CLOSE by=operator, "},
		{"replies are owed", nil, func(r *rig) {
			hello(r)
			r.client.say("NOOP\r\nNOOP\r\n")
			r.server.hears("NOOP\r\nNOOP\r\n")
			r.toClient("250 one\r\n")
			r.kill(101)
		}, endEnhanced, false, "CLOSE by=operator, "},
		{"half a reply", nil, func(r *rig) {
			hello(r)
			r.toServer("NOOP\r\n")
			r.toClient("250-one\r\n")
			r.kill(101)
		}, "", false, "CLOSE by=operator, "},
		{"in a message", nil, func(r *rig) {
			r.data()
			r.client.say("\r\ntext\r\n")
			r.natHeader()
			r.server.hears("\r\ntext\r\n")
			r.kill(101)
		}, endEnhanced, false, "CLOSE by=operator, "},
		{"scanned", nil, func(r *rig) {
			asked := make(chan link.Request, 1)
			r.set(func() {
				r.player = func(room imsg.Room, q link.Request) bool {
					if room == imsg.Scand {
						asked <- q
					}
					return room == imsg.Scand
				}
			})
			r.data()
			r.client.say("\r\n.\r\n")
			r.natHeader()
			r.server.hears("\r\n")
			q := wait(r.t, asked)
			r.kill(101)
			r.client.hears(endEnhanced)
			clean := found(imsg.Finding{Outcome: imsg.Clean}, imsg.Finding{Outcome: imsg.Clean})
			family.Answer(q, &clean)
		}, "", false, "CLOSE by=operator, "},
		{"behind its end", nil, func(r *rig) {
			r.data()
			r.client.say("\r\n.\r\n")
			r.natHeader()
			r.server.hears("\r\n.\r\n")
			r.kill(101)
			r.toClient("250 2.0.0 taken\r\n")
		}, endEnhanced, true, "CLOSE by=operator, "},
		{"behind its end, twice", nil, func(r *rig) {
			r.data()
			r.client.say("\r\n.\r\n")
			r.natHeader()
			r.server.hears("\r\n.\r\n")
			r.kill(101)
			r.kill(101)
		}, endEnhanced, false, "CLOSE by=operator, "},
		{"direct", nil, func(r *rig) {
			hello(r)
			r.toServer("STARTTLS\r\n")
			r.toClient("220 go ahead\r\n")
			r.toServer("\x16\x03")
			r.kill(101)
		}, "", false, "CLOSE:DIRECT by=operator "},
		{"takeover", func(c *imsg.SessionConfig) { c.RejectHelo = "bad" }, func(r *rig) {
			r.toClient("220 mx.example ESMTP\r\n")
			r.client.say("HELO bad\r\n")
			r.server.hears("QUIT\r\n")
			r.client.hears("550 gate.example msg_regex_helo\r\n")
			r.kill(101)
		}, endPlain, false, "CLOSE:TAKEN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.change)
			c.play(r)
			r.client.hears(c.hears)
			if c.quit {
				r.server.hears("QUIT\r\n")
			}
			if rest, _ := io.ReadAll(r.server.r); len(rest) > 0 {
				t.Errorf("the server hears %q", rest)
			}
			r.client.conn.(*net.TCPConn).CloseWrite()
			r.client.end()
			r.Logs(c.log)
			r.Logs("session is ended by an operator")
			if c.hears == "" {
				return
			}
			if e := r.toldOf(imsg.EventDefer); e.Rule != imsg.RuleOperator || e.Code != 421 {
				t.Errorf("told is %+v", e)
			}
		})
	}
}

// TestKillEarly: lockd's word may come before the worker knows of the session.
func TestKillEarly(t *testing.T) {
	h := newHouse(t, "127.0.0.1:1", nil)
	h.set(func() { h.onEnter = func(n uint64) { h.lockd.Send(&imsg.MustEnd{Number: n}) } })
	io.Copy(io.Discard, h.dial().r) // to the end
	h.Logs("session is ended by an operator")
}

// TestKillWhileConnecting: nobody waits for a server that does not answer.
func TestKillWhileConnecting(t *testing.T) {
	h := newHouse(t, silent(t), func(c *imsg.SessionConfig) { c.TimeoutConnect = time.Hour })
	c := h.dial()
	h.seen("the session", func() bool { return h.number == 101 })
	h.Logs("NEW (1/1)")
	h.kill(101)
	if said, _ := io.ReadAll(c.r); len(said) > 0 && string(said) != endPlain {
		t.Errorf("the client hears %q", said)
	}
	h.Logs("CLOSE by=operator, ")
}
