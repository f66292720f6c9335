// The live sessions in full: lockd knows which there are and whose, their
// workers what they are doing. This file owns the asking. It must never run
// where a worker that stays silent could make anybody wait for admission.

package lockd

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// snapshotTime is how long a worker may take to tell one page.
const snapshotTime = time.Second

// roll goes through the live sessions page by page. A worker that was silent
// once is not asked again: its sessions are shown as far as lockd knows them.
type roll struct {
	keeper *keeper
	silent map[*worker]bool
}

func (k *keeper) roll() *roll { return &roll{k, make(map[*worker]bool)} }

// page returns at most imsg.LivePage sessions with a number above after, in
// their order, and whether there are more.
func (l *roll) page(after uint64) (page []imsg.LiveSession, more bool) {
	known := l.keeper.liveAfter(after)
	if more = len(known) > imsg.LivePage; more {
		known = known[:imsg.LivePage]
	}
	page = make([]imsg.LiveSession, len(known))
	owners := make(map[*worker]*imsg.Live)
	for i, s := range known {
		page[i] = s.LiveSession
		if !l.silent[s.worker] {
			owners[s.worker] = nil
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
			if !found || owners[known[at].worker] != told {
				continue
			}
			p := &page[at]
			p.State, p.Auth = t.State, t.Auth
			p.Transactions, p.ClientBytes, p.ServerBytes = t.Transactions, t.ClientBytes, t.ServerBytes
			if target := plain(t.Target); target.IsValid() {
				p.Target = target
			}
		}
	}
	return page, more
}

// refresh has the workers say what they have counted so far: they do so before
// they answer for a page, and behind the largest number stands an empty one.
func (l *roll) refresh() {
	owners := make(map[*worker]*imsg.Live)
	l.keeper.mu.Lock()
	for w := range l.keeper.workers {
		owners[w] = nil
	}
	l.keeper.mu.Unlock()
	l.ask(owners, math.MaxUint64)
}

// ask fills in what the workers say. What of a worker falls on one page is among
// the first page of its own.
func (l *roll) ask(owners map[*worker]*imsg.Live, after uint64) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, w := range slices.Collect(maps.Keys(owners)) {
		all.Go(func() {
			live, err := link.Ask(w.conn, &imsg.Snapshot{After: after}, snapshotTime)
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

// liveHere is a live session as it was when lockd was asked.
type liveHere struct {
	imsg.LiveSession
	worker *worker
}

// liveAfter returns the first live sessions with a number above after, ordered,
// one more than a page takes.
func (k *keeper) liveAfter(after uint64) []liveHere {
	k.mu.Lock()
	numbers := make([]uint64, 0, len(k.live))
	for n := range k.live {
		if n > after {
			numbers = append(numbers, n)
		}
	}
	k.mu.Unlock()
	slices.Sort(numbers)

	k.mu.Lock()
	defer k.mu.Unlock()
	var list []liveHere
	for _, n := range numbers {
		s := k.live[n]
		if s == nil {
			continue // it has left meanwhile
		}
		list = append(list, liveHere{imsg.LiveSession{
			Number: n, Started: s.started, Client: s.client, Local: s.local, Target: s.target, Ident: s.ident,
		}, s.worker})
		if len(list) > imsg.LivePage {
			break
		}
	}
	return list
}
