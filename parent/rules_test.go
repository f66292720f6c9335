//go:build linux

package parent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// toParent are the messages that rooms may say unasked or asked, but for what answers a
// question: that the link judges.
func toParent() (all []*imsg.Entry) {
	for i := range imsg.Table {
		if e := &imsg.Table[i]; e.To.Has(imsg.Parent) && e.Way != imsg.Answer {
			all = append(all, e)
		}
	}
	return all
}

// TestRules: every message a room may say has its rule, and each rule holds in every
// state and against a flood.
func TestRules(t *testing.T) {
	for _, e := range toParent() {
		t.Run(e.Name, func(t *testing.T) {
			r := ruleFor(e.Type)
			if r == nil {
				t.Fatal("no rule")
			}
			if r.owed == (r.pace.Burst > 0) {
				t.Fatal("it is owed or has a pace, one of the two")
			}
			now, msg := time.Now(), e.New()
			expect := func(c *conduct, working bool, want error) {
				t.Helper()
				if err := c.judge(msg, working, now); err != want {
					t.Errorf("working %t: %v, want %v", working, err, want)
				}
			}
			var c conduct
			if r.owed {
				for _, working := range []bool{false, true} {
					expect(&c, working, errNotAsked)
					c.ask(msg)
					expect(&c, working, nil)
					expect(&c, working, errNotAsked)
				}
				return
			}
			if r.working {
				expect(&c, false, errNotWorking)
			}
			for range r.pace.Burst {
				expect(&c, true, nil)
			}
			expect(&c, true, errTooOften)
			now = now.Add(r.pace.Every)
			expect(&c, true, nil)
			expect(&c, true, errTooOften)
		})
	}
	if n := len(toParent()); n != len(rules) {
		t.Errorf("%d rules for %d messages", len(rules), n)
	}
	for name, n := range map[string]int{"none": 0, "fewer than none": -1 << 63, "endless": 1<<63 - 1} {
		var c conduct
		if err := c.judge(&imsg.Sockets{N: n}, true, time.Now()); err != nil || c.heard[imsg.Row(&imsg.Sockets{}).Type].Take(4096, time.Now()) {
			t.Errorf("%s sockets count for nothing, %v", name, err)
		}
	}
	var c conduct
	if err := c.judge(&imsg.Start{}, true, time.Now()); err != errNoRule {
		t.Errorf("what the parent says itself: %v", err)
	}
}

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
	for _, e := range toParent() {
		room := imsg.Lockd
		if e.From.Has(imsg.Session) {
			room = imsg.Session
		}
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, fmt.Sprintf("proxy_name flood=%s:%s linger:session", e.Name, room))
			h.start(true)
			h.waitFor(fmt.Sprintf("room ended unasked room=%s, member=1,", room), 1)
			h.waitFor(fmt.Sprintf("started room=%s", room), len(h.room(room.String()))+1)
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
