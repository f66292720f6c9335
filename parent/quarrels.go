// Who goes when two rooms disagree. One says that the other has said what it may not;
// only these two have seen it, and either may lie. This file owns the verdict.
//
// A report is a quarrel of the two, whoever makes it, and costs them their link: they
// get a fresh one. A room that quarrels with a second one is the liar and goes; lockd,
// which keeps what all share, may have a few more against it. Two that go on quarrelling
// lose the weaker of them, and if that one's replacement quarrels as well, the other has
// its second.

package parent

import (
	"fmt"
	"maps"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	maxFreshLinks = 3 // between the same two
	// maxOpponents is how many different rooms it takes to convict one.
	maxOpponents      = 2
	maxOpponentsLockd = 4
)

// quarrels counts a room's by its opponents. It is forgotten with the room, and outlives
// them.
type quarrels map[string]int

// liar tells whether a room stands against too many others.
func (m *child) liar() bool {
	if m.lasting {
		return len(m.quarrels) >= maxOpponentsLockd
	}
	return len(m.quarrels) >= maxOpponents
}

// verdict counts a quarrel of two rooms and returns who must go, nil: nobody yet.
func verdict(a, b *child) *child {
	weaker, stronger := a, b
	if a.rank() < b.rank() {
		weaker, stronger = b, a
	}
	weaker.quarrels[stronger.String()]++
	stronger.quarrels[weaker.String()]++
	switch {
	case weaker.liar():
		return weaker
	case stronger.liar():
		return stronger
	case weaker.quarrels[stronger.String()] > maxFreshLinks:
		return weaker
	}
	return nil
}

// onBadPeer hears that a room reports another. One that is gone meanwhile, or about to,
// does not matter.
func (p *parent) onBadPeer(by *child, msg *imsg.BadPeer) {
	if !by.linked(msg.Room) || msg.Member < 1 || msg.Member > p.family.started[msg.Room] {
		by.breach(msg, fmt.Errorf("it never had a link to %s %d", msg.Room, msg.Member))
		return
	}
	i := slices.IndexFunc(p.family.children, func(m *child) bool { return m.Name == msg.Room && m.number == msg.Member })
	if i < 0 {
		return
	}
	m := p.family.children[i]
	if m.stopping || m.Killed() || m.state == imsg.Starting || !p.linked(by, m) {
		return
	}
	m.log.Error("room reported for a bad message", "by", by.String())
	if liar := verdict(by, m); liar != nil {
		liar.expel("room is ended: its word stands against others'", "others", slices.Sorted(maps.Keys(liar.quarrels)))
		return
	}
	p.link(by, m)
}
