// A room as the parent knows it, and how one is started.

package parent

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/parent/spawn"
)

// child is one running room.
type child struct {
	*room
	*spawn.Process
	log             *slog.Logger // says of whom it speaks
	number          int
	gen             *generation
	index           int   // among the rooms of its kind in gen
	adopted         []int // indexes of dead workers whose sockets it serves as well
	state           imsg.MemberState
	fails           int               // early deaths of its predecessors in a row
	greeted         bool              // has said who it is
	ready           bool              // has said so
	drained         bool              // a worker: has stopped accepting
	stopping        bool              // its end is wanted
	undead          bool              // was killed, and has not died of it
	before          *child            // an undead one whose place it took, or its predecessors did
	owed            bool              // undead, and not replaced yet
	unready         int               // times it was asked and not ready
	accusations     int               // reports about stronger rooms
	firstStderrLine string            // of it
	local           map[string]string // scand: the sockets' names below its root
}

func (m *child) String() string { return fmt.Sprintf("%s %d", m.Name, m.number) }

// start starts one room of g in its place among others of its kind.
func (p *parent) start(r *room, g *generation, index int) (*child, error) {
	spec, local := g.site.Sandbox(r.Room, r.files(g.site), p.logsToFile(g))
	spec.Name, spec.Scripts = r.comm, r.scripts
	number := p.counts[r.Name] + 1
	m := &child{
		room: r, log: p.log.With("room", r.Name, "member", number),
		number: number, gen: g, index: index, local: local, state: imsg.Starting,
	}
	order := spawn.Order{Program: p.self, Room: r.Name, Spec: spec, Kill: p.killProcess}
	if r.threads != nil {
		order.Threads = r.threads(g.site)
	}
	var err error
	m.Process, err = spawn.Start(order,
		spawn.Events{
			Message:   func(r link.Request) { p.post(func() { p.take(m, r) }) },
			LinkEnded: func(err error) { p.post(func() { p.linkEnded(m, err) }) },
			Line:      func(text string) { p.post(func() { m.said(text) }) },
			Ended:     func(err error) { p.post(func() { p.ended(m, err) }) },
			Undead:    func() { p.post(func() { p.abandon(m) }) },
		})
	if err != nil {
		return nil, err
	}
	p.counts[r.Name] = number
	p.children = append(p.children, m)
	p.familyDirty = true
	return m, nil
}

// said logs a line of a room's stderr.
func (m *child) said(text string) {
	m.firstStderrLine = cmp.Or(m.firstStderrLine, text)
	m.log.Error("room said", "text", text)
}

// tell sends, and ends a room that does not take what it is told.
func (m *child) tell(msg imsg.Notice, files ...*os.File) {
	if err := m.Tell(msg, files...); err != nil {
		m.log.Error("room does not listen", "error", err)
		m.Kill()
	}
}

// dismiss ends a room that has no work left.
func (m *child) dismiss() {
	if !m.stopping {
		m.stopping = true
		m.Dismiss()
	}
}

// cause words how a room ended.
func cause(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}
