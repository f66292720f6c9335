package relay

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns the client's half: how the client's octets are read, and how what it
// is busy with goes on.

// client is the client's half.
type client struct {
	*shared
	lines smtp.LineScanner
	spoke bool // the client has begun, and not with TLS

	early     bool // it has spoken before there was a greeting, and is not read until there is
	earlyTold bool // it was told that it talks early, which nothing follows
	helo      string

	plan     []step     // what is to be done before the next octet is read
	waits    imsg.State // what the first of it waits for
	waiting  bool
	question *Question

	command      command  // the one that is being decided on
	prepared     *message // the one it will begin
	refusal      refusal  // what becomes of it, or of the message
	chunk        chunk
	discard      int64  // octets of a refused chunk still to come
	discardReply []byte // the reply to it, said behind them
	unread       bool   // the last octets shown were not all used
	full         bool   // it was counted that no more commands have a place
	tlsUses      int    // of passedRates that were asked for

	takeover takeover
}

// step is one thing the client's half has to do. It does it and returns true; or it
// cannot yet, changes nothing, and is taken again when something has happened.
type step func(*client) (done bool)

// do has steps taken in place of what was planned. The next octet of the client is read
// behind the last of them.
func (c *client) do(steps ...step) { c.plan = steps }

// run goes on with whatever can go on, then with the client's octets, and returns how
// many of them were used.
func (c *client) run(in []byte) (n int) {
	for {
		c.settle()
		if len(c.plan) > 0 {
			if !c.proceed() {
				break
			}
			continue
		}
		if n == len(in) || n > 0 && len(in) > MaxInput {
			break // of more not all that it comes to would have room
		}
		if !c.reads() {
			c.countFull()
			break
		}
		k, ok := c.read(in[n:])
		n += k
		if !ok {
			break
		}
	}
	if len(in) > 0 {
		c.unread, c.clock.left = n < len(in), 0
	}
	return n
}

// countFull counts, once, that octets of the client have to wait for a place.
func (c *client) countFull() {
	full := c.isFull() && !c.over()
	if full && !c.full {
		c.world.Count(imsg.CountPipeline, 1)
	}
	c.full = full
}

// settle sees to what has happened to the session as a whole.
func (c *client) settle() {
	judging := c.reading == verdictPending && len(c.plan) > 0
	if c.handshake == readyTold && c.pending(Client) == 0 && !c.ended {
		c.handshake, c.errand = withClient, SecureClient
	}
	switch {
	case judging: // a client that was caught is reported, whatever became of the session
	case c.ended:
		c.do()
		c.question = nil
	case c.rejection != nil:
		c.beginRejected()
	case c.failure != nil:
		why := c.failure
		c.failure = nil
		c.dropServer()
		c.greetAndTakeOver(why)
	case c.handshake != noHandshake: // nothing can be said
	case c.ending && len(c.plan) == 0 && !c.inMessage() && c.fate[Client] == Open:
		c.do((*client).owedReplies, (*client).sayShutdown)
	}
}

// proceed takes the steps that are planned. False: one of them waits.
func (c *client) proceed() bool {
	for len(c.plan) > 0 {
		c.waiting = false
		plan := c.plan
		c.plan = plan[1:]
		if !plan[0](c) {
			c.plan, c.waiting = plan, true
			c.command.keep()
			return false
		}
	}
	c.waiting = false
	return true
}

// wait says what a step waits for.
func (c *client) wait(what imsg.State) (done bool) {
	c.waits = what
	return false
}

// ask puts a question, and returns it when it is answered; nil, the step has to wait.
func (c *client) ask(what imsg.State, m imsg.Message, q Question) *Question {
	if c.question == nil {
		q.Message = m
		c.question = &q
		c.world.Ask(c.question)
	}
	if !c.question.answered {
		c.wait(what)
		return nil
	}
	answered := c.question
	c.question = nil
	return answered
}

// repliesIn tells whether the client has every reply it is owed, and hears what is said.
func (c *client) repliesIn() bool {
	return c.queue.len() == 0 && c.handshake == noHandshake || c.wait(imsg.StateReply)
}

// owedReplies waits for every reply that the server owes.
func (c *client) owedReplies() (done bool) { return !c.greeted || c.repliesIn() }

// reads tells whether the client's octets are looked at now: not while a step waits, nor
// while a reply is awaited that decides on how, nor while pipeline_size replies are
// owed (RFC 2920, 3.2), nor while client or server take no more.
//
// Nobody waits for ever: the server has every command that was collected, in whole
// lines, so the next word is its own.
func (c *client) reads() bool {
	switch {
	case c.fate[Client] != Open:
		return c.fate[Client] == Half
	case len(c.plan) > 0, c.ended, c.rejection != nil, c.reading == direct, c.pending(Client) >= maxUnheard:
		return false
	case c.taken:
		return true
	}
	return c.handshake == noHandshake && !c.replyPending && !c.isFull() && !c.introducing && !(c.early && c.mayMove()) && c.writes(Server)
}

// isFull tells whether so many replies are owed that the client's next command has no
// place. What we say ourselves, be it to the server or to the client, needs none: a
// command brings two entries at most. Octets of a message and its end are no commands.
func (c *client) isFull() bool {
	return c.reading == commands && c.queue.len() >= c.Config.PipelineSize
}

// read decides on the next of the client's octets, and returns how many were used.
// False: they are the start of something, and more are needed.
func (c *client) read(in []byte) (n int, ok bool) {
	switch {
	case c.fate[Client] == Half: // what comes behind our last words is nobody's
		c.Trace.octets(fromClient, len(in))
		return len(in), true
	case c.discard > 0:
		return c.discardChunk(in), true
	case c.takeover.rest != nil:
		return c.discardText(in), true
	case c.reading == text:
		return c.readText(in)
	case c.reading == octets:
		return c.readChunk(in)
	case c.reading == hello:
		return c.readHello(in), true
	}
	return c.readLine(in)
}

// gone is the client's end. One that closed its writing half only still gets the
// replies it is owed; a message without an end goes no further. The end is passed on
// at once, as it would be without us: a server that looks before it answers a message
// does not take one nobody waits for.
func (c *client) gone(clean bool) {
	switch {
	case clean && !c.over() && c.reading == commands && c.queue.len() > 0:
		c.setFate(Server, Half)
		c.do((*client).repliesIn, (*client).endClient)
	case clean:
		c.endClient()
	default: // a reset is a close, too
		c.end("client")
	}
}

// endClient ends the session of a client that says no more, and may hear what is
// pending still.
func (c *client) endClient() (done bool) {
	c.closeBy("client")
	c.dismissServer()
	c.setFate(Client, Last)
	return true
}

// shown is what the client's half does, or waits for.
func (c *client) shown() imsg.State {
	switch {
	case c.handshake == moving:
		return imsg.StateConnect
	case c.handshake != noHandshake:
		return imsg.StateTLS
	case c.waiting:
		return c.waits
	case c.replyPending:
		return imsg.StateReply
	}
	return c.state
}
