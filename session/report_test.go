package session

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// heard is a lockd that takes what it is told, or refuses with err.
type heard struct {
	err    error
	events []imsg.Event
	lost   uint64
	seen   []imsg.Observation
}

func (h *heard) send(m imsg.Notice) error {
	if h.err != nil {
		return h.err
	}
	if err := imsg.Row(m).Check(m); err != nil {
		return err
	}
	switch m := m.(type) {
	case *imsg.Events:
		h.events = append(h.events, m.Events...)
		h.lost += m.Lost
	case *imsg.Observed:
		h.seen = append(h.seen, m.Observations...)
	}
	return nil
}

// TestReportsKeep: what lockd does not take is told later, within bounds, and what had no
// room is counted.
func TestReportsKeep(t *testing.T) {
	for _, err := range []error{imsg.Gone, imsg.Busy} {
		h := &heard{err: err}
		r := reports{send: h.send, due: true}
		for range maxEvents + 7 {
			r.event(imsg.Event{Kind: imsg.EventScan})
		}
		r.tellEvents()
		h.err = nil
		r.tellEvents()
		if len(h.events) != maxEvents || h.lost != 7 {
			t.Errorf("%v: %d events were told, %d lost", err, len(h.events), h.lost)
		}
	}
}

// TestReportsSkip: an event that cannot be said keeps no other from it.
func TestReportsSkip(t *testing.T) {
	h := new(heard)
	r := reports{send: h.send, due: true}
	r.event(imsg.Event{Kind: imsg.EventScan, Virus: "a\nb"})
	r.tellEvents()
	r.event(imsg.Event{Kind: imsg.EventScan})
	r.tellEvents()
	if len(h.events) != 1 || h.lost != 1 {
		t.Errorf("%d events were told, %d lost", len(h.events), h.lost)
	}
}

// TestObserve: sums are told once, and the failures in a row are those behind the last
// success.
func TestObserve(t *testing.T) {
	h := &heard{err: imsg.Gone}
	r := reports{send: h.send}
	for _, problem := range []string{"a", "", "b", strings.Repeat("c\n", 300)} {
		r.observe(imsg.FindingServer, "192.0.2.1:25", problem)
	}
	r.tellObserved()
	h.err = nil
	r.tellObserved()
	r.tellObserved()
	want := imsg.Observation{Finding: imsg.FindingServer, Object: "192.0.2.1:25", Good: 1, Bad: 3, Row: 2, Text: strings.Repeat("c#", 100)}
	if len(h.seen) == 1 {
		if o := &h.seen[0]; o.Went == 0 || o.Failed < o.Went {
			t.Errorf("it went well at %d, and failed at %d", o.Went, o.Failed)
		}
		h.seen[0].Went, h.seen[0].Failed = 0, 0
	}
	if len(h.seen) != 1 || h.seen[0] != want {
		t.Errorf("%+v", h.seen)
	}
	h.err = errors.New("full")
	for i := range 3 * maxObserved {
		r.observe(imsg.FindingServer, strings.Repeat("x", i), "")
	}
	if len(r.seen) != maxObserved {
		t.Errorf("%d things are kept", len(r.seen))
	}
}

// TestReportsAgain: another lockd hears of what has not gone well since, and of nothing else.
func TestReportsAgain(t *testing.T) {
	h := new(heard)
	r := reports{send: h.send}
	tell := func(object string, problems ...string) {
		for _, problem := range problems {
			r.observe(imsg.FindingServer, object, problem)
		}
		r.tellObserved()
	}
	tell("192.0.2.1:25", "refused", "refused")
	tell("192.0.2.1:25", "refused")
	tell("192.0.2.2:25", "refused", "")
	tell("192.0.2.3:25", "refused")
	tell("192.0.2.3:25", "")
	for range 2 { // lockds
		h.seen = nil
		r.again()
		r.tellObserved()
		if len(h.seen) != 1 || h.seen[0].Object != "192.0.2.1:25" || h.seen[0].Row != 3 || h.seen[0].Bad != 3 || h.seen[0].Text != "refused" {
			t.Errorf("another lockd hears %+v", h.seen)
		}
	}
}

// TestReportsWhileTold: while lockd is told, be it for ever, sessions go on; what they note
// meanwhile is told next, once.
func TestReportsWhileTold(t *testing.T) {
	// whileTold has something noted, and noted again while lockd is told the first time.
	whileTold := func(note func(*reports), tell func(*reports)) (*reports, *heard) {
		t.Helper()
		h, stuck, free := new(heard), make(chan bool, 1), make(chan bool)
		r := &reports{send: func(m imsg.Notice) error {
			select {
			case stuck <- true:
				<-free
			default: // it was once
			}
			return h.send(m)
		}}
		note(r)
		told, noted := make(chan bool), make(chan bool)
		go func() {
			tell(r)
			close(told)
		}()
		for len(stuck) == 0 {
			runtime.Gosched()
		}
		go func() {
			note(r)
			close(noted)
		}()
		wait(t, noted)
		close(free)
		wait(t, told)
		tell(r)
		return r, h
	}
	r, h := whileTold(func(r *reports) { r.event(imsg.Event{Kind: imsg.EventScan}) }, (*reports).tellEvents)
	r.telling.Lock() // the clock comes, too
	if len(h.events) != 2 || h.lost != 0 || r.nextEvents() != nil {
		t.Errorf("%d events were told, %d lost", len(h.events), h.lost)
	}
	r.telling.Unlock()
	r, h = whileTold(func(r *reports) { r.observe(imsg.FindingServer, "192.0.2.1:25", "a") }, (*reports).tellObserved)
	if len(h.seen) != 2 || h.seen[0].Bad != 1 || h.seen[0].Row != 1 || h.seen[1].Bad != 1 || h.seen[1].Row != 1 {
		t.Errorf("%+v", h.seen)
	}
	if s := r.standing[observed{imsg.FindingServer, "192.0.2.1:25"}]; s == nil || s.Row != 2 || len(r.seen) > 0 {
		t.Errorf("%+v stands, %d are seen", s, len(r.seen))
	}
}
