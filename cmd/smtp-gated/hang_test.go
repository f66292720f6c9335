package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// noticed is what the parent may take to notice a room that hangs, and half as
// much again: it asks every ten seconds.
const noticed = time.Minute + patience

// handshakeLimit is the default of tls_handshake_timeout.
const handshakeLimit = 30 * time.Second

// A family that was stopped as a whole, as a suspended machine is, goes on as if
// nothing had been; a room that hangs alone is replaced, whatever its kind. While that of
// the keys hangs, a handshake fails soon, and nothing else does. Nothing here is shorter
// than in life.
func TestHang(t *testing.T) {
	t.Parallel()
	g, m := rehearse(t, false)
	must(t, g.certified("max_per_host 0\n"))
	must(t, g.start())
	var three [3]*client
	for i := range three {
		c, err := dialGate(g.address(0), "")
		must(t, err)
		defer c.conn.Close()
		three[i] = c
	}
	sleeper, secret, halfway := three[0], three[1], three[2]
	must(t, sleeper.expect("^220"))
	secret.tls = anyServer
	must(t, secret.greet())
	must(t, halfway.ask("", "220 ", "EHLO client.test", "250", "STARTTLS", "220 "))
	all, err := g.whole(0)
	must(t, err)

	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		must(t, g.signal(s))
		for _, m := range all {
			must(t, syscall.Kill(m.PID, s))
		}
		if s == syscall.SIGSTOP {
			time.Sleep(time.Minute)
		}
	}
	must(t, sendClean(g))
	must(t, sleeper.send("NOOP"))
	must(t, sleeper.expect("^250"))
	must(t, sleeper.quit())

	hang := func(rooms ...string) {
		for _, room := range rooms {
			i := slices.IndexFunc(all, func(m member) bool { return m.Room == room })
			must(t, syscall.Kill(all[i].PID, syscall.SIGSTOP))
		}
	}
	notices := func(rooms int) {
		for end := time.Now().Add(noticed); strings.Count(g.log(), "room hangs") < rooms; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nobody notices")
			}
		}
	}
	hang("keys")
	began := time.Now()
	if err := halfway.startTLS(); err == nil || time.Since(began) > handshakeLimit {
		t.Errorf("a handshake without its key ends after %v: %v", time.Since(began), err)
	}
	must(t, sendClean(g))
	send := func() error {
		if err := secret.mail("354 "); err != nil {
			return err
		}
		answer, err := secret.finish([]byte(cleanMail))
		if err == nil && !strings.HasPrefix(answer, "250 ") {
			err = fmt.Errorf("got reply %q", answer)
		}
		return err
	}
	must(t, send())
	if strings.Contains(g.log(), "room hangs") {
		t.Error("all that took longer than to notice")
	}
	notices(1)
	_, err = g.whole(0)
	must(t, err)
	if got := deliverWith(g.address(0), false, anyServer, cleanMail); !strings.HasPrefix(got, "250 ") {
		t.Errorf("with another room of keys a mail under TLS is answered %q", got)
	}
	must(t, send())
	must(t, secret.quit())

	rooms := []string{"lockd", "action", "scand", "lookupd", "session"}
	hang(rooms...)
	rooms = append(rooms, "keys")
	notices(len(rooms))
	now, err := g.whole(0)
	must(t, err)
	for _, room := range rooms {
		must(t, g.inLog(fmt.Sprintf(`room hangs room=%s, member=1, pid=\d+, unanswered=3$`, room)))
	}
	if n := slices.IndexFunc(now, func(m member) bool { return slices.Contains(all, m) && m.Room != "session" }); n >= 0 {
		t.Errorf("%s is there still", now[n].Room)
	}
	must(t, sendClean(g))
	r, err := g.ask()
	must(t, err)
	if r.Crashes != len(rooms) {
		t.Errorf("%d rooms ended, of which %d hung", r.Crashes, len(rooms))
	}
	found := map[string]bool{}
	for _, f := range r.Findings {
		found[f.ID+" "+f.Object] = true
	}
	for _, room := range rooms {
		if !found["room-hung "+room] || found["room-restarted "+room] {
			t.Errorf("%s hung, and there is %v", room, r.Findings)
		}
	}
	mails, err := m.box()
	must(t, err)
	if len(mails) != 6 {
		t.Errorf("%d mails arrived", len(mails))
	}
	must(t, g.terminate())
}
