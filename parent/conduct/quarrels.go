// Who goes when two rooms disagree. One says that the other has said what it may not;
// only these two have seen it, and either may lie. This file owns the verdict.
//
// A report is a quarrel of the two, whoever makes it, and costs them their link: they
// get a fresh one. A room that quarrels with a second one is the liar and goes; one that
// all share may have a few more against it. Two that go on quarrelling lose the weaker of
// them, and if that one's replacement quarrels as well, the other has its second. What
// was long ago counts no more: those who spoiled it are not there any longer.

package conduct

import (
	"maps"
	"slices"
	"time"
)

const (
	maxFreshLinks = 3 // between the same two
	// maxOpponents is how many different rooms it takes to convict one.
	maxOpponents       = 2
	maxOpponentsShared = 4
	// memory is how long a quarrel counts after the last of the same two.
	memory = time.Hour
)

// quarrel is what a room has with another.
type quarrel struct {
	count int
	last  time.Time
}

// with counts one with another room, forgets what is over, and returns how many the two
// have had.
func (c *Record) with(other *Record, now time.Time) int {
	maps.DeleteFunc(c.quarrels, func(_ string, q *quarrel) bool { return now.Sub(q.last) > memory })
	q := c.quarrels[other.who]
	if q == nil {
		q = new(quarrel)
		c.quarrels[other.who] = q
	}
	q.count++
	q.last = now
	return q.count
}

// Opponents returns with whom the room has quarrelled of late.
func (c *Record) Opponents() []string { return slices.Sorted(maps.Keys(c.quarrels)) }

// liar tells whether the room stands against too many others.
func (c *Record) liar() bool { return len(c.quarrels) >= c.most }

// Quarrel counts one of two rooms and returns who must go, nil: nobody yet.
func Quarrel(a, b *Record, now time.Time) *Record {
	weaker, stronger := a, b
	if a.rank < b.rank {
		weaker, stronger = b, a
	}
	n := weaker.with(stronger, now)
	stronger.with(weaker, now)
	switch {
	case weaker.liar():
		return weaker
	case stronger.liar():
		return stronger
	case n > maxFreshLinks:
		return weaker
	}
	return nil
}
