// What a room may say to the parent, when, and how often. This file owns the rules. A
// room that breaks one is ended, so they must let pass whatever an honest one can come
// to say.

package parent

import (
	"errors"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// rule is about one message: it is owed, once for each time the parent has asked for
// it, or it comes unasked, at a pace.
type rule struct {
	message imsg.Message
	owed    bool
	working bool                   // not before the room was told to start
	pace    imsg.Pace              // of what comes unasked
	weight  func(imsg.Message) int // how often one counts, nil: once
}

var rules = []rule{
	{message: &imsg.Hello{}, owed: true},
	{message: &imsg.Ready{}, owed: true},
	{message: &imsg.Drained{}, owed: true},
	// A room names few peers, and each a few times.
	{message: &imsg.BadPeer{}, working: true, pace: imsg.Pace{Burst: 64, Every: time.Minute}},
	// No worker reaches so many servers.
	{message: &imsg.Sockets{}, working: true, pace: imsg.Pace{Burst: 4096, Every: 500 * time.Microsecond}, weight: socketsWanted},
	// An operator need not wait until lockd has started.
	{message: &imsg.Reload{}, pace: twice(imsg.Orders)},
	{message: &imsg.Stop{}, pace: twice(imsg.Orders)},
}

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

// conduct is how a room has kept the rules.
type conduct struct {
	owed  map[imsg.Type]int
	heard map[imsg.Type]*imsg.Meter
}

// ask has a room owe an answer.
func (c *conduct) ask(answer imsg.Message) {
	if c.owed == nil {
		c.owed = make(map[imsg.Type]int)
	}
	c.owed[imsg.Row(answer).Type]++
}

// judge counts what a room says at a moment. The error is the rule it breaks.
func (c *conduct) judge(msg imsg.Message, working bool, now time.Time) error {
	t := imsg.Row(msg).Type
	r := ruleFor(t)
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
	if c.heard[t] == nil {
		if c.heard == nil {
			c.heard = make(map[imsg.Type]*imsg.Meter)
		}
		c.heard[t] = &imsg.Meter{Pace: r.pace}
	}
	if !c.heard[t].Take(n, now) {
		return errTooOften
	}
	return nil
}

func ruleFor(t imsg.Type) *rule {
	for i := range rules {
		if imsg.Row(rules[i].message).Type == t {
			return &rules[i]
		}
	}
	return nil
}
