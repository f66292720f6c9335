package lockd

import (
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestEndSession: an operator ends a session by its number, or by its whole id, which is
// no other session's; its worker alone is told, and its end is told of.
func TestEndSession(t *testing.T) {
	h := open(t, plan{config: usual()})
	one, other := h.worker(0), h.worker(1)
	other.enter("192.0.2.8")
	number := one.enter("192.0.2.7").Number
	start := h.clock.now().Unix()
	c := h.operators()()
	for _, q := range []imsg.EndSession{
		{Number: number + 1}, {Number: 0}, {Number: number, Start: start + 1}, {Number: number, Start: start - 11}, {Number: number, Start: 1<<63 - 1},
	} {
		if d := ask(t, c, &q); d.Errno != imsg.NotFound || d.Detail == "" {
			t.Errorf("%+v: %+v", q, d)
		}
	}
	for _, q := range []imsg.EndSession{{Number: number}, {Number: number, Start: start}, {Number: number, Start: start - 3}} {
		if d := ask(t, c, &q); d.Errno != 0 {
			t.Fatalf("%+v: %+v", q, d)
		}
		if n := receive(t, one.killed); n != number {
			t.Errorf("%d is to end, not %d", n, number)
		}
	}
	h.log.Has(t, "operator's order")
	seen := make(chan *imsg.EventList, 1)
	go func() {
		seen <- ask(t, h.operators()(), &imsg.EventsAfter{Since: 1, Kinds: imsg.EventKindSet(0).With(imsg.EventSession), Wait: time.Minute})
	}()
	one.say(&imsg.Leave{Number: number})
	for {
		list := receive(t, seen)
		if n := len(list.Events); n > 0 && list.Events[n-1].Detail == "close" {
			if e := list.Events[n-1]; e.Text != "an operator has ended it" {
				t.Errorf("told is %+v", e)
			}
			break
		}
		go func() {
			seen <- ask(t, h.operators()(), &imsg.EventsAfter{After: list.Last, Kinds: imsg.EventKindSet(0).With(imsg.EventSession), Wait: time.Minute})
		}()
	}
	if d := ask(t, c, &imsg.EndSession{Number: number}); d.Errno != imsg.NotFound {
		t.Errorf("one that is gone: %+v", d)
	}
	if len(other.killed) > 0 {
		t.Error("another worker was told")
	}
	one.Close()
}
