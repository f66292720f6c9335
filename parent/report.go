// What lockd is told of the family, for those who ask it.

package parent

import (
	"os"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// sayFamily tells lockd who is there, for those who ask it.
func (p *parent) sayFamily() {
	lockd := p.keeper()
	if !p.familyDirty || p.current == nil || lockd == nil {
		return
	}
	f := p.report
	f.Generation = p.current.number
	f.Rooms = []imsg.Member{{
		Room: imsg.Parent, PID: os.Getpid(),
		Generation: p.current.number, State: imsg.Running, Started: f.Started,
	}}
	for _, m := range p.children {
		f.Rooms = append(f.Rooms, imsg.Member{
			Room: m.Name, Member: m.number, PID: m.PID,
			Generation: m.gen.number, State: m.state, Started: m.Started.UnixNano(),
		})
	}
	lockd.tell(&f)
	p.familyDirty = false
}
