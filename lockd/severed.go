// Sessions whose worker lives, but whose link to it is broken. This file owns that they
// come back, by the worker's fresh link, as what they were: a worker that announces
// them says their numbers, and nothing else of what it says of them is believed.

package lockd

// severed are they, by worker and number.
type severed map[int]map[uint64]*session

// add keeps the sessions of w, which is about to be forgotten.
func (t severed) add(w *worker, sessions map[uint64]*session) {
	if w.ended || w.sessions == 0 {
		return
	}
	mine := make(map[uint64]*session, w.sessions)
	for n, s := range sessions {
		if s.worker == w && s.judging == nil {
			mine[n] = s
		}
	}
	t[w.member] = mine
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

// drop does without what a worker has not announced.
func (t severed) drop(member int) { delete(t, member) }
