package session

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/session/relay"
)

// This file owns where traces go: the files that lockd has handed over, and how much of
// them is a session's. What stands there is package relay's. No session waits for a file:
// what that does not take in time is counted, and lost.

const (
	// maxTraced is how much waits for the file of a trace, in octets.
	maxTraced = 256 << 10
	// lastTraced is how long the end of the worker waits for that.
	lastTraced = time.Second
	// usedUp is what a session says last that has used up its share, and usedUpRoom how much
	// that takes.
	usedUp     = "... this session's share of the file is used up, and it goes on unseen"
	usedUpRoom = 256
)

// traces are those that lockd has told of, and not ended; the worker's lock guards them.
type traces map[uint64]*traceFile

// traceFile is the file of a trace, for all of the worker's sessions that are part of it.
type traceFile struct {
	log   *slog.Logger
	from  *link.Conn // of the lockd that ends it
	share int

	mu       sync.Mutex
	file     *os.File
	waiting  []byte
	lost     int  // lines for which there was no room, behind those that wait
	writing  bool // a goroutine is at it
	ended    bool // nothing more is taken
	sessions int
	writers  *sync.WaitGroup
}

// trace takes up a file. More than there may be at once are not lockd's to hand over.
func (w *worker) trace(r link.Request, m *imsg.TraceFile) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if before := w.traces[m.ID]; before != nil {
		before.end("")
		delete(w.traces, m.ID)
	}
	if len(w.traces) >= imsg.MaxTraces {
		w.log.Error("trace refused", "error", "there are too many")
		r.Close()
		return
	}
	w.traces[m.ID] = &traceFile{log: w.log, from: r.From(), share: m.Share, file: r.Files[0], writers: &w.tracing}
}

// endTrace ends a trace, whatever becomes of its sessions.
func (w *worker) endTrace(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.traces[id]; f != nil {
		delete(w.traces, id)
		f.end("... the trace is over, and sessions go on unseen")
	}
}

// endTraces ends those of a lockd that is there no more.
func (w *worker) endTraces(from *link.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, f := range w.traces {
		if f.from == from {
			delete(w.traces, id)
			f.end("... the link to the room that keeps the trace has ended: these sessions go on unseen")
		}
	}
}

// settleTraces waits until all is written that was shown.
func (w *worker) settleTraces() {
	written := make(chan struct{})
	go func() {
		w.tracing.Wait()
		close(written)
	}()
	select {
	case <-written:
	case <-time.After(lastTraced): // the disk may never answer
	}
}

// traced has the session be part of the trace that its admission names.
func (s *session) traced(a *imsg.Admission) {
	if a.Trace == 0 || s.facts.Trace != nil {
		return
	}
	s.w.mu.Lock()
	f := s.w.traces[a.Trace]
	s.w.mu.Unlock()
	if f != nil && f.join() {
		s.traceFile = f
		s.facts.Trace = relay.NewTrace(&s.facts, &tracer{f, s, f.share})
	}
}

// endTrace is that the session is over.
func (s *session) endTrace(by string) {
	if s.traceFile != nil {
		s.facts.Trace.End(by)
		s.traceFile.leave()
		s.traceFile = nil
	}
}

// tracer is where one session's trace goes.
type tracer struct {
	file    *traceFile
	session *session
	left    int // octets of its share; less than 0: it was said that there are none
}

// Now implements relay.Tracer.
func (t *tracer) Now() time.Duration { return t.session.Now() }

// TraceLine implements relay.Tracer.
func (t *tracer) TraceLine(line []byte) {
	n := len(line) + len("\n")
	switch {
	case t.left < 0:
		return
	case t.left-n < usedUpRoom:
		line = fmt.Appendf(nil, "%d %s", t.session.facts.Number, usedUp)
		t.left = -1
	default:
		t.left -= n
	}
	t.file.add(line)
}

// join takes a session in. False: the trace is over.
func (f *traceFile) join() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended {
		f.sessions++
	}
	return !f.ended
}

func (f *traceFile) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions--
}

// add has a line written.
func (f *traceFile) add(line []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addLocked(line)
}

func (f *traceFile) addLocked(line []byte) {
	switch {
	case f.ended:
		return
	case f.lost > 0 || len(f.waiting)+len(line) >= maxTraced:
		f.lost++ // until the file has taken what waits
		return
	}
	f.waiting = append(append(f.waiting, line...), '\n')
	f.begin()
}

// begin has a goroutine write, if none does; f.mu is held.
func (f *traceFile) begin() {
	if !f.writing {
		f.writing = true
		f.writers.Add(1)
		go f.write()
	}
}

// write writes what waits, until nothing does.
func (f *traceFile) write() {
	defer f.writers.Done()
	for {
		f.mu.Lock()
		b := f.waiting
		f.waiting = nil
		if f.lost > 0 {
			b = fmt.Appendf(b, "... %d lines were lost: the file did not take them in time\n", f.lost)
			f.lost = 0
		}
		if len(b) == 0 {
			over := f.ended
			f.writing = over // nobody is to write any more, nor to close it
			f.mu.Unlock()
			if over { // who shows something must not wait for a disk
				f.file.Close()
			}
			return
		}
		f.mu.Unlock()
		if _, err := f.file.Write(b); err != nil {
			f.log.Warn("trace cannot be written", "error", err)
			f.mu.Lock()
			f.ended, f.waiting, f.lost = true, nil, 0
			f.mu.Unlock()
		}
	}
}

// end takes nothing more; sessions that are under way have last words.
func (f *traceFile) end(last string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last != "" && f.sessions > 0 {
		f.addLocked([]byte(last))
	}
	if !f.ended {
		f.ended = true
		f.begin()
	}
}
