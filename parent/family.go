// The rooms there are, and what lockd is told of them for those who ask it. This
// file owns the list; what happens to a room it does not decide.

package parent

import (
	"os"
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// family is the rooms that run.
type family struct {
	children   []*child
	started    map[imsg.Room]int // ever, by kind
	report     imsg.Family       // but for what changes with each
	dirty      bool              // lockd has not heard yet who is there
	elders     []imsg.Member     // the rooms that are left of the program before this one
	goroutines uint32            // our own, when last the rooms were asked for theirs
	linesLost  uint64            // of our own log
}

func (f *family) add(m *child) {
	f.started[m.Name] = m.number
	f.children = append(f.children, m)
	f.dirty = true
}

func (f *family) remove(m *child) {
	f.children = slices.DeleteFunc(f.children, func(o *child) bool { return o == m })
	f.dirty = true
}

func (f *family) has(m *child) bool { return slices.Contains(f.children, m) }

// all returns the rooms there are now: some may go while they are walked through.
func (f *family) all() []*child { return slices.Clone(f.children) }

// of returns the rooms of a generation.
func (f *family) of(g *generation) (all []*child) {
	for _, m := range f.children {
		if m.gen == g {
			all = append(all, m)
		}
	}
	return all
}

// sessions counts the session workers of a generation, nil: of all.
func (f *family) sessions(g *generation) (n int) {
	for _, m := range f.children {
		if m.serves && (g == nil || m.gen == g) {
			n++
		}
	}
	return n
}

// lasting returns the room that outlives generations, if it is at work.
func (f *family) lasting() *child {
	for _, m := range f.children {
		if m.lasting && m.state == imsg.Running && !m.stopping {
			return m
		}
	}
	return nil
}

// count keeps a number of goroutines.
func (f *family) count(kept *uint32, now uint32) {
	f.dirty = f.dirty || *kept != now
	*kept = now
}

// crashed counts a room that ended unasked.
func (f *family) crashed(room imsg.Room) {
	f.report.Crashes++
	if f.report.Restarts == nil {
		f.report.Restarts = make([]uint64, imsg.AllRooms)
	}
	f.report.Restarts[room]++
	f.report.LastCrash = time.Now().UnixNano()
}

// tell tells lockd who is there, if that is news; g is in force.
func (f *family) tell(g *generation) {
	lockd := f.lasting()
	if !f.dirty || g == nil || lockd == nil {
		return
	}
	report := f.report
	report.Troubles = slices.Clone(f.report.Troubles) // it goes out by another goroutine
	report.Restarts = slices.Clone(f.report.Restarts)
	report.Generation, report.TOML = g.number, g.site.InTOML()
	report.Listen = nil
	for _, l := range g.listeners[:min(len(g.listeners), imsg.FamilyListens)] {
		report.Listen = append(report.Listen, l.Addr.String())
	}
	report.Rooms = append([]imsg.Member{{
		Room: imsg.Parent, PID: os.Getpid(),
		Generation: g.number, State: imsg.Running, Started: report.Started,
		Goroutines: f.goroutines,
	}}, f.members()...)
	report.Rooms = append(report.Rooms, f.elders...)
	lockd.tell(&report)
	f.dirty = false
}

// members are the rooms as others see them.
func (f *family) members() (all []imsg.Member) {
	for _, m := range f.children {
		all = append(all, imsg.Member{
			Room: m.Name, Member: m.number, PID: m.PID,
			Generation: m.gen.number, State: m.state, Started: m.Started.UnixNano(),
			Goroutines: m.goroutines,
		})
	}
	return all
}
