// Package relay is a session between a client and its server as a machine: it is given
// what has happened, and says what is to be written, asked or ended. Nothing in it
// waits, sleeps, or runs beside its caller. What has to wait is a state, with a name,
// and goes on when the next thing happens.
//
// It has three parts. The client's half reads the client and decides what the server
// gets; the server's half reads the server and decides what the client hears; what
// both must know stands between them, in shared. The session's driver owns sockets,
// files, links and the clock.
package relay

import (
	"log/slog"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns what a driver may say to a relay, and what it may ask it.

const (
	// MaxInput is the most octets of one side that a relay is shown at a time, and uses
	// if it does not lend them. It is more than the longest line of either side.
	MaxInput = 32 << 10
	// MaxText is the most of the client's that it is shown where ReadsText holds, and
	// until it has used them.
	MaxText = 128 << 10
)

// World is what a relay uses of the process around it. Nothing in it waits.
type World interface {
	// Ask has a question put to another room. Its answer comes by Answer.
	Ask(q *Question)
	// Unread tells whether octets of Client or Server have come that the relay was not
	// shown yet, those aside that it was shown and has left.
	Unread(side Side) bool
	// Log logs a line about the session, if log_level is such.
	Log(level slog.Level, msg string, attrs ...any)
	// Always logs a line that log parsers count on at any log_level.
	Always(msg string, attrs ...any)
	// Count adds to one of the family's counters.
	Count(c imsg.Counter, n uint64)
	// Asked counts block lists, a bit each, that answered and that did not.
	Asked(answered, silent uint32)
	// Took adds a time to one of the family's histograms.
	Took(h imsg.Histogram, d time.Duration)
	// Now is how long there has been a session.
	Now() time.Duration
	// Tell tells of an event of the session's: its driver adds who and when.
	Tell(e imsg.Event)
	// Observe notes that something the session depends on went well, or why not: problem
	// is empty if it did.
	Observe(f imsg.FindingID, object, problem string)
	// Octets is how many have come of both sides so far, those too that a direct proxy
	// has moved.
	Octets() uint64
	// Load is the machine's load average of the last minute.
	Load() float64
}

// Relay is one session, from the connection to its server to its end. One caller at a
// time uses it. After each call the driver does what Take, Job and Errand return, ends what
// Fate tells, and looks again whom it has to read.
type Relay struct {
	shared shared
	client client
	server server
}

// New returns the relay of a session whose server is connected.
func New(facts *Facts, world World) *Relay {
	r := new(Relay)
	r.shared.Facts, r.shared.world, r.shared.state = facts, world, imsg.StatePre
	r.shared.secured = facts.Secured
	if r.shared.policy = facts.Config.TLS.PolicyFor(facts.Client.Addr(), facts.Target); facts.Secured[Client] {
		r.shared.policy = imsg.TLSTerminate
	}
	if facts.Check && r.shared.policy == imsg.TLSPass { // it would be out of sight
		r.shared.policy = imsg.TLSMask
	}
	r.client = client{shared: &r.shared}
	r.client.lines.Bare = bareNewline(facts.Config)
	r.server = server{shared: &r.shared}
	r.server.begin()
	r.shared.touch() // its time begins now, whatever the driver's clock shows
	return r
}

// Unreachable returns the relay of a session that has no server. It greets in the
// server's place and takes over; reason is what the client hears then, and rule why that
// is so.
func Unreachable(facts *Facts, world World, rule imsg.PolicyRule, detail, reason string) *Relay {
	r := New(facts, world)
	r.shared.queue, r.shared.introducing = queue{}, false
	r.shared.fate[Server], r.shared.noted = Closed, true // by who did not reach it
	r.client.greetAndTakeOver(&refusal{rule: rule, detail: detail, text: reason})
	return r
}

// ReadsClient tells whether the client is to be read. While it is not, what it sends
// waits in the kernel.
func (r *Relay) ReadsClient() bool {
	return r.client.reads() && r.shared.pending(Server) == 0 && !r.shared.spoolBusy()
}

// ReadsText tells whether what comes of the client is text, or a chunk, and may be much.
func (r *Relay) ReadsText() bool { return r.shared.reading == text || r.shared.reading == octets }

// ReadsServer tells whether the server is to be read.
func (r *Relay) ReadsServer() bool { return r.server.reads() && r.shared.pending(Client) < maxUnheard }

// FromClient shows what has come of the client and was not used yet, at most MaxInput
// octets, or MaxText, and returns how many of them are used up. What is left is shown
// again, with more behind it; while ReadsClient still holds, and no more than MaxInput
// were shown, more is needed. It may be called with nothing new. What is used up must stay
// as it is while Lends holds.
func (r *Relay) FromClient(in []byte) (n int) {
	if !r.ReadsClient() {
		return 0
	}
	if r.client.stirs() {
		r.shared.touch()
	}
	return r.client.run(in)
}

// FromServer is FromClient for the server.
func (r *Relay) FromServer(in []byte) (n int) {
	if !r.ReadsServer() {
		return 0
	}
	if !r.shared.introducing && !r.shared.mayMove() {
		r.shared.touch()
	}
	n = r.server.run(in)
	r.client.run(nil)
	return n
}

// ClientEnded says that no octet of the client will come: clean at its end, or else
// because of an error of the connection.
func (r *Relay) ClientEnded(clean bool) {
	r.client.gone(clean)
	r.client.run(nil)
}

// AwaitsClient tells whether the client waits and is not read, so that nobody would see
// it close.
func (r *Relay) AwaitsClient() bool {
	return r.shared.fate[Client] != Closed && !r.Direct(Client) && !r.ReadsClient()
}

// ClientLeft says that the client has closed meanwhile: its connection, or its writing
// half. It is said at each tick, and tells whether there is something to do now.
func (r *Relay) ClientLeft(whole bool) bool {
	before := r.shared.fate
	r.client.left(whole)
	r.client.run(nil)
	return r.shared.fate != before
}

// ServerEnded says that no octet of the server will come.
func (r *Relay) ServerEnded() {
	r.server.gone()
	r.client.run(nil)
}

// Answer gives the answer to a question, or why there is none: an imsg.Errno; and how
// long that took.
func (r *Relay) Answer(q *Question, answer imsg.Message, err error, took time.Duration) {
	if q != r.client.question && q != r.server.question {
		return // nobody wants to know any more
	}
	q.answer, q.err, q.took, q.answered = answer, err, took, true
	r.shared.touch()
	r.server.answered()
	r.client.run(nil)
}

// Tick says what the driver's clock shows. It must be called every now and then: time
// passes for a relay at no other moment. It tells whether there is something to do now.
func (r *Relay) Tick(now time.Duration) bool {
	r.server.countPassed()
	asking := r.client.question != nil || r.server.question != nil
	if r.shared.fate[Client] == Closed || !r.shared.overdue(now, r.client.patience(asking)) {
		return false
	}
	r.client.expire()
	r.client.run(nil)
	return true
}

// Touch is a sign of life that the relay cannot see: of a direct proxy.
func (r *Relay) Touch() { r.shared.touch() }

// Lock says that the client got locked.
func (r *Relay) Lock() { r.shared.locked = true }

// Finish says that the relay must end as soon as no message is under way: behind every
// reply the client is owed it hears 421 (RFC 5321, 3.8).
func (r *Relay) Finish() {
	r.shared.ending = true
	if r.shared.passing() {
		r.shared.end("admin")
	}
	r.client.run(nil)
}

// Kill ends the relay because an operator says so: at once, whatever is under way, and
// with 421 where that can be said. A message whose end is out has its answer awaited, or
// the client would send it again; a second Kill cuts that, too.
func (r *Relay) Kill() {
	r.client.kill()
	r.client.run(nil)
}

// Abort ends the relay at once, because of by.
func (r *Relay) Abort(by string) {
	r.shared.end(by)
	r.client.run(nil)
}

// Direct tells whether what comes of a side is moved by the driver, those octets first
// that the relay was shown and has left, and nobody looks at them.
func (r *Relay) Direct(from Side) bool {
	s := &r.shared
	return !s.ended && s.answers != toHello && (s.reading == direct || from == Server && s.reading == hello)
}

// Moved says that a direct proxy has seen the end of a half: it was by's.
func (r *Relay) Moved(by string) {
	if r.shared.closedBy == "" {
		r.shared.closedBy = by
	}
}

// Pending is how many octets are to be written to a side still.
func (r *Relay) Pending(side Side) int { return r.shared.pending(side) }

// Fate tells what is to become of a connection.
func (r *Relay) Fate(side Side) Fate { return r.shared.fate[side] }

// Over tells whether there is nothing left to do: both connections are at their end,
// and who was caught is reported.
func (r *Relay) Over() bool {
	return r.shared.fate == [2]Fate{Closed, Closed} && len(r.client.plan) == 0
}

// Close is the relay's last word.
func (r *Relay) Close() {
	r.server.logEnvelope()
	r.shared.noteLeft()
}

// Status is what others may know of a session.
type Status struct {
	State        imsg.State
	Auth         imsg.AuthFlags
	Transactions int    // messages the server has taken, or begun to
	Recipients   int    // that the server took
	ClosedBy     string // client, server, timeout, admin, operator, error; empty: nobody has yet
	Taken        bool   // the server is gone, and we answer in its place
	Barred       bool   // its login may not send
	Direct       bool   // it is a direct proxy, or was one
	Passed       uint64 // octets it has moved that are to be counted still
}

// Status returns what others may know of the session now.
func (r *Relay) Status() Status {
	s := &r.shared
	return Status{
		State: r.shown(), Auth: s.auth, Transactions: s.transactions, Recipients: s.recipients,
		ClosedBy: s.closedBy, Taken: s.taken || s.rejection != nil, Barred: s.barred != nil, Direct: s.passing(), Passed: s.uncounted(),
	}
}

// shown is what others see of what the session does.
func (r *Relay) shown() imsg.State {
	if r.server.question != nil {
		return imsg.StateQuota
	}
	return r.client.shown()
}
