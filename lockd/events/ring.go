// Package events keeps what has happened last, for whoever looks at it.
package events

import (
	"sync"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Size is how many events are kept.
const Size = 10000

// Ring keeps the last Size events, numbered from 1. Its zero value is empty. Who adds one
// waits for no reader: a slow one is told how many it has missed.
type Ring struct {
	mu    sync.Mutex
	list  []imsg.Event // the event of number n at (n-1) mod Size
	last  uint64       // number of the newest
	grown chan struct{}
}

// Add adds an event. The ring keeps it as it is.
func (r *Ring) Add(e imsg.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) < Size {
		r.list = append(r.list, e)
	} else {
		r.list[r.last%Size] = e
	}
	r.last++
	if r.grown != nil {
		close(r.grown)
		r.grown = nil
	}
}

// After returns the first events, at most n, behind one that are wanted; the number to go
// on behind; and how many behind that are not kept any more. A number that was never
// given counts as that of the newest.
func (r *Ring) After(after uint64, wanted func(*imsg.Event) bool, n int) (page []imsg.Event, last, lost uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	after = min(after, r.last)
	if oldest := r.last - uint64(len(r.list)); after < oldest {
		lost = oldest - after
		after = oldest
	}
	for after < r.last && len(page) < n {
		e := &r.list[after%Size]
		if after++; e.Kind != 0 && wanted(e) {
			page = append(page, *e)
		}
	}
	return page, after, lost
}

// Grown is closed when the next event is added.
func (r *Ring) Grown() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.grown == nil {
		r.grown = make(chan struct{})
	}
	return r.grown
}

// Forget forgets the events that which says, and returns how many.
func (r *Ring) Forget(which func(*imsg.Event) bool) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.list {
		if e := &r.list[i]; e.Kind != 0 && which(e) {
			*e = imsg.Event{}
			n++
		}
	}
	return n
}
