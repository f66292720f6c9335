// Package findings judges what rooms have observed: which of it is a finding, since when,
// and what all of them together come to. It asks nobody, waits for nothing and logs
// nothing; whoever owns a board tells what it returns.
package findings

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns when a finding begins and when it ends.

// Quiet is how long nothing must have gone wrong until a finding ends.
const Quiet = 60 * time.Second

// maxObjects bounds the objects of one finding.
const maxObjects = 64

// Change is a finding that has begun, or that has ended.
type Change struct {
	imsg.StatusFinding
	Ended bool
}

type key struct {
	finding imsg.FindingID
	object  string
}

// state is what is known of one thing.
type state struct {
	imsg.StatusFinding
	row   uint64 // failures since the last success
	went  int64  // well, when last
	begun bool
}

// Board is what is known of each thing that can go wrong. Any number of goroutines may
// use it.
type Board struct {
	quiet time.Duration

	mu     sync.Mutex
	states map[key]*state
	went   [imsg.FindingIDs]int64 // when all objects of a finding went well
}

// New returns a board on which findings end after quiet, which is Quiet but for tests.
func New(quiet time.Duration) *Board {
	return &Board{quiet: quiet, states: make(map[key]*state)}
}

// Note takes an observation, and returns what has begun by it. What two rooms have seen in
// one second may come in any order: the times in it tell.
func (b *Board) Note(o *imsg.Observation, now time.Time) []Change {
	if o.Finding == 0 || o.Finding >= imsg.FindingIDs {
		return nil
	}
	went, failed := min(o.Went, now.UnixNano()), min(o.Failed, now.UnixNano())
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.Bad == 0 && o.Object == "" {
		b.went[o.Finding] = max(b.went[o.Finding], went)
		return nil
	}
	s := b.state(o.Finding, o.Object)
	if s == nil {
		return nil
	}
	s.went = max(s.went, went)
	if b.settle(s); o.Bad == 0 {
		return nil
	}
	if s.row == 0 && !s.begun {
		s.Since, s.Count = failed, 0
	}
	s.row += o.Row
	s.Count += o.Bad
	if failed >= s.Last {
		s.Last, s.Text = failed, o.Text
	}
	b.settle(s)
	if row := imsg.FindingTable[o.Finding].Row; s.row < row && row > 1 {
		return nil
	}
	return s.begin()
}

// settle finds out whether s went well since it last failed.
func (b *Board) settle(s *state) {
	if s.Good = max(s.went, b.went[s.Finding]) > s.Last; s.Good {
		s.row = 0
	}
}

// begin makes a finding of s, if it is none yet.
func (s *state) begin() []Change {
	if s.begun {
		return nil
	}
	s.begun = true
	return []Change{{StatusFinding: s.StatusFinding}}
}

// Tell takes what the parent knows. It is told whole, again and again.
func (b *Board) Tell(t *imsg.Trouble, now time.Time) []Change {
	if t.Finding == 0 || t.Finding >= imsg.FindingIDs || t.Count == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.states[key{t.Finding, t.Object}]
	if (s == nil || !s.begun) && t.Good && now.Sub(time.Unix(0, t.Last)) >= b.quiet {
		return nil // it is over
	}
	if s = b.state(t.Finding, t.Object); s == nil {
		return nil
	}
	s.Since, s.Last, s.Count, s.Text, s.went = t.Since, t.Last, t.Count, t.Text, 0
	if t.Good {
		s.went = t.Last + 1
	}
	b.settle(s)
	return s.begin()
}

// state returns the state of a thing, nil if there are too many of its kind.
func (b *Board) state(f imsg.FindingID, object string) *state {
	k := key{f, object}
	if s := b.states[k]; s != nil {
		return s
	}
	n := 0
	for other := range b.states {
		if other.finding == f {
			n++
		}
	}
	if n >= maxObjects {
		return nil
	}
	s := &state{StatusFinding: imsg.StatusFinding{Finding: f, Object: object}}
	b.states[k] = s
	return s
}

// Sweep returns what has ended by now: what went well since, and has not gone wrong for
// the time of quiet; and what is not there any more, as keep says. It is called again and
// again, at least once a second.
func (b *Board) Sweep(now time.Time, keep func(f imsg.FindingID, object string) bool) (ended []Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := now.UnixNano() // a clock that was set back must not keep a finding until then
	for f := range b.went {
		b.went[f] = min(b.went[f], at)
	}
	for k, s := range b.states {
		s.went, s.Last = min(s.went, at), min(s.Last, at)
		b.settle(s)
		known := keep(k.finding, k.object)
		if !known {
			delete(b.states, k)
		}
		if s.begun && (!known || s.Good && now.Sub(time.Unix(0, s.Last)) >= b.quiet) {
			s.begun = false
			ended = append(ended, Change{s.StatusFinding, true})
		}
	}
	slices.SortFunc(ended, func(x, y Change) int { return order(x.StatusFinding, y.StatusFinding) })
	return ended
}

// List returns the findings there are, in the order of their table.
func (b *Board) List() (all []imsg.StatusFinding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.states {
		if b.settle(s); s.begun {
			all = append(all, s.StatusFinding)
		}
	}
	slices.SortFunc(all, order)
	return all
}

func order(x, y imsg.StatusFinding) int {
	return cmp.Or(cmp.Compare(x.Finding, y.Finding), cmp.Compare(x.Object, y.Object))
}
