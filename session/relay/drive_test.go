package relay

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns a driver without goroutines: it does what session's driver does, one
// event at a time, in an order that a seed draws. What a client, a server and a spool
// do about it stands in files of their own.

// wire is a connection as the driver has it, and the kernel.
type wire struct {
	kernel  []byte // has come, and was not read
	buffer  []byte // was read, and is not used
	shown   int    // octets of buffer that the relay was shown
	come    int    // octets that have come so far
	closed  bool   // the other side has closed its writing half
	reset   bool   // or all of the connection
	armed   bool   // a read waits
	gone    bool   // its reader has returned
	writing []byte // taken, and not written yet
	part    int    // octets of it that the other side has
	stalled int    // events for which the other side takes nothing
	halved  bool   // our half is closed
	fate    Fate   // at the last check
	pending int    // at the last check
}

// drive is one session.
type drive struct {
	seed       uint64
	calm       bool       // nothing fails, nobody is late: only the order is drawn
	lazy       bool       // what the relay says waits for its turn, too
	order      *rand.Rand // draws the events
	relay      *Relay
	facts      Facts
	wires      [2]wire
	client     *speaker
	server     *mta
	spool      store
	open       []*asked // questions without an answer
	handshakes [2]bool  // under way
	redials    bool     // the server is being called anew
	told       []int    // codes of what the client was refused, as others were told
	job        *Job     // that is being done
	now        time.Duration
	load       float64
	locked     bool
	authed     bool   // the server has taken a log-in
	granted    bool   // the octets of a message were
	loose      bool   // the server has said what nobody asked for: no reply is known by its place
	finishing  bool   // the relay must end
	ended      bool   // the driver has closed both connections
	answer     bool   // at the last check, the answer to a message was awaited
	direct     bool   // at the last check, it was a direct proxy
	moved      int    // octets, by a direct proxy
	lent       []byte // of the client's, to the relay
	tlsPort    bool   // the client begins with TLS, and the server's port is for that
	caught     bool   // a virus was found, and lockd does not know
	letOut     int    // messages whose end was let out
	asks       int    // questions so far
	hasty      bool   // the server likes to answer a message before its end
	rare       int    // one event in so many is one that ends the session, or hurts
	events     []event
	words      []word // what both sides heard, if it is wanted
}

// word is what was heard by a side, or said by the client.
type word struct {
	who    who
	octets []byte
}

// who heard or said a word.
type who string

const (
	clientHeard who = "client hears"
	serverHeard who = "server hears"
	clientSaid  who = "client says "
)

// note keeps what was said, if it is wanted; what is heard in pieces is one word.
func (d *drive) note(who who, b []byte) {
	if d.words == nil {
		return
	}
	if n := len(d.words); n > 0 && d.words[n-1].who == who {
		d.words[n-1].octets = append(d.words[n-1].octets, b...)
		return
	}
	d.words = append(d.words, word{who, append([]byte{}, b...)})
}

// failure ends a run.
type failure string

func (d *drive) fail(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

// run drives the session to its end, and returns what went wrong.
func (d *drive) run() (problem string) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case failure:
			problem = string(v)
		default:
			problem = fmt.Sprintf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	d.check()
	for quiet := 0; !d.relay.Over(); {
		if d.relay.Direct(Client) && d.moveDirect() {
			break
		}
		if d.step() {
			continue
		}
		d.checkQuiet()
		if !d.wait() {
			quiet++
		}
		if quiet > maxQuiet {
			d.fail("it does not end: %+v, fates %v", d.relay.Status(), d.relay.shared.fate)
		}
	}
	d.close()
	return ""
}

// maxQuiet is after how many looks at the clock a session must be over in which nothing
// else happens: each brings hours.
const maxQuiet = 20

// step has one of the things happen that can. False: nothing can.
func (d *drive) step() bool {
	var weights [eventKinds]int
	total := 0
	for k := range eventKinds {
		weights[k] = d.weight(k)
		total += weights[k]
	}
	if total == 0 {
		for i := range d.wires {
			if d.wires[i].stalled > 0 {
				d.wires[i].stalled = 0
				return true
			}
		}
		return false
	}
	if len(d.events) > maxEvents {
		d.fail("there is no end of events")
	}
	k := d.pick()
	if k == eventKinds {
		at := d.order.IntN(total)
		for k = 0; at >= weights[k]; k++ {
			at -= weights[k]
		}
	}
	d.happen(k)
	for i := range d.wires {
		if d.wires[i].stalled > 0 {
			d.wires[i].stalled--
		}
	}
	return true
}

const maxEvents = 100_000

// pick draws, seldom, an event that needs no occasion.
func (d *drive) pick() eventKind {
	if d.hasty && d.server.mode == mtaText && d.order.IntN(20) == 0 {
		return serverBlurts
	}
	if d.calm || d.rare == 0 || d.order.IntN(d.rare) > 0 {
		return eventKinds
	}
	return []eventKind{ticks, serverBlurts, rarities, clientFails, serverFails, clientCloses, serverCloses}[d.order.IntN(7)]
}

// act does at once what the relay says, unless that has its turn, too.
func (d *drive) act() {
	d.beginErrand()
	d.check()
	if d.lazy {
		return
	}
	if d.job == nil {
		d.beginJob()
	}
	d.take(Server)
	d.take(Client)
	d.check()
}

// tick shows the clock to the relay, and whether its client has gone.
func (d *drive) tick(passed time.Duration) int {
	d.now += passed
	d.relay.Tick(d.now)
	d.check()
	if w := &d.wires[Client]; d.relay.AwaitsClient() && w.closed {
		d.relay.ClientLeft(w.reset)
	}
	return int(passed / time.Millisecond)
}

// wait has what happens when nothing else does: a client that has all it is owed
// closes, a server that should have, or hours pass. False: hours.
func (d *drive) wait() bool {
	if c := &d.wires[Client]; !c.closed && !(d.rare > 0 && d.order.IntN(3) == 0) {
		c.closed = true
		d.events = append(d.events, event{clientCloses, 0})
		return true
	}
	d.events = append(d.events, event{ticks, d.tick(time.Hour)})
	d.act()
	return false
}

// close is the end of the driver: what was under way comes back late, and changes
// nothing.
func (d *drive) close() {
	d.ended = true
	for _, side := range []Side{Server, Client} {
		if d.wires[side].writing != nil {
			d.wires[side].writing = nil
			d.relay.Wrote(side, errClosed)
		}
		if d.relay.Take(side) != nil {
			d.fail("something is to be written behind the end")
		}
	}
	for _, a := range d.open {
		d.relay.Answer(a.question, nil, imsg.Gone, time.Second)
	}
	d.relay.Finish()
	d.relay.Abort("error")
	if !d.relay.Over() {
		d.fail("it is not over any more")
	}
	d.relay.Close()
}
