package session

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/process"
	"github.com/smtp-gated/smtp-gated/session/relay"
	"github.com/smtp-gated/smtp-gated/session/stream"
)

// This file owns how a relay is driven: two goroutines, each reads one side, tells the
// relay, and does what it says. Nothing is decided here, and the lock is not held
// while anything is read, written or asked.

// longAgo is a deadline that ends at once whatever waits.
var longAgo = time.Unix(1, 0)

// A stream must not bring more at a time than a relay is shown.
const _ = uint(relay.MaxInput - stream.BufferSize)

// start has the session relayed. The relay runs on fresh stacks: what set-up needed
// of this one goes with it.
func (s *session) start(r *relay.Relay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.relay = r
	if s.ended { // the client has gone meanwhile
		r.Abort(s.closedBy)
	}
	s.refs.Add(1)
	go s.fromClient()
	if r.Fate(relay.Server) < relay.Last {
		s.refs.Add(1)
		go s.fromServer()
	}
	if s.locked {
		r.Lock()
	}
	if s.w.mustEnd() {
		r.Finish()
	}
}

// fill waits, without the lock, for octets.
func (s *session) fill(t *stream.Stream) error {
	s.mu.Unlock()
	defer s.mu.Lock()
	return t.Fill()
}

// fromClient reads the client until the session ends.
func (s *session) fromClient() {
	defer s.unref()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.relayClient() {
		if err := s.fill(&s.client); err != nil && !s.broken {
			s.relay.ClientEnded(errors.Is(err, io.EOF))
			s.happened(true)
		}
	}
}

// relayClient has the relay take what has come of the client, and returns when more of
// it is needed. False: there is nothing more to read.
func (s *session) relayClient() bool {
	for !s.over() {
		in := s.client.Bytes()
		switch {
		case s.relay.Direct(relay.Client) && s.relay.Pending(relay.Server) == 0:
			s.pump(&s.server, &s.client, "client")
			return false
		case !s.relay.ReadsClient():
			if !s.act(true) {
				s.cond.Wait()
			}
		case len(in) == 0:
			if !s.act(true) {
				return true
			}
		default:
			s.shown[relay.Client] = s.client.Received()
			n := s.relay.FromClient(in)
			s.client.Consume(n)
			more := n == 0 && s.relay.ReadsClient()
			if !s.happened(true) && more {
				return true
			}
		}
	}
	return false
}

// fromServer reads the server until it closes, or until we drop it.
func (s *session) fromServer() {
	defer s.unref()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.relayServer() {
		if s.fill(&s.server) != nil && !s.broken {
			s.relay.ServerEnded()
			s.happened(false)
			return
		}
	}
}

// relayServer is relayClient for the server. What is to be written to the server is left
// to others: nobody may wait for a server that waits until we read it.
func (s *session) relayServer() bool {
	for !s.over() && s.relay.Fate(relay.Server) < relay.Last {
		in := s.server.Bytes()
		switch {
		case s.relay.Direct(relay.Server) && s.relay.Pending(relay.Client) == 0:
			s.pump(&s.client, &s.server, "server")
			return false
		case !s.relay.ReadsServer():
			if !s.act(false) {
				s.cond.Wait()
			}
		case len(in) == 0:
			if !s.act(false) {
				return true
			}
		default:
			s.shown[relay.Server] = s.server.Received()
			n := s.relay.FromServer(in)
			s.server.Consume(n)
			more := n == 0 && s.relay.ReadsServer()
			if !s.happened(false) && more {
				return true
			}
		}
	}
	return false
}

// over tells whether there is nothing left to do for the relay.
func (s *session) over() bool { return s.broken || s.ended }

// happened is due when the relay was told of something: others who wait look again, and
// what it says is done. It tells whether there was anything to do.
func (s *session) happened(all bool) (did bool) {
	s.cond.Broadcast()
	return s.act(all)
}

// act does what the relay says, until it says nothing more, and tells whether there
// was anything. s.mu is held, but not while it is done. What is to be written to the
// server is done if all is, or if it is the last.
func (s *session) act(all bool) (did bool) {
	for !s.broken {
		s.seal(relay.Server, &s.server)
		s.seal(relay.Client, &s.client)
		s.runErrand()
		last := s.relay.Fate(relay.Server) == relay.Last
		if !(all && s.work() || (all || last) && s.write(relay.Server) || s.write(relay.Client)) {
			break
		}
		did = true
		s.cond.Broadcast()
	}
	if !s.broken && s.relay.Over() && !s.ended {
		s.close()
	}
	return did || s.broken
}

// follow has another goroutine do what the relay says; s.mu is held.
func (s *session) follow() {
	if !s.hold() {
		return
	}
	go func() {
		defer s.unref()
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.broken {
			s.happened(true)
		}
	}()
}

// write writes what there is for a side.
func (s *session) write(side relay.Side) bool {
	b := s.relay.Take(side)
	if b == nil {
		return false
	}
	if err := s.send(s.stream(side), b); !s.broken {
		s.relay.Wrote(side, err)
	}
	return true
}

// send writes without the lock.
func (s *session) send(t *stream.Stream, b []byte) error {
	s.mu.Unlock()
	defer s.mu.Lock()
	return t.Write(b)
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
	if t.Conn == nil {
		return
	}
	if fate != s.fate[side] {
		s.fate[side] = fate
		switch fate {
		case relay.Mute:
			t.Conn.SetWriteDeadline(longAgo)
		case relay.Last:
			t.Conn.SetWriteDeadline(time.Now().Add(relay.LingerWait))
		case relay.Closed:
			t.Conn.Close()
		}
	}
	if fate == relay.Half && !s.halved[side] && s.relay.Pending(side) == 0 {
		s.halved[side] = true
		t.CloseWrite()
	}
}

// work does the next thing there is to do to the spool.
func (s *session) work() bool {
	job, ok := s.relay.Job()
	if !ok {
		return false
	}
	if err := s.do(job); !s.broken {
		s.relay.Done(s.spool.Kept(), err)
	}
	return true
}

// do does it, without the lock.
func (s *session) do(job relay.Job) error {
	s.mu.Unlock()
	defer s.mu.Lock()
	switch job.Do {
	case relay.Begin:
		return s.spool.Begin(s.facts.ID(), fs.FileMode(s.w.cfg.SpoolPerm), job.Text)
	case relay.Write:
		return s.spool.Write(job.Text)
	case relay.Empty, relay.Keep:
		s.spool.Finish(job.Do == relay.Keep)
	case relay.Drop:
		s.spool.Drop()
	}
	return nil
}

// The rest is what a relay uses of the process around it.

// Ask has a question put to another room.
func (s *session) Ask(q *relay.Question) {
	if s.hold() {
		go s.put(q)
	}
}

// put asks, and tells the relay what was answered.
func (s *session) put(q *relay.Question) {
	defer s.unref()
	start := time.Now()
	a, err := s.askFor(q)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.broken {
		s.relay.Answer(q, a, err, time.Since(start))
		s.happened(true)
	}
}

// Unread tells whether octets have come that the relay was not shown yet.
func (s *session) Unread(side relay.Side) bool {
	t := s.stream(side)
	return t.Received() != s.shown[side] || t.Pending()
}

// Log logs a line, if log_level is such. It costs nothing if it is not.
func (s *session) Log(level slog.Level, msg string, attrs ...any) {
	if s.w.log.Enabled(context.Background(), level) {
		s.log().Log(context.Background(), level, msg, attrs...)
	}
}

// Always logs a line at any log_level.
func (s *session) Always(msg string, attrs ...any) { s.always(msg, attrs...) }

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
	e.Time, e.ID = time.Now().UnixNano(), s.facts.ID()
	e.Client, e.Target, e.Ident = s.facts.Client, s.facts.Target, s.facts.Ident
	s.w.reports.event(e)
}

// Observe notes that something we depend on went well, or why not: problem is empty if it
// did.
func (s *session) Observe(f imsg.FindingID, object, problem string) {
	s.w.reports.observe(f, object, problem)
}

// Octets is how many have come of both sides so far.
func (s *session) Octets() uint64 { return uint64(s.client.Received() + s.server.Received()) }

// Load is the load average of the last minute.
func (s *session) Load() float64 { return process.Load() }
