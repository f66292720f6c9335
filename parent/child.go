// A room as the parent knows it: what it is told and handed, and how it is ended.
// This file owns that a room which does not take what it is told is ended.

package parent

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/conduct"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
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
	alsoServes      []int // indexes of dead workers whose sockets it serves as well
	state           imsg.MemberState
	brake           spawn.Brake       // of its predecessors
	conduct         *conduct.Record   // how it has behaved
	saidHello       bool              // has said who it is
	ready           bool              // has said so
	drained         bool              // a worker: has stopped accepting
	stopping        bool              // its end is wanted
	stuck           bool              // was killed, and has not died of it
	stuckBefore     *child            // a stuck one whose place it took, or its predecessors did
	replaceLater    bool              // stuck, and not replaced yet
	unready         int               // times it was asked and not ready
	goroutines      uint32            // as it said when last it was asked
	linesLost       uint64            // the same
	hung            bool              // was ended for it
	firstStderrLine string            // of it
	trap            sandbox.Trap      // reads the others
	pairs           []handed          // of the files it has of each certificate
	looking         bool              // for such that are others
	local           map[string]string // scand: the sockets' names below its root
}

func (m *child) String() string { return name(m.Name, m.number) }

// name is what a room is called: nobody else ever is.
func name(r imsg.Room, number int) string { return fmt.Sprintf("%s %d", r, number) }

// onStderr logs a line of a room's stderr.
func (m *child) onStderr(text string) {
	m.firstStderrLine = cmp.Or(m.firstStderrLine, text)
	m.log.Error("room said", "text", text)
	if call, sprung := m.trap.Line(text); sprung {
		m.sayForbidden(call)
	}
}

// sayForbidden says that a room did what no honest one does.
func (m *child) sayForbidden(call string) {
	m.log.Log(context.Background(), logs.LevelCrit, "room was ended by the kernel: it made a system call that none of its words allows", "call", call)
}

// expel ends a room that does what it may not. That is said once.
func (m *child) expel(why string, args ...any) {
	if m.Killed() {
		return
	}
	m.log.Error(why, args...)
	m.Link.Close()
	m.Kill()
}

// breach ends a room that has broken a rule.
func (m *child) breach(msg imsg.Message, err error) {
	m.expel("room says what it may not", "message", imsg.Row(msg).Name, "error", err)
}

// tell sends, and ends a room that does not take what it is told.
func (m *child) tell(msg imsg.Notice, files ...*os.File) {
	if err := m.Tell(msg, files...); err != nil {
		m.expel("room does not listen", "error", err)
	}
}

// tellSink has a room write its log to s, by a descriptor of its own, and tells it how
// the administrator calls the files below its root. Of one that moves to a new
// configuration it stays.
func (m *child) tellSink(s *host.Sink) {
	own, err := s.Own()
	if err != nil {
		m.log.Error("room gets no log", "error", err)
		m.Kill() // its replacement gets another try
		return
	}
	told := s.Sink
	told.Root = m.gen.site.Root(m.Room)
	m.tell(&told, own)
	own.Close()
}

// dismiss ends a room that has no work left.
func (m *child) dismiss() {
	if !m.stopping {
		m.stopping = true
		m.Dismiss()
	}
}
