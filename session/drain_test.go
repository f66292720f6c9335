package session

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	endPlain    = "421 gate.example msg_temp_unavail\r\n"
	endEnhanced = "421 4.3.2 gate.example msg_temp_unavail\r\n"
)

// mustEnd tells the worker that its generation must end, and waits until the
// session under way has been told.
func (r *rig) mustEnd() {
	r.t.Helper()
	r.Tell(&imsg.Drain{End: true})
	wait(r.t, r.drains)
}

// TestGenerationEnds has it end at every place of a session. What is under way
// there comes to its end first, and whatever it is, 421 comes last.
func TestGenerationEnds(t *testing.T) {
	hello := func(r *rig) {
		r.toClient("220 mx.example ESMTP\r\n")
		r.toServer("EHLO client.example\r\n")
		r.toClient("250-mx.example\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 ENHANCEDSTATUSCODES\r\n")
	}
	finish := func(r *rig) { // a message whose text is on its way
		r.client.say("text\r\n.\r\n")
		r.server.hears("text\r\n.\r\n")
		r.toClient("250 2.0.0 taken\r\n")
	}
	for _, c := range []struct {
		name   string
		change func(*imsg.SessionConfig)
		play   func(r *rig)
		hears  string // the client, at last
		quit   bool   // the server hears it
		log    string // of its end
	}{
		{"greeted", nil, func(r *rig) {
			r.toClient("220 mx.example ESMTP\r\n")
			r.mustEnd()
		}, endPlain, true, "CLOSE by=admin, "},
		{"not greeted", nil, func(r *rig) {
			r.mustEnd()
		}, endPlain, false, "CLOSE by=admin, "},
		{"XCLIENT", func(c *imsg.SessionConfig) { c.Mode = imsg.ModeFixedXclient }, func(r *rig) {
			r.server.say("220 mx.example ESMTP\r\n")
			r.server.hears("EHLO gate.example\r\n")
			r.mustEnd()
		}, endPlain, false, "CLOSE by=admin, "},
		{"idle", nil, func(r *rig) {
			hello(r)
			r.mustEnd()
		}, endEnhanced, true, "CLOSE by=admin, "},
		{"half a command", nil, func(r *rig) {
			hello(r)
			r.client.say("NO")
			r.mustEnd()
		}, endEnhanced, true, "CLOSE by=admin, "},
		{"a transaction without a message", nil, func(r *rig) {
			r.ready()
			r.mustEnd()
		}, endEnhanced, true, "CLOSE by=admin, "},
		{"replies are owed", nil, func(r *rig) {
			hello(r)
			r.client.say("NOOP\r\nNOOP\r\nBURL x\r\n")
			r.server.hears("NOOP\r\nNOOP\r\n")
			r.mustEnd()
			r.toClient("250 one\r\n")
			r.server.say("250 two\r\n")
			r.client.hears("250 two\r\n502 5.5.2 gate.example msg_unimpl_command\r\n")
		}, endEnhanced, true, "CLOSE by=admin, "},
		{"AUTH", nil, func(r *rig) {
			hello(r)
			r.toServer("AUTH LOGIN\r\n")
			r.mustEnd()
			r.toClient("334 VXNlcm5hbWU6\r\n")
		}, endEnhanced, true, "CLOSE by=admin, "},
		{"QUIT", nil, func(r *rig) {
			hello(r)
			r.toServer("QUIT\r\n")
			r.mustEnd()
			r.toClient("221 bye\r\n")
		}, "", true, "CLOSE by="},
		{"DATA refused", nil, func(r *rig) {
			r.ready()
			r.toServer("DATA\r\n")
			r.mustEnd()
			r.toClient("554 no\r\n")
		}, endEnhanced, true, "CLOSE by=admin, "},
		{"DATA", nil, func(r *rig) {
			r.ready()
			r.toServer("DATA\r\n")
			r.mustEnd()
			r.toClient("354 go ahead\r\n")
			r.client.say("\r\n")
			r.natHeader()
			r.server.hears("\r\n")
			finish(r)
		}, endEnhanced, true, "CLOSE by=admin, "},
		{"in a message", nil, func(r *rig) {
			r.data()
			r.client.say("\r\n")
			r.natHeader()
			r.server.hears("\r\n")
			r.mustEnd()
			finish(r)
		}, endEnhanced, true, "CLOSE by=admin, "},
		{"behind its end", nil, func(r *rig) {
			r.data()
			r.client.say("\r\n.\r\nNOOP\r\n")
			r.natHeader()
			r.server.hears("\r\n.\r\nNOOP\r\n")
			r.mustEnd()
			r.toClient("250 2.0.0 taken\r\n250 2.0.0 ok\r\n")
		}, endEnhanced, true, "CLOSE by=admin, "},
		{"scanned", nil, func(r *rig) {
			r.set(func() { r.onScan = func(uint64) { r.Parent.Send(&imsg.Drain{End: true}) } })
			r.data()
			r.client.say("\r\n.\r\n")
			r.natHeader()
			r.server.hears("\r\n.\r\n")
			wait(r.t, r.drains)
			r.toClient("250 2.0.0 taken\r\n")
		}, endEnhanced, true, "CLOSE by=admin, "},
		{"caught", nil, func(r *rig) {
			r.set(func() {
				r.verdict = found(imsg.Finding{Outcome: imsg.Caught, Name: "V"}, imsg.Finding{})
				r.onScan = func(uint64) { r.Parent.Send(&imsg.Drain{End: true}) }
			})
			r.data()
			r.text("evil\r\n")
			r.client.say(".\r\n")
			wait(r.t, r.drains)
			r.client.hears("550 5.7.1 gate.example msg_virus_found (V)\r\n")
		}, endEnhanced, false, "CLOSE:TAKEN"},
		{"between chunks", func(c *imsg.SessionConfig) { c.NatHeaderType = imsg.NatNone }, func(r *rig) {
			hello(r)
			r.toServer("MAIL FROM:<a@client.example>\r\n")
			r.toClient("250 2.1.0 Ok\r\n")
			r.toServer("RCPT TO:<b@mx.example>\r\n")
			r.toClient("250 2.1.5 Ok\r\n")
			r.toServer("BDAT 4\r\none,")
			r.toClient("250 2.0.0 four\r\n")
			r.mustEnd()
			r.toServer("BDAT 4\r\ntwo.")
			r.toClient("250 2.0.0 four\r\n")
			r.client.say("BDAT 0 LAST\r\n")
			r.server.hears("BDAT 0 LAST\r\n")
			r.toClient("250 2.0.0 taken\r\n")
		}, endEnhanced, true, "CLOSE by=admin, "},
		{"in a refused chunk", nil, func(r *rig) {
			hello(r)
			r.client.say("BDAT 4\r\non")
			r.server.hears("RSET\r\n")
			r.mustEnd()
			r.server.say("250 2.0.0 reset\r\n")
			r.client.say("e,")
			r.client.hears("503 5.5.1 gate.example msg_transaction_failed\r\n")
		}, endEnhanced, true, "CLOSE by=admin, "},
		{"takeover", func(c *imsg.SessionConfig) { c.RejectHelo = "bad" }, func(r *rig) {
			r.toClient("220 mx.example ESMTP\r\n")
			r.client.say("HELO bad\r\n")
			r.server.hears("QUIT\r\n")
			r.client.hears("550 gate.example msg_regex_helo\r\n")
			r.mustEnd()
		}, endPlain, false, "CLOSE:TAKEN"},
		{"takeover in a message", func(c *imsg.SessionConfig) { c.SizeLimit = 10 }, func(r *rig) {
			r.data()
			r.client.say("\r\n" + strings.Repeat("x", 20))
			r.client.hears("552 5.3.4 gate.example msg_size_limit (10 octets at most)\r\n")
			r.mustEnd()
			r.client.say("more\r\n.\r\n")
		}, endEnhanced, false, "CLOSE:TAKEN"},
		{"STARTTLS", nil, func(r *rig) {
			hello(r)
			r.toServer("STARTTLS\r\n")
			r.mustEnd()
			r.toClient("220 go ahead\r\n")
		}, "", false, "CLOSE:DIRECT by=admin "},
		{"direct", nil, func(r *rig) {
			hello(r)
			r.toServer("STARTTLS\r\n")
			r.toClient("220 go ahead\r\n")
			r.toServer("\x16\x03")
			r.mustEnd()
		}, "", false, "CLOSE:DIRECT by=admin "},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(cfg *imsg.SessionConfig) {
				cfg.ScanChunks = true
				if c.change != nil {
					c.change(cfg)
				}
			})
			c.play(r)
			r.client.hears(c.hears)
			if c.quit && c.name != "QUIT" {
				r.server.hears("QUIT\r\n")
			}
			io.Copy(io.Discard, r.server.r) // to the end
			r.client.conn.(*net.TCPConn).CloseWrite()
			r.client.end()
			r.Logs(c.log)
			if err := wait(t, r.Ended); err != nil {
				t.Fatal(err)
			}
			r.Ended <- nil
		})
	}
}

// silent is the address of a server that does not answer.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) })
	for err == nil { // until the kernel drops what comes
		var c net.Conn
		if c, err = net.DialTimeout("tcp4", l.Addr().String(), 300*time.Millisecond); err == nil {
			t.Cleanup(func() { c.Close() })
		}
	}
	return l.Addr().String()
}

// TestEndWhileConnecting: nobody waits for a server that does not answer.
func TestEndWhileConnecting(t *testing.T) {
	h := newHouse(t, silent(t), func(c *imsg.SessionConfig) { c.TimeoutConnect = time.Hour })
	c := h.dial()
	h.seen("the session", func() bool { return h.number == 101 })
	h.Tell(&imsg.Drain{End: true})
	c.hears(endPlain)
	c.end()
}

// TestDrainIsAnswered when nobody can be judged by the configuration any more.
func TestDrainIsAnswered(t *testing.T) {
	h := newHouse(t, "127.0.0.1:1", nil)
	h.set(func() { h.waits = true })
	c := h.dial()
	h.seen("the question", func() bool { return len(h.entering) == 1 })
	h.Tell(&imsg.Drain{})
	// It listens no longer, but does not say so yet.
	h.seen("a closed listener", func() bool {
		n, err := net.Dial("tcp4", h.addr)
		if err == nil {
			n.Close()
		}
		return err != nil
	})
	select {
	case <-h.drains:
		t.Error("the worker drains, and has a client to judge")
	default:
	}
	h.set(func() {
		for _, r := range h.entering {
			family.Answer(r, &imsg.Admission{Number: 101, Refusal: imsg.RefusedLocked})
		}
	})
	c.hears("554 gate.example msg_virus_locked\r\n")
	wait(t, h.drains) // though the client lingers
}

// TestClosingListener: who waits where nobody accepts any more hears so.
func TestClosingListener(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "220 mx\r\n")
		}
	}()
	h := newHouse(t, l.Addr().String(), func(c *imsg.SessionConfig) { c.MaxConnections = 0 })
	var in, waiting []*talker
	for range (&worker{cfg: &imsg.SessionConfig{}}).maxOpen() {
		c := h.dial()
		c.hears("220 mx\r\n")
		in = append(in, c)
	}
	for range 20 {
		waiting = append(waiting, h.dial())
	}
	h.Tell(&imsg.Drain{Closing: []netip.AddrPort{netip.MustParseAddrPort(h.addr)}})
	wait(t, h.drains)
	for _, c := range in {
		c.conn.Close()
	}
	for _, c := range waiting {
		c.hears(endPlain)
		c.conn.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(c.r); len(b) > 0 || err != nil {
			t.Errorf("then %q, %v", b, err)
		}
	}
	if err := wait(t, h.Ended); err != nil {
		t.Fatal(err)
	}
	h.Ended <- nil
	if c, err := net.Dial("tcp4", h.addr); err == nil {
		c.Close()
		t.Error("the listener is still there")
	}
	h.seen("20 refusals counted", func() bool { return h.counts[imsg.CountRejectOther] == 20 })
}
