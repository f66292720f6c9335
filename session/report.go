// What a worker tells lockd of what has happened: events, one by one, and what went well
// or ill, in sums. This file owns that neither costs a session a wait, nor the worker more
// memory than is said here.

package session

import (
	"maps"
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
	send func(imsg.Notice) error

	mu     sync.Mutex
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
	r.mu.Lock()
	defer r.mu.Unlock()
	r.due = false
	for len(r.events) > 0 {
		n := min(len(r.events), imsg.EventPage)
		switch r.send(&imsg.Events{Events: r.events[:n], Lost: r.lost}) {
		case imsg.Gone, imsg.Busy:
			return // the clock comes again
		case nil:
			r.lost = 0
		default: // one of them cannot be said
			r.lost += uint64(n)
		}
		r.events = r.events[n:]
	}
	r.events = nil
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
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) == 0 {
		return
	}
	m := &imsg.Observed{}
	for _, o := range r.seen {
		m.Observations = append(m.Observations, *o)
	}
	if r.send(m) != nil {
		return
	}
	for what, o := range r.seen {
		if o.Row > 0 {
			if r.standing == nil {
				r.standing = make(map[observed]*imsg.Observation)
			}
			kept := *o
			if before := r.standing[what]; before != nil && o.Good == 0 {
				kept.Row = min(kept.Row+before.Row, imsg.MaxReport)
			}
			kept.Good, kept.Bad = 0, kept.Row
			r.standing[what] = &kept
		} else {
			delete(r.standing, what)
			if what.object == "" { // it is about all of them
				maps.DeleteFunc(r.standing, func(other observed, _ *imsg.Observation) bool { return other.finding == what.finding })
			}
		}
	}
	clear(r.seen)
}

// again has a lockd that is new be told of what stands.
func (r *reports) again() {
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
