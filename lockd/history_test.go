package lockd

import (
	"fmt"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestFloodIsALine: a client that is refused as fast as can be fills a few records, pushes
// no other's out, and keeps nobody from admission.
func TestFloodIsALine(t *testing.T) {
	c := usual()
	c.HistoryMax, c.HistoryKeep = 1000, time.Hour
	h := open(t, plan{config: c})
	f := imsgtest.TempFile(t)
	h.Tell(&imsg.HistoryFile{}, f)
	w, operator := h.worker(0), h.operators()()
	refused := func(client, id string) imsg.Event {
		return imsg.Event{Time: h.clock.now().UnixNano(), Kind: imsg.EventRefuse, Rule: imsg.RuleDNSBL, Client: at(client), ID: id, Code: 554, Text: "listed"}
	}
	w.say(&imsg.Events{Events: []imsg.Event{refused("192.0.2.1", "1.1")}})
	const minutes, batches = 50, 100
	for minute := range minutes {
		for batch := range batches {
			var all []imsg.Event
			for i := range imsg.EventPage {
				all = append(all, refused("192.0.2.2", fmt.Sprintf("2.%d", i)))
			}
			w.say(&imsg.Events{Events: all})
			if batch%10 == 0 {
				if a := w.enter("192.0.2.3"); a.Refusal != imsg.Admitted {
					t.Fatalf("%+v", a)
				}
			}
		}
		h.clock.move(time.Minute)
		if minute == 0 {
			w.say(&imsg.Events{Lost: 7})
		}
	}
	if a := w.enter("192.0.2.3"); a.Refusal != imsg.Admitted { // behind all that was said
		t.Fatalf("%+v", a)
	}
	explained := func(about string) (all []imsg.HistoryRecord) {
		for more := true; more; {
			e := ask(t, operator, &imsg.Explain{About: about, Skip: len(all)})
			all, more = append(all, e.Records...), e.More
		}
		return all
	}
	if all := explained("1.1"); len(all) != 1 || all[0].Event.Client != at("192.0.2.1") {
		t.Errorf("%+v", all)
	}
	// It has a hundredth of the file, a record a minute.
	if all := explained("192.0.2.2"); len(all) != c.HistoryMax/100 || all[0].Count != batches*imsg.EventPage {
		t.Errorf("%d records, the last one of %d: %+v", len(all), all[0].Count, all[0].Event)
	}
	if l := ask(t, operator, &imsg.EventsAfter{Kinds: imsg.UsualEvents()}); len(l.Events) != imsg.EventPage || l.Lost == 0 {
		t.Errorf("%d events, %d lost", len(l.Events), l.Lost)
	}
	if l := ask(t, operator, &imsg.EventsAfter{Kinds: imsg.EventKindSet(0).With(imsg.EventLost)}); len(l.Events) != 0 {
		t.Errorf("%+v", l.Events) // it went by long ago
	}
}

// TestForeignEvents: a worker tells of its sessions, and of nothing else.
func TestForeignEvents(t *testing.T) {
	for _, kind := range []imsg.EventKind{imsg.EventLock, imsg.EventFinding, imsg.EventReload, imsg.EventLost, imsg.EventSession} {
		h := open(t, plan{config: usual()})
		w := h.worker(0)
		w.say(&imsg.Events{Events: []imsg.Event{{Kind: kind, Detail: "127.0.0.1"}}})
		if _, ok := h.next().(*imsg.BadPeer); !ok {
			t.Errorf("%s is taken", kind)
		}
	}
}
