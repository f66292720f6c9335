// Which rooms talk to each other, and what is done when one says what it may not.

package parent

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// maxAccusations is how many reports about stronger rooms are heard.
const maxAccusations = 8

// linked tells whether two rooms share a link. Rooms of one generation talk to
// each other and to the lasting room; only the newest script runner gets work.
func (p *parent) linked(a, b *child) bool {
	if !a.linked(b.Name) {
		return false
	}
	if a.newest || b.newest {
		return a.gen == p.current && b.gen == p.current
	}
	return a.lasting || b.lasting || a.gen == b.gen
}

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

// onBadPeer hears that a room said what it may not. It is ended and replaced,
// unless the report comes from a weaker one: that gets a fresh link, a few times.
func (p *parent) onBadPeer(by *child, msg *imsg.BadPeer) {
	for _, m := range p.family.children {
		if m.Name != msg.Room || m.number != msg.Member || !p.linked(by, m) {
			continue
		}
		m.log.Error("room reported for a bad message", "by", by.String())
		if by.rank() < m.rank() {
			m.Kill()
			return
		}
		if by.accusations++; by.accusations > maxAccusations {
			by.Kill()
			return
		}
		p.link(by, m)
		return
	}
}
