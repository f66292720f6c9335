package session

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestClientLeaves: a client that closes while it is not read is noticed all the same,
// whatever it waits for.
func TestClientLeaves(t *testing.T) {
	for name, waits := range map[string]func(r *rig){
		"AUTH":     func(r *rig) { r.toServer("AUTH PLAIN AGEAYg==\r\n") },
		"STARTTLS": func(r *rig) { r.toServer("STARTTLS\r\n") },
		"354":      func(r *rig) { r.toServer("DATA\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.toClient("220 mx\r\n")
			waits(r)
			r.client.conn.(*net.TCPConn).CloseWrite()
			r.server.end() // the server hears of it, as it would without us
			r.server.say("550 no\r\n")
			r.client.hears("550 no\r\n")
			r.client.end()
			r.seen("Leave", func() bool { return len(r.left) == 1 })
		})
		t.Run(name+", reset", func(t *testing.T) {
			r := newRig(t, nil)
			r.toClient("220 mx\r\n")
			waits(r)
			r.client.reset()
			r.server.end()
			r.seen("Leave", func() bool { return len(r.left) == 1 })
		})
	}
}

// TestInfectedClientLeaves: who resets the connection while its message is scanned is
// reported all the same, and its server hears no end.
func TestInfectedClientLeaves(t *testing.T) {
	r := newRig(t, nil)
	r.set(func() {
		r.verdict = found(imsg.Finding{Outcome: imsg.Caught, Name: "Eicar"}, imsg.Finding{Outcome: imsg.Clean})
		r.onScan = func(uint64) {
			r.client.reset()
			r.server.end()
		}
	})
	r.data()
	r.text("evil\r\n")
	r.client.say(".\r\n")
	if o := r.offence(); o.Virus != "Eicar" {
		t.Errorf("offence %+v", o)
	}
	r.seen("Leave", func() bool { return len(r.left) == 1 })
}

// TestAbandonedScan: whoever was given a spool file and has not answered in time never
// sees a later message in it.
func TestAbandonedScan(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) {
		c.IgnoreErrors, c.TimeoutScan, c.SpoolLeaveOn, c.NatHeaderType = true, time.Second, 0, imsg.NatNone
	})
	r.set(func() { r.silent = true })
	r.ready()
	var held []*os.File
	for i, text := range []string{"A: first\r\n", "A: second\r\n", "A: third\r\n"} {
		r.toServer("DATA\r\n")
		r.toClient("354 go\r\n")
		r.toServer(text)
		r.client.say(".\r\n")
		r.seen("the scan", func() bool { return len(r.scanned) == i+1 })
		names, err := filepath.Glob("*.part")
		if err != nil || len(names) != 1 {
			t.Fatalf("spool files %q, %v", names, err)
		}
		f, err := os.Open(names[0])
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		held = append(held, f)
		r.server.hears(".\r\n")
		r.toClient("250 ok\r\n")
		for n, f := range held {
			b := make([]byte, 1000)
			size, _ := f.ReadAt(b, 0)
			if has := bytes.Contains(b[:size], []byte(text)); has != (n == i) {
				t.Errorf("behind message %d the file of message %d holds %q", i, n, b[:size])
			}
		}
	}
}
