// Sessions whose worker lives, but whose link to it is broken. This file owns that they
// come back, by the worker's fresh link, as what they were: a worker that announces
// them says their numbers, and nothing else of what it says of them is believed.

package lockd

import "iter"

// severed are they, by worker and number.
type severed map[int]map[uint64]*session

// add keeps the sessions of w, which is about to be forgotten, with those that are kept
// of it from a link before.
func (t severed) add(w *worker, sessions iter.Seq[*session]) {
	if w.sessions == 0 {
		return
	}
	mine := t[w.member]
	if mine == nil {
		mine = make(map[uint64]*session, w.sessions)
		t[w.member] = mine
	}
	for s := range sessions {
		if s.worker == w && s.judging == nil {
			mine[s.number] = s
		}
	}
}

// has tells whether somebody's session of a number is kept.
func (t severed) has(number uint64) bool {
	for _, sessions := range t {
		if sessions[number] != nil {
			return true
		}
	}
	return false
}

// lock has the sessions that are a client's be told, when they are back, that it is
// locked.
func (t severed) lock(is func(*session) bool) {
	for _, sessions := range t {
		for _, s := range sessions {
			if is(s) {
				s.lockedMeanwhile = true
			}
		}
	}
}

// take returns w's session of a number and keeps it no longer, nil if there is none.
func (t severed) take(w *worker, number uint64) *session {
	s := t[w.member][number]
	if s == nil {
		return nil
	}
	delete(t[w.member], number)
	s.worker = w
	return s
}

// drop keeps what a worker has not announced no longer, and returns it.
func (t severed) drop(member int) map[uint64]*session {
	dropped := t[member]
	delete(t, member)
	return dropped
}
