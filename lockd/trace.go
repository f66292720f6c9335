// Traces: whose sessions an operator sees the dialogue of. This file owns which sessions
// those are, of all workers together, and when a trace ends; the workers write. lockd must
// never write to an operator's file: it may lie anywhere.

package lockd

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
)

// Why a trace is over.
const (
	traceDone  = "its sessions are over"
	traceLate  = "its time is over"
	traceLeave = "another lockd takes over"
)

// trace is one that is under way; the room's lock guards it.
type trace struct {
	id      uint64
	client  netip.Prefix
	file    *os.File
	share   int // octets of it that each session may write
	left    int // sessions to come
	running int
	begun   int
	until   time.Time
	timer   *time.Timer
	uid     int // of the operator
	over    bool
}

// tracing is all of them.
type tracing struct {
	list []*trace
	last uint64 // number that was given
}

// Trace implements control.House.
func (srv view) Trace(m *imsg.Trace, uid int, f *os.File) *imsg.Done {
	done := srv.beginTrace(m, uid, f)
	if done.Errno != 0 {
		f.Close()
	}
	return done
}

func (srv *server) beginTrace(m *imsg.Trace, uid int, f *os.File) *imsg.Done {
	refuse := func(kind imsg.Errno, why string) *imsg.Done { return &imsg.Done{Errno: kind, Detail: why} }
	client, err := m.Client.Unmap().WithZone("").Prefix(m.Bits)
	switch {
	case err != nil:
		return refuse(imsg.Invalid, imsg.NetworkText(m.Client, m.Bits)+" is no network")
	case m.For < time.Second:
		return refuse(imsg.Invalid, "a trace takes a second at least")
	case !mayBeWritten(f):
		return refuse(imsg.Invalid, "what came along is no new regular file that is open to be appended to")
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	switch {
	case srv.leaving:
		return refuse(imsg.Gone, "another lockd takes over just now: try again")
	case len(srv.tracing.list) >= imsg.MaxTraces:
		return refuse(imsg.Busy, strconv.Itoa(imsg.MaxTraces)+" traces are under way, and there are no more at once: smtp-gatectl status shows them")
	}
	srv.tracing.last++
	t := &trace{
		id: srv.tracing.last, client: client, file: f, share: (imsg.MaxTrace - imsg.TraceHead) / m.Sessions,
		left: m.Sessions, until: srv.env.now().Add(m.For), uid: uid,
	}
	t.timer = time.AfterFunc(m.For, func() {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		srv.endTrace(t, traceLate)
	})
	srv.tracing.list = append(srv.tracing.list, t)
	for w := range srv.workers {
		srv.handTrace(w, t)
	}
	return &imsg.Done{}
}

// mayBeWritten tells whether f is what a worker may be handed: a regular file, for no other
// can be told how much it takes, with no more in it than its head, that is appended to, for
// all of them write to it.
func mayBeWritten(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	good := false
	err = raw.Control(func(fd uintptr) {
		var st unix.Stat_t
		if unix.Fstat(int(fd), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > imsg.TraceHead {
			return
		}
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		good = err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY && flags&unix.O_APPEND != 0
	})
	return err == nil && good
}

// handTrace hands a trace to a worker.
func (srv *server) handTrace(w *worker, t *trace) {
	switch err := w.conn.Send(&imsg.TraceFile{ID: t.id, Share: t.share}, t.file); err {
	case nil, imsg.Gone:
	case imsg.Busy:
		srv.dropWorker(w, "does not take what it is told")
	default: // its sessions are not traced
		srv.log.Warn("trace is not handed over", "client", t.name(), "member", w.member, "error", err)
	}
}

// handTraces hands those that are under way to a worker that has just come.
func (srv *server) handTraces(w *worker) {
	for _, t := range srv.tracing.list {
		srv.handTrace(w, t)
	}
}

// traced has s be part of the first trace that there is of its client, as its admission is
// to say.
func (srv *server) traced(s *session, a *imsg.Admission) {
	client := s.client.Addr().WithZone("")
	for _, t := range srv.tracing.list {
		if t.left > 0 && t.client.Contains(client) {
			t.left--
			t.running++
			t.begun++
			s.trace, a.Trace = t, t.id
			return
		}
	}
}

// untraced is that s is over, and gives its place back if it was never begun.
func (srv *server) untraced(s *session, begun bool) {
	t := s.trace
	if t == nil {
		return
	}
	s.trace = nil
	t.running--
	if !begun {
		t.left++
		t.begun--
	}
	if t.left == 0 && t.running == 0 {
		srv.endTrace(t, traceDone)
	}
}

// endTrace ends a trace, whatever becomes of its sessions; mu is held.
func (srv *server) endTrace(t *trace, why string) {
	if t.over {
		return
	}
	t.over = true
	t.timer.Stop()
	srv.tracing.list = slices.DeleteFunc(srv.tracing.list, func(o *trace) bool { return o == t })
	srv.log.Log(context.Background(), logs.LevelNotice, "trace is over", "client", t.name(), "reason", why, "sessions", t.begun, "uid", t.uid)
	for w := range srv.workers {
		if w.conn.Send(&imsg.TraceEnd{ID: t.id}) == imsg.Busy {
			srv.dropWorker(w, "does not take what it is told")
		}
	}
	go t.file.Close() // which may wait for a disk
}

// endTraces ends all.
func (srv *server) endTraces(why string) {
	for _, t := range slices.Clone(srv.tracing.list) {
		srv.endTrace(t, why)
	}
}

// name is whose sessions they are.
func (t *trace) name() string { return imsg.NetworkText(t.client.Addr(), t.client.Bits()) }

// status is what an operator sees of the traces; mu is held.
func (t *tracing) status() []imsg.TraceStatus {
	var list []imsg.TraceStatus
	for _, t := range t.list {
		list = append(list, imsg.TraceStatus{
			Client: t.client.Addr(), Bits: t.client.Bits(), Left: t.left, Running: t.running, Until: t.until.UnixNano(), UID: t.uid,
		})
	}
	return list
}
