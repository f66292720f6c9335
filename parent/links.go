// Which rooms talk to each other.

package parent

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

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
