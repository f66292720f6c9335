package relay

import (
	"bytes"
	"errors"
	"time"
)

// This file owns how the driver reads and writes: what was read is shown to the relay as
// session's driver does, and each side has one write at a time.

var errClosed = errors.New("closed")

// Unread tells whether octets have come that the relay was not shown.
func (d *drive) Unread(side Side) bool {
	w := &d.wires[side]
	return len(w.kernel) > 0 || w.shown < len(w.buffer)
}

// clientSends has octets of the client come.
func (d *drive) clientSends() int {
	b := d.client.send(d.portion(len(d.client.pending)))
	d.note(clientSaid, b)
	w := &d.wires[Client]
	w.kernel = append(w.kernel, b...)
	w.come += len(b)
	return len(b)
}

// serverSends has octets of the server come, unless nobody is there to hear them.
func (d *drive) serverSends() int {
	w, m := &d.wires[Server], d.server
	n := d.portion(len(m.out))
	if w.fate != Closed && !w.gone {
		w.kernel = append(w.kernel, m.out[:n]...)
		w.come += n
	}
	m.out = m.out[n:]
	return n
}

// portion draws how much comes of what may: all, a little, anything.
func (d *drive) portion(n int) int {
	if n <= 1 {
		return n
	}
	switch d.order.IntN(5) {
	case 0:
		return 1 + d.order.IntN(min(n, 4))
	case 1:
		return 1 + d.order.IntN(n)
	}
	return n
}

// fill is the end of a read.
func (d *drive) fill(side Side) {
	w := &d.wires[side]
	w.armed = false
	if w.fate == Closed || len(w.kernel) == 0 || w.reset {
		clean := w.fate != Closed && !w.reset
		if side == Client {
			d.relay.ClientEnded(clean)
		} else {
			w.gone = true
			d.relay.ServerEnded()
		}
		return
	}
	most := MaxInput
	if side == Client && d.relay.ReadsText() {
		most = MaxText
	}
	n := d.portion(min(len(w.kernel), most-len(w.buffer)))
	if n == 0 {
		d.fail("side %d: the relay wants more than it may be shown", side)
	}
	w.buffer = append(w.buffer, w.kernel[:n]...)
	w.kernel = w.kernel[n:]
	d.read(side)
}

// read shows the relay what has come, until it needs more or wants no more.
func (d *drive) read(side Side) {
	w := &d.wires[side]
	for !d.relay.Over() {
		if side == Server && d.relay.Fate(Server) >= Last {
			w.gone = true
			return
		}
		if d.relay.Direct(side) || !d.reads(side) {
			return
		}
		if len(w.buffer) == 0 {
			break
		}
		if w.shown = len(w.buffer); d.show(side) == 0 && d.reads(side) {
			break
		}
		d.check()
		if d.lazy && d.order.IntN(3) == 0 {
			return
		}
		if !d.lazy {
			d.take(Client)
			d.take(Server)
		}
	}
	w.armed = !d.relay.Over() && !d.relay.Direct(side)
}

func (d *drive) reads(side Side) bool {
	if side == Client {
		return d.relay.ReadsClient()
	}
	return d.relay.ReadsServer()
}

// show shows the relay what was read, and drops what it used.
func (d *drive) show(side Side) (n int) {
	w := &d.wires[side]
	if side == Client {
		n = d.relay.FromClient(w.buffer)
	} else {
		n = d.relay.FromServer(w.buffer)
	}
	if n < 0 || n > len(w.buffer) {
		d.fail("side %d: %d of %d octets used", side, n, len(w.buffer))
	}
	w.shown -= n
	if side == Client && d.relay.Lends() {
		d.lent = w.buffer[:n:n]
	} else {
		spoil(w.buffer[:n])
	}
	w.buffer = w.buffer[n:]
	return n
}

// takeBack spoils what was lent to the relay, once it must be written. Nothing is read of
// the client before.
func (d *drive) takeBack() {
	if !d.relay.Lends() {
		spoil(d.lent)
		d.lent = nil
	} else if d.relay.ReadsClient() {
		d.fail("what was lent to the relay would be read over")
	}
}

// spoil overwrites what the relay may not look at any more.
func spoil(b []byte) {
	for i := range b {
		b[i] = '#'
	}
}

// take takes what is to be written.
func (d *drive) take(side Side) {
	w := &d.wires[side]
	b := d.relay.Take(side)
	switch {
	case b == nil:
		return
	case w.writing != nil:
		d.fail("side %d: more was taken while something is being written", side)
	case w.fate == Mute || w.fate == Closed:
		d.fail("side %d is cut, and is written to: %q", side, b)
	case len(b) == 0: // a message has begun, and what it begins with is not known
		d.relay.Wrote(side, nil)
		return
	}
	w.writing, w.part = b, 0
}

// hear has a side take what was written to it, or some of it. A side that was cut
// takes nothing more.
func (d *drive) hear(side Side) (n int) {
	w := &d.wires[side]
	if fate := d.relay.Fate(side); fate == Mute || fate == Closed {
		d.wrote(side, errClosed)
		return -1
	}
	rest := w.writing[w.part:]
	if len(rest) == 0 {
		d.wrote(side, nil)
		return 0
	}
	n = d.portion(len(rest))
	w.part += n
	part := bytes.Clone(rest[:n])
	d.note([...]who{Client: clientHeard, Server: serverHeard}[side], part)
	if side == Client {
		d.client.hear(part)
	} else {
		d.server.hear(part)
	}
	if w.part == len(w.writing) && (!d.lazy || d.order.IntN(3) > 0) { // else who has written learns of it later
		d.wrote(side, nil)
	}
	return n
}

// wrote tells the relay of the end of a write.
func (d *drive) wrote(side Side, err error) {
	if d.lent == nil {
		spoil(d.wires[side].writing)
	}
	d.wires[side].writing = nil
	d.relay.Wrote(side, err)
	d.takeBack()
}

// writeFails has a write fail that is under way.
func (d *drive) writeFails(side Side) {
	if d.wires[side].writing == nil {
		return
	}
	if side == Server { // whose connection is broken
		d.server.ended()
	}
	d.wrote(side, errClosed)
}

// moveDirect does the direct proxy's work once the relay has written what it had. True:
// the session has ended.
func (d *drive) moveDirect() bool {
	r, c := d.relay, &d.wires[Client]
	if r.Pending(Client) > 0 || r.Pending(Server) > 0 {
		return false
	}
	if !d.loose && !r.shared.out[Server].failed {
		d.client.checkDirect(bytes.Clone(d.server.passed), append(bytes.Clone(c.buffer), c.kernel...))
	}
	r.Touch()
	if d.order.IntN(2) == 0 {
		d.moved += d.order.IntN(3000)
		d.tick(time.Second)
		for len(d.open) > 0 {
			d.answerOne()
		}
		d.check()
		return r.Over()
	}
	r.Moved("client")
	if d.order.IntN(2) == 0 {
		r.Finish()
	}
	r.Abort("client")
	d.check()
	return true
}
