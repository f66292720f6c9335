// What a worker tells lockd of what has happened: events, one by one, and what went well
// or ill, in sums. This file owns that neither costs a session a wait, nor the worker more
// memory than is said here. While lockd is told nothing is locked that a session may want:
// a lockd that is new has the teller wait, until it has been told of all sessions.

package session

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	// maxEvents is how many events wait for lockd at most; what there is no room for is
	// counted.
	maxEvents = 1 << 10

	// eventPause is how long an event waits for others that go with it.
	eventPause = 100 * time.Millisecond

	// maxObserved is how many things are observed at most.
	maxObserved = imsg.ObservedPage
)

// observed is one thing that goes well or ill.
type observed struct {
	finding imsg.FindingID
	object  string
}

// reports is what is to be told.
type reports struct {
	send    func(imsg.Notice) error
	telling sync.Mutex // is held by who tells lockd, one at a time

	mu     sync.Mutex // never held over send
	events []imsg.Event
	lost   uint64
	due    bool // the events are about to be told
	seen   map[observed]*imsg.Observation
	// standing is what went ill last, and lockd knows: another lockd does not.
	standing map[observed]*imsg.Observation
}

// event notes an event, which is told within moments.
func (r *reports) event(e imsg.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) >= maxEvents {
		r.lost++
	} else {
		r.events = append(r.events, e)
	}
	if !r.due {
		r.due = true
		time.AfterFunc(eventPause, r.tellEvents)
	}
}

// tellEvents tells what there is, as far as lockd takes it. The rest has its turn later.
func (r *reports) tellEvents() {
	r.telling.Lock()
	defer r.telling.Unlock()
	for m := r.nextEvents(); m != nil; m = r.nextEvents() {
		if !r.toldEvents(m, r.send(m)) {
			return // the clock comes again
		}
	}
}

// nextEvents are those that are to be told next, which stay; nil: there are none.
func (r *reports) nextEvents() *imsg.Events {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.due = false
	n := min(len(r.events), imsg.EventPage)
	if n == 0 {
		r.events = nil
		return nil
	}
	return &imsg.Events{Events: slices.Clone(r.events[:n]), Lost: r.lost}
}

// toldEvents takes off what was told. False: lockd does not take it now.
func (r *reports) toldEvents(m *imsg.Events, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch err {
	case imsg.Gone, imsg.Busy:
		return false
	case nil:
		r.lost -= m.Lost
	default: // one of them cannot be said
		r.lost += uint64(len(m.Events))
	}
	r.events = r.events[len(m.Events):]
	return true
}

// observe notes that something went well, or why not. problem is empty if it did.
func (r *reports) observe(finding imsg.FindingID, object, problem string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.seen[observed{finding, object}]
	if o == nil {
		if len(r.seen) >= maxObserved {
			return
		}
		if r.seen == nil {
			r.seen = make(map[observed]*imsg.Observation)
		}
		o = &imsg.Observation{Finding: finding, Object: imsg.Printable(object, 255)}
		r.seen[observed{finding, object}] = o
	}
	if problem == "" {
		o.Good++
		o.Row, o.Went = 0, time.Now().UnixNano()
		return
	}
	o.Bad++
	o.Row++
	o.Failed = time.Now().UnixNano()
	o.Text = imsg.Printable(problem, 200)
}

// tellObserved tells what was seen since the last time. What lockd does not take is kept.
func (r *reports) tellObserved() {
	r.telling.Lock()
	defer r.telling.Unlock()
	m, told := new(imsg.Observed), make(map[observed]imsg.Observation)
	r.mu.Lock()
	for what, o := range r.seen {
		m.Observations = append(m.Observations, *o)
		told[what] = *o
	}
	r.mu.Unlock()
	if len(told) == 0 || r.send(m) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for what, o := range told {
		r.stands(what, o)
		r.toldOf(what, o)
	}
}

// stands keeps of o, which was told, what another lockd would have to know; mu is held.
func (r *reports) stands(what observed, o imsg.Observation) {
	if o.Row == 0 {
		delete(r.standing, what)
		if what.object == "" { // it is about all of them
			maps.DeleteFunc(r.standing, func(other observed, _ *imsg.Observation) bool { return other.finding == what.finding })
		}
		return
	}
	if r.standing == nil {
		r.standing = make(map[observed]*imsg.Observation)
	}
	if before := r.standing[what]; before != nil && o.Good == 0 {
		o.Row = min(o.Row+before.Row, imsg.MaxReport)
	}
	o.Good, o.Bad = 0, o.Row
	r.standing[what] = &o
}

// toldOf leaves of what was seen what has been since o was told; mu is held.
func (r *reports) toldOf(what observed, o imsg.Observation) {
	now := r.seen[what]
	if now.Good == o.Good { // those in a row go on from those that were told
		now.Row -= o.Row
	}
	now.Good -= o.Good
	now.Bad -= o.Bad
	if now.Good+now.Bad == 0 {
		delete(r.seen, what)
	}
}

// again has a lockd that is new be told of what stands.
func (r *reports) again() {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for what, o := range r.standing {
		if r.seen == nil {
			r.seen = make(map[observed]*imsg.Observation)
		}
		if r.seen[what] == nil && len(r.seen) < maxObserved {
			again := *o
			r.seen[what] = &again
		}
	}
	clear(r.standing)
}
