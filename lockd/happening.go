// What has happened, for those who want to know of it. This file owns that all of it goes
// one way, and what of it is the room's own.

package lockd

import (
	"strconv"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// happened hears of each event. It waits for nothing, and may be called with or without
// the room's lock.
func (srv *server) happened(e imsg.Event) {
	if e.Time == 0 {
		e.Time = srv.env.now().UnixNano()
	}
	e.Sender = srv.history.Sender(e.Sender)
	srv.history.Add(&e)
	srv.events.Add(e)
}

// historyKept hears whether the history can be kept; problem is empty if it can.
func (srv *server) historyKept(problem string) {
	srv.observe(imsg.FindingHistoryLost, "", problem)
}

// told are events of w's sessions. What is not a worker's to tell ends the link.
func (srv *server) told(w *worker, m *imsg.Events) {
	for i := range m.Events {
		e := &m.Events[i]
		if !imsg.EventKindTable[e.Kind].From.Has(imsg.Session) {
			srv.dropWorker(w, "tells of what is not its own: "+e.Kind.String())
			return
		}
		srv.happened(*e)
	}
	if m.Lost > 0 {
		srv.happened(imsg.Event{Kind: imsg.EventLost, Count: m.Lost})
	}
}

// about is what there is to say of s.
func (s *session) about(kind imsg.EventKind) imsg.Event {
	start := strconv.FormatInt(s.started/int64(time.Second), 10)
	return imsg.Event{
		Kind: kind, ID: start + "." + strconv.FormatUint(s.number, 10), Client: s.client, Ident: s.ident, Login: s.login, Target: s.target,
	}
}

// opened is that s keeps its place, as its admission is to say.
func (srv *server) opened(s *session, a *imsg.Admission) {
	if !s.opened {
		s.opened = true
		srv.traced(s, a)
		srv.passed(s, "open", "")
	}
}

// withRoom is how a session ended that did not say so itself.
const withRoom = "its room has ended"

// byOperator is how one has ended whose end an operator has asked for.
const byOperator = "an operator has ended it"

// closed is that s is over, if it ever kept its place; how is empty if it was as it should.
func (srv *server) closed(s *session, how string) {
	if how == "" && s.killed {
		how = byOperator
	}
	srv.untraced(s, true)
	if s.opened {
		srv.passed(s, "close", how)
	}
}

func (srv *server) passed(s *session, what, how string) {
	if s.check {
		return
	}
	e := s.about(imsg.EventSession)
	e.Detail, e.Text = what, how
	srv.happened(e)
}

// familyChanged tells of what the parent says that has happened to the family.
func (srv *server) familyChanged(before, after *imsg.Family) {
	last := lastEnd(after)
	if before.Started != after.Started { // it is the first we hear of it
		if last.Object == imsg.Lockd.String() {
			srv.happened(imsg.Event{Kind: imsg.EventRoom, Detail: last.Object, Text: last.Text, Count: 1})
		}
		return
	}
	if after.Reloaded > before.Reloaded {
		srv.happened(imsg.Event{Kind: imsg.EventReload, Detail: after.Config, Count: uint64(after.Generation)})
	}
	if n := after.Crashes - before.Crashes; n > 0 {
		srv.happened(imsg.Event{Kind: imsg.EventRoom, Detail: last.Object, Text: last.Text, Count: uint64(n)})
	}
}

// lastEnd is the last end of a room that nobody had asked for.
func lastEnd(f *imsg.Family) (last imsg.Trouble) {
	for _, t := range f.Troubles {
		if (t.Finding == imsg.FindingRestarted || t.Finding == imsg.FindingHung) && t.Last > last.Last {
			last = t
		}
	}
	return last
}
