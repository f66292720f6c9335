// Package conduct judges what rooms say to the parent, by what it sees of it and nothing
// that a room could make up: a room that breaks a rule is to be ended, and of two that
// do not agree the one whose word stands against others'.
//
// This file owns the rules: what a room may say, when, and how often. They must let pass
// whatever an honest one can come to say.
package conduct

import (
	"errors"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// rule is about one message: it is owed, once for each time the parent has asked for
// it, or it comes unasked, at a pace.
type rule struct {
	message imsg.Message
	only    func(imsg.Message) bool // which of its kind are meant, nil: all that no rule before was for
	owed    bool
	working bool                   // not before the room was told to start
	pace    imsg.Pace              // of what comes unasked
	weight  func(imsg.Message) int // how often one counts, nil: once
}

var rules = []rule{
	{message: &imsg.Hello{}, owed: true},
	{message: &imsg.Ready{}, owed: true},
	{message: &imsg.Drained{}, owed: true},
	{message: &imsg.BadPeer{Fault: imsg.Shortage}, only: isShortage, working: true, pace: twice(imsg.Shortages)},
	// A room names few peers, and each a few times.
	{message: &imsg.BadPeer{}, working: true, pace: imsg.Pace{Burst: 64, Every: time.Minute}},
	// No worker reaches so many servers.
	{message: &imsg.Sockets{}, working: true, pace: imsg.Pace{Burst: 4096, Every: 500 * time.Microsecond}, weight: socketsWanted},
	{message: &imsg.Condition{}, pace: twice(imsg.Conditions)},
	{message: &imsg.Shown{}, pace: twice(imsg.ShownPace)},
	// An operator need not wait until lockd has started.
	{message: &imsg.Reload{}, pace: twice(imsg.Orders)},
	{message: &imsg.Upgrade{}, pace: twice(imsg.Orders)},
	{message: &imsg.Stop{}, pace: twice(imsg.Orders)},
	{message: &imsg.LogLevel{}, pace: twice(imsg.Orders)},
}

func isShortage(m imsg.Message) bool { return m.(*imsg.BadPeer).Fault == imsg.Shortage }

func twice(p imsg.Pace) imsg.Pace { return imsg.Pace{Burst: 2 * p.Burst, Every: p.Every / 2} }

// socketsWanted bounds what a room says: how many it may be told is judged elsewhere.
func socketsWanted(m imsg.Message) int { return min(max(m.(*imsg.Sockets).N, 1), imsg.MaxSockets) }

// The rules that are broken.
var (
	errNoRule     = errors.New("nobody listens for that")
	errNotAsked   = errors.New("it was not asked")
	errNotWorking = errors.New("it does not work yet")
	errTooOften   = errors.New("too often")
)

// Record is how one room has behaved.
type Record struct {
	who      string
	rank     int // 0 is the strongest
	owed     map[imsg.Type]int
	heard    map[*rule]*imsg.Meter
	quarrels map[string]*quarrel // by opponent, whom they outlive
	most     int                 // opponents that make it the liar
}

// New returns the record of a room that has just been started. Nobody else is ever called
// the same. The rooms have ranks, the strongest has 0. One that all share, and that has
// all of them for peers, may have more against it than another.
func New(who string, rank int, shared bool) *Record {
	c := &Record{
		who: who, rank: rank, most: maxOpponents,
		owed: make(map[imsg.Type]int), heard: make(map[*rule]*imsg.Meter), quarrels: make(map[string]*quarrel),
	}
	if shared {
		c.most = maxOpponentsShared
	}
	return c
}

// Ask has the room owe an answer.
func (c *Record) Ask(answer imsg.Message) { c.owed[imsg.Row(answer).Type]++ }

// Judge counts what the room says at a moment, when it works or before. The error is the
// rule it breaks.
func (c *Record) Judge(msg imsg.Message, working bool, now time.Time) error {
	t := imsg.Row(msg).Type
	r := ruleFor(msg)
	switch {
	case r == nil:
		return errNoRule
	case r.owed:
		if c.owed[t] == 0 {
			return errNotAsked
		}
		c.owed[t]--
		return nil
	case r.working && !working:
		return errNotWorking
	}
	n := 1
	if r.weight != nil {
		n = r.weight(msg)
	}
	if c.heard[r] == nil {
		c.heard[r] = &imsg.Meter{Pace: r.pace}
	}
	if !c.heard[r].Take(n, now) {
		return errTooOften
	}
	return nil
}

func ruleFor(msg imsg.Message) *rule {
	for i := range rules {
		r := &rules[i]
		if imsg.Row(r.message) == imsg.Row(msg) && (r.only == nil || r.only(msg)) {
			return r
		}
	}
	return nil
}
