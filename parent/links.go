// Which rooms talk to each other, and what is done when two of them cannot.

package parent

import (
	"fmt"
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/parent/conduct"
)

// linked tells whether two rooms share a link. Rooms of one generation talk to
// each other and to the lasting room; only the newest script runner gets work.
func (p *parent) linked(a, b *child) bool {
	if !a.linked(b.Name) || a.leaves() || b.leaves() {
		return false
	}
	if a.newest || b.newest {
		return a.gen == p.current && b.gen == p.current
	}
	return a.lasting || b.lasting || a.gen == b.gen
}

// leaves tells of lockd that another program's takes over from it: it ends behind the last
// worker, and must get no other.
func (m *child) leaves() bool { return m.lasting && m.state == imsg.Draining }

func (p *parent) link(a, b *child) {
	one, two, err := link.Pair()
	if err != nil {
		p.log.Error("link rooms", "one", a.String(), "other", b.String(), "error", err)
		a.Kill() // its replacement gets another try
		return
	}
	a.tell(&imsg.Peer{Room: b.Name, Member: b.number}, one)
	b.tell(&imsg.Peer{Room: a.Name, Member: a.number}, two)
	one.Close()
	two.Close()
}

// onBadPeer hears that a room reports another. One that is gone meanwhile, or about to,
// does not matter.
func (p *parent) onBadPeer(by *child, msg *imsg.BadPeer) {
	if !by.linked(msg.Room) || msg.Member < 1 || msg.Member > p.family.started[msg.Room] {
		by.breach(msg, fmt.Errorf("it never had a link to %s", name(msg.Room, msg.Member)))
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
	if msg.Fault == imsg.Shortage { // nobody's fault: it was paused for, and may come again
		by.log.Info("room lacks what a link takes: it gets another", "peer", m.String())
		p.link(by, m)
		return
	}
	m.log.Error("room reported for a bad message", "by", by.String())
	liar := conduct.Quarrel(by.conduct, m.conduct, time.Now())
	for _, one := range []*child{by, m} {
		if one.conduct == liar {
			one.expel("room is ended: its word stands against others'", "others", liar.Opponents())
			return
		}
	}
	p.link(by, m)
}
