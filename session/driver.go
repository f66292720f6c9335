package session

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
	"github.com/smtp-gated/smtp-gated/imsg/process"
	"github.com/smtp-gated/smtp-gated/session/relay"
	"github.com/smtp-gated/smtp-gated/session/stream"
)

// This file owns how a relay is driven: whoever has news of a session, its poller or
// another room's answer, has it run until nothing more can be done. Nothing is decided
// here, and the lock is not held while a file is worked on or anybody is asked.

// A stream must not bring more at a time than a relay is shown.
const (
	_ = uint(relay.MaxInput - stream.BufferSize)
	_ = uint(relay.MaxText - stream.LargeSize)
)

// maxSteps is how much is done for one session before others have their turn.
const maxSteps = 32

// errMute is why nothing more is written to a side.
var errMute = errors.New("nothing more is written")

// start has the session relayed.
func (s *session) start(r *relay.Relay) {
	s.mu.Lock()
	defer s.unlock()
	if s.relay != nil && !s.succeeds() {
		return
	}
	s.relay = r
	if s.ended { // the client has gone meanwhile
		r.Abort(s.closedBy)
	} else if !s.relayed {
		s.relayed = true
		s.refs.Add(1) // until it is closed
	}
	if s.locked {
		r.Lock()
	}
	if s.killed {
		r.Kill()
	} else if s.w.mustEnd() {
		r.Finish()
	}
	s.run(loop.Passing) // be it that of the link to lockd
}

// News has the session go on: one of its connections may be read, or written.
func (s *session) News(turn *loop.Turn) {
	if !s.hold() {
		return
	}
	defer s.unref()
	s.mu.Lock()
	if s.header != nil {
		s.mu.Unlock()
		s.readHeader()
		return
	}
	if then, err := s.called(); then != nil {
		s.mu.Unlock()
		then(err)
		return
	}
	defer s.unlock()
	if s.relay != nil {
		s.run(turn)
	}
}

// run does what there is to do until something must be waited for; s.mu is held, but not
// while a file is worked on. It is due whenever the relay was told of something, by who
// holds the session.
func (s *session) run(turn *loop.Turn) {
	s.shows = [2]bool{true, true}
	for steps := 1; s.step(turn); steps++ {
		switch {
		case steps%maxSteps != 0:
		case turn == nil:
			// The loop or the clock may wait for the lock, and with them all others.
			s.mu.Unlock()
			runtime.Gosched()
			s.mu.Lock()
		default:
			if !turn.Again(s) {
				s.follow()
			}
			return
		}
	}
	if !s.over() && s.relay.Over() {
		s.close()
	}
}

// step does the next thing, and tells whether there was one.
func (s *session) step(turn *loop.Turn) (did bool) {
	if s.broken {
		return false
	}
	s.seal(relay.Server, &s.server)
	s.seal(relay.Client, &s.client)
	s.takeBack()
	s.runErrand()
	s.ask(turn)
	if s.work(turn) || s.write(relay.Server) || s.write(relay.Client) {
		s.shows = [2]bool{true, true}
		return true
	}
	// Each side in turn: nobody may be kept waiting by the other.
	for range 2 {
		s.turn = 1 - s.turn
		if s.read(s.turn) {
			return true
		}
	}
	return false
}

// read has the relay take what has come of a side.
func (s *session) read(side relay.Side) (did bool) {
	t := s.stream(side)
	switch {
	case s.over() || !t.Opened() || s.gone[side]:
		return false
	case s.relay.Direct(side):
		return s.relay.Pending(1-side) == 0 && s.move(side)
	case !s.reads(side):
		return false
	case s.shows[side]:
		s.shows[side] = false
		if in := t.Bytes(); len(in) > 0 {
			s.show(side, t, in)
			return true
		}
	}
	t.Large(side == relay.Client && s.relay.ReadsText())
	switch err := t.Fill(); {
	case err == nil:
		s.shows[side] = true
	case err == stream.ErrAgain && s.unread[side]:
		s.unread[side] = false // it was none of the relay's: a record of TLS itself
		s.show(side, t, t.Bytes())
	case err == stream.ErrAgain:
		return false
	case side == relay.Client:
		s.relay.ClientEnded(errors.Is(err, io.EOF))
	default:
		s.gone[side] = true
		s.relay.ServerEnded()
	}
	return true
}

func (s *session) reads(side relay.Side) bool {
	if side == relay.Client {
		return s.relay.ReadsClient()
	}
	return s.relay.Fate(relay.Server) < relay.Last && s.relay.ReadsServer()
}

// show shows the relay what is buffered. What it has left it is shown again when
// something else has happened.
func (s *session) show(side relay.Side, t *stream.Stream, in []byte) {
	s.shown[side] = t.Received()
	n := 0
	if side == relay.Client {
		if n = s.relay.FromClient(in); s.relay.Lends() {
			s.lent = n
		} else {
			t.Consume(n)
		}
	} else {
		n = s.relay.FromServer(in)
		t.Consume(n)
	}
	s.shows[side] = n > 0
}

// takeBack drops what was lent to the relay, once it is written. Nothing is read of the
// client before.
func (s *session) takeBack() {
	if s.lent > 0 && !s.relay.Lends() {
		s.client.Consume(s.lent)
		s.lent = 0
	}
}

// over tells whether there is nothing left to do for the relay.
func (s *session) over() bool { return s.broken || s.ended }

// follow has another goroutine go on with the session; s.mu is held.
func (s *session) follow() {
	if s.following || !s.hold() {
		return
	}
	s.following = true
	go func() {
		defer s.unref()
		s.mu.Lock()
		defer s.unlock()
		s.following = false
		s.run(nil)
	}()
}

// write writes what there is for a side, and tells whether that is done.
func (s *session) write(side relay.Side) bool {
	out := &s.sending[side]
	if !out.busy {
		b := s.relay.Take(side)
		if b == nil {
			return false
		}
		out.busy, out.rest = true, b
	}
	n, err := s.stream(side).Write(out.rest)
	if out.rest = out.rest[n:]; err == stream.ErrAgain {
		return false
	}
	s.wrote(side, err)
	return true
}

// wrote says that what there was for a side was written, or why it was not.
func (s *session) wrote(side relay.Side, err error) {
	s.sending[side] = sending{}
	s.relay.Wrote(side, err)
}

// sending is what was taken to be written to a side, and is not written yet.
type sending struct {
	busy  bool
	rest  []byte
	until time.Time // zero: it may take its time
}

func (s *session) stream(side relay.Side) *stream.Stream {
	if side == relay.Client {
		return &s.client
	}
	return &s.server
}

// seal ends what the relay says is to be ended of a connection.
func (s *session) seal(side relay.Side, t *stream.Stream) {
	fate := s.relay.Fate(side)
	if !t.Opened() {
		return
	}
	if fate != s.fate[side] {
		s.fate[side] = fate
		switch fate {
		case relay.Mute:
			if s.sending[side].busy {
				s.wrote(side, errMute)
			}
		case relay.Last:
			s.sending[side].until = time.Now().Add(relay.LingerWait)
		case relay.Closed:
			t.Close()
			if s.sending[side].busy {
				s.wrote(side, net.ErrClosed)
			}
		}
	}
	if fate == relay.Half && !s.halved[side] && s.relay.Pending(side) == 0 {
		s.halved[side] = true
		t.CloseWrite()
	}
}

// late tells whether a side has not taken the last octets for it in time, and gives them
// up.
func (s *session) late(side relay.Side) bool {
	out := &s.sending[side]
	if !out.busy || out.until.IsZero() || time.Now().Before(out.until) {
		return false
	}
	s.wrote(side, os.ErrDeadlineExceeded)
	return true
}

// work does the next thing there is to do to the spool.
func (s *session) work(turn *loop.Turn) bool {
	if turn.Wary() {
		if s.relay.HasJob() {
			s.follow()
		}
		return false
	}
	job, ok := s.relay.Job()
	if !ok {
		return false
	}
	if err := s.do(turn, job); !s.broken {
		s.relay.Done(s.spool.Kept(), err)
	}
	return true
}

// do does it, without the lock.
func (s *session) do(turn *loop.Turn, job relay.Job) (err error) {
	s.mu.Unlock()
	defer s.mu.Lock()
	turn.Slow(func() {
		switch job.Do {
		case relay.Begin:
			err = s.spool.Begin(&s.w.spools, s.facts.ID(), fs.FileMode(s.w.cfg.SpoolPerm), job.Text)
		case relay.Write:
			err = s.spool.Write(job.Text)
		case relay.Empty, relay.Keep:
			s.spool.Finish(job.Do == relay.Keep)
		case relay.Drop:
			s.spool.Drop()
		}
	})
	return err
}

// The rest is what a relay uses of the process around it.

// Ask has a question put to another room.
func (s *session) Ask(q *relay.Question) { s.questions = append(s.questions, q) }

// ask puts the questions there are.
func (s *session) ask(turn *loop.Turn) {
	for len(s.questions) > 0 {
		if turn.Wary() { // a scanner is given a file
			s.follow()
			return
		}
		q := s.questions[0]
		s.questions = s.questions[1:]
		if s.hold() {
			s.put(turn, q)
		}
	}
}

// put asks, without the lock. What is answered is told the relay as soon as there is something.
// The session is held until then.
func (s *session) put(turn *loop.Turn, q *relay.Question) {
	s.mu.Unlock()
	asked := false
	defer func() {
		s.mu.Lock()
		if !asked { // it has panicked
			s.refs.Add(-1)
		}
	}()
	s.askFor(turn, q)
	asked = true
}

// answered tells the relay what was answered, or that nothing was.
func (s *session) answered(turn *loop.Turn, q *relay.Question, a imsg.Message, err error, took time.Duration) {
	defer s.unref()
	s.mu.Lock()
	defer s.unlock()
	if !s.broken {
		s.relay.Answer(q, a, err, took)
		s.run(turn)
	}
}

// Unread tells whether octets have come that the relay was not shown yet.
func (s *session) Unread(side relay.Side) bool {
	t := s.stream(side)
	s.unread[side] = t.Received() != s.shown[side] || t.Pending()
	return s.unread[side]
}

// Count adds to one of the family's counters.
func (s *session) Count(c imsg.Counter, n uint64) { s.w.count(c, n) }

// Asked counts block lists, a bit each, that answered and that did not.
func (s *session) Asked(answered, silent uint32) { s.w.asked(answered, silent) }

// Took adds a time to one of the family's histograms.
func (s *session) Took(h imsg.Histogram, d time.Duration) { s.w.took(h, d) }

// Now is how long there has been a session.
func (s *session) Now() time.Duration { return time.Since(s.facts.Started) }

// Tell tells of an event, and adds when it was and whose.
func (s *session) Tell(e imsg.Event) {
	if s.facts.Check {
		return
	}
	e.Time, e.ID = time.Now().UnixNano(), s.facts.ID()
	e.Client, e.Target, e.Ident, e.Login = s.facts.Client, s.facts.Target, s.facts.Ident, s.facts.Login
	s.w.reports.event(e)
}

// Observe notes that something we depend on went well, or why not: problem is empty if it
// did.
func (s *session) Observe(f imsg.FindingID, object, problem string) {
	s.w.reports.observe(f, object, problem)
	if f == imsg.FindingServer {
		s.rate(problem)
	}
}

// Octets is how many have come of both sides so far.
func (s *session) Octets() uint64 { return uint64(s.client.Received() + s.server.Received()) }

// Load is the load average of the last minute.
func (s *session) Load() float64 { return process.Load() }
