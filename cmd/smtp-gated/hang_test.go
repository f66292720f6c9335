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

// A family that was stopped as a whole, as a suspended machine is, goes on as if
// nothing had been; a room that hangs alone is replaced, whatever its kind.
// Nothing here is shorter than in life.
func TestHang(t *testing.T) {
	t.Parallel()
	g, m := stage(t, false, "")
	sleeper, err := dialGate(g.address(0), "")
	must(t, err)
	defer sleeper.conn.Close()
	must(t, sleeper.expect("^220"))
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

	rooms := []string{"lockd", "action", "scand", "lookupd", "session"}
	for _, room := range rooms {
		i := slices.IndexFunc(all, func(m member) bool { return m.Room == room })
		must(t, syscall.Kill(all[i].PID, syscall.SIGSTOP))
	}
	for end := time.Now().Add(noticed); strings.Count(g.log(), "room hangs") < len(rooms); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody notices")
		}
	}
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
	if len(mails) != 2 {
		t.Errorf("%d mails arrived", len(mails))
	}
	must(t, g.terminate())
}
