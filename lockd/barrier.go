package lockd

import "slices"

// maxHeld bounds the questions of one worker that wait for the barrier.
const maxHeld = 256

// barrier is the wait of a fresh lockd for what was live before it. It may stand in for
// one that crashed: until the workers have announced what is live, limits cannot be
// judged, and who enters, or logs in, waits. The room's lock guards it.
type barrier struct {
	settled bool // all that was live is known; for good
	started bool // there is no other worker
	opening int  // stores that were handed over and are not open yet
	held    []held
}

// held is a question that waits until all is known.
type held struct {
	w     *worker
	late  func() bool // its worker waits no more
	judge func()
}

// hold has a question wait. It is false if too many of its worker's wait already.
func (b *barrier) hold(q held) bool {
	n := 0
	b.held = slices.DeleteFunc(b.held, func(h held) bool {
		if h.w == q.w && !h.late() {
			n++
		}
		return h.late()
	})
	if n >= maxHeld {
		return false
	}
	b.held = append(b.held, q)
	return true
}

// drop forgets the questions of w, which has ended.
func (b *barrier) drop(w *worker) {
	b.held = slices.DeleteFunc(b.held, func(h held) bool { return h.w == w })
}

// release looks whether all is known that admission needs, and returns the questions
// that need not wait any longer.
func (b *barrier) release(workers map[*worker]struct{}) (now []held) {
	if !b.settled {
		if !b.started || b.opening > 0 {
			return nil
		}
		for w := range workers {
			if !w.announced {
				return nil
			}
		}
		b.settled = true
	}
	b.held = slices.DeleteFunc(b.held, func(h held) bool {
		if h.w.announced && !h.late() {
			now = append(now, h)
		}
		return h.w.announced
	})
	return now
}
