//go:build linux

package parent

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/impostor"
)

// TestInbox: one that has much to say has one thing in the inbox, and the next is
// another's.
func TestInbox(t *testing.T) {
	i := inbox{make(chan func(), 64), make(chan struct{})}
	defer close(i.over)
	said := make(chan string, 2)
	go func() {
		for {
			i.deliver(func() { said <- "flood" })
			select {
			case <-i.over:
				return
			default:
			}
		}
	}()
	first := <-i.events
	i.post(func() { said <- "other" })
	first()
	(<-i.events)()
	if a, b := <-said, <-said; a != "flood" || b != "other" {
		t.Errorf("heard %s and %s", a, b)
	}
}

// TestFlood: a room that says one thing for ever is ended, said once, and nobody else
// suffers.
func TestFlood(t *testing.T) {
	for _, e := range impostor.Sayable(imsg.Parent) {
		room := imsg.Lockd
		switch {
		case e.From.Has(imsg.Session):
			room = imsg.Session
		case !e.From.Has(imsg.Lockd):
			continue // the room of the keys is not in this house: see TestLiars of smtp-gated
		}
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, "workers 1", fmt.Sprintf("proxy_name flood=%s:%s linger:session", e.Name, room))
			h.start(true)
			for member := range 2 { // the second took the place of the first
				h.waitFor(fmt.Sprintf("room ended unasked room=%s, member=%d,", room, member+1), 1)
			}
			h.signal(unix.SIGTERM)
			h.signal(unix.SIGQUIT)
			if s := h.end(); s != 0 {
				t.Errorf("exit status %d", s)
			}
			of := fmt.Sprintf("room=%s, member=1, ", room)
			if n := h.count("room says what it may not "+of+"message="+e.Name) + h.count("room asks for sockets it cannot need "+of); n != 1 {
				t.Errorf("its end was explained %d times", n)
			}
			h.othersLive(room)
		})
	}
}

// othersLive has no room but those of one kind have ended unasked.
func (h *house) othersLive(but imsg.Room) {
	h.Helper()
	for _, line := range h.log() {
		if strings.Contains(line, "room ended unasked") && !strings.Contains(line, "room="+but.String()+",") {
			h.Error(line)
		}
	}
}

// TestLateFlood: so it is with questions whose asker waits no more, which are not even
// heard.
func TestLateFlood(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "proxy_name late:lockd")
	h.start(true)
	h.waitFor("room ended for a bad message room=lockd, member=1, error=from lockd: bad message: ", 1)
	h.waitFor("started room=lockd", 2)
	h.othersLive(imsg.Lockd)
}

// TestChatter: what a room writes to its stderr without end costs it its life.
func TestChatter(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "workers 1", "proxy_name chatter:session")
	h.start(true)
	h.waitFor("room ended unasked room=session, member=1,", 1)
	if n := h.count("room said room=session, member=1, text=(more than is heard"); n != 1 {
		t.Errorf("that something was lost is said %d times", n)
	}
	h.othersLive(imsg.Session)
}
