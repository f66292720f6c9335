package control

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// The live sessions in full: the live table knows which there are and whose, their
// workers what they are doing. This file owns the asking. It must never run where a
// worker that stays silent could make anybody wait for admission.

// snapshotTime is how long a worker may take to tell one page.
const snapshotTime = time.Second

// sessionLister goes through the live sessions page by page. A worker that was silent
// once is not asked again: its sessions are shown as far as lockd knows them.
type sessionLister struct {
	house  House
	silent map[*link.Conn]bool
}

func (s *Service) sessions() *sessionLister {
	return &sessionLister{s.House, make(map[*link.Conn]bool)}
}

func (s *Service) listSessions(after uint64) *imsg.SessionList {
	l := s.sessions()
	page, more := l.page(after)
	return &imsg.SessionList{Sessions: page, More: more, Silent: len(l.silent)}
}

// page returns at most imsg.LivePage sessions with a number above after, in
// their order, and whether there are more.
func (l *sessionLister) page(after uint64) (page []imsg.LiveSession, more bool) {
	known := l.house.LiveAfter(after, imsg.LivePage+1)
	if more = len(known) > imsg.LivePage; more {
		known = known[:imsg.LivePage]
	}
	page = make([]imsg.LiveSession, len(known))
	owners := make(map[*link.Conn]*imsg.Live)
	for i, s := range known {
		page[i] = s.LiveSession
		if !l.silent[s.Worker] {
			owners[s.Worker] = nil
		}
	}
	l.ask(owners, after)
	for _, told := range owners {
		if told == nil {
			continue
		}
		for i := range told.Sessions {
			t := &told.Sessions[i]
			at, found := slices.BinarySearchFunc(page, t.Number, func(p imsg.LiveSession, n uint64) int { return cmp.Compare(p.Number, n) })
			if !found || owners[known[at].Worker] != told {
				continue
			}
			p := &page[at]
			p.State, p.Auth, p.Via = t.State, t.Auth, t.Via
			p.Transactions, p.ClientBytes, p.ServerBytes = t.Transactions, t.ClientBytes, t.ServerBytes
			if target := locks.Plain(t.Target); target.IsValid() {
				p.Target = target
			}
		}
	}
	return page, more
}

// refresh has the workers say what they have counted so far: they do so before
// they answer for a page, and behind the largest number stands an empty one. It returns how
// many sessions are in each state.
func (l *sessionLister) refresh() []uint64 {
	owners := make(map[*link.Conn]*imsg.Live)
	for _, w := range l.house.Workers() {
		owners[w] = nil
	}
	l.ask(owners, math.MaxUint64)
	states := make([]uint64, imsg.States)
	for _, told := range owners {
		if told == nil {
			continue
		}
		for state, n := range told.States {
			states[state] = min(states[state]+n, imsg.MaxReport)
		}
	}
	return states
}

// ask fills in what the workers say. What of a worker falls on one page is among
// the first page of its own.
func (l *sessionLister) ask(owners map[*link.Conn]*imsg.Live, after uint64) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, w := range slices.Collect(maps.Keys(owners)) {
		all.Go(func() {
			live, err := link.Ask(w, &imsg.Snapshot{After: after}, snapshotTime)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				l.silent[w] = true
				return
			}
			owners[w] = live
		})
	}
	all.Wait()
}
