package relay

import "sync"

// This file owns what is to be written, and to whom nothing more is.

// Side is one of the two a relay stands between.
type Side uint8

// The sides.
const (
	Client Side = iota
	Server
)

// Fate is what is to become of a connection. It only ever gets worse.
type Fate uint8

// The fates.
const (
	Open   Fate = iota
	Half        // what is pending is written, then our half is closed; it is read to its end
	Mute        // not one octet more is written; it is read on
	Last        // what is pending is written, for LingerWait at most, then it is closed
	Closed      // at once
)

const (
	// maxUnheard is how much may wait for the client before nothing that would add to
	// it is read, in octets.
	maxUnheard = 4 << 10
	// room is what a batch of input becomes at most, in octets: twice its size (dots,
	// line ends), and lines of our own.
	room = 2*MaxInput + ownLines
	// ownLines is room for a few lines of our own among what is collected, in octets.
	ownLines = 4 << 10
)

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, room)
	return &b
}}

// output is what is to be written to one side: lent, collected behind that, or on its way.
type output struct {
	lent      []byte  // of what the relay was shown; nil: nothing
	lentTaken bool    // that is on its way
	collected *[]byte // nil: nothing
	writing   *[]byte // what was taken of the collected, and is not written yet
	failed    bool    // it can take no more
}

func (o *output) len() (n int) {
	n = len(o.lent)
	for _, b := range []*[]byte{o.collected, o.writing} {
		if b != nil {
			n += len(*b)
		}
	}
	return n
}

// buffer is where to collect; only what is appended to it is written.
func (o *output) buffer() *[]byte {
	if o.collected == nil {
		o.collected = buffers.Get().(*[]byte)
		*o.collected = (*o.collected)[:0]
	}
	return o.collected
}

func (o *output) drop() {
	if !o.lentTaken {
		o.lent = nil
	}
	if o.collected != nil {
		buffers.Put(o.collected)
		o.collected = nil
	}
}

// writes tells whether a side may be written to.
func (s *shared) writes(to Side) bool { return s.fate[to] == Open && !s.out[to].failed }

// write has lines of commands, or of replies of our own, written to a side, unless nothing
// more is written there.
func (s *shared) write(to Side, lines []byte) {
	if !s.writes(to) {
		return
	}
	s.append(to, lines)
	if to == Client {
		s.Trace.own(lines)
	} else {
		s.Trace.commands(toServer, lines)
	}
}

// writeOctets is write of what nobody is to read.
func (s *shared) writeOctets(to Side, b []byte) {
	if !s.writes(to) {
		return
	}
	s.append(to, b)
	if to == Client {
		s.Trace.octets(toClient, len(b))
	} else {
		s.Trace.octets(toServer, len(b))
	}
}

func (s *shared) append(to Side, b []byte) {
	o := s.out[to].buffer()
	*o = append(*o, b...)
}

// writeLine is write of a line without its CRLF, which a trace was shown.
func (s *shared) writeLine(to Side, line []byte) {
	if s.writes(to) {
		o := s.out[to].buffer()
		*o = append(append(*o, line...), '\r', '\n')
	}
}

// lends tells whether what was shown can be lent: nothing is to be written before it.
func (s *shared) lends() bool { return s.writes(Server) && s.pending(Server) == 0 }

// lend has text of the client's written to the server and, if it is spooled, to the spool,
// out of where it lies.
func (s *shared) lend(text []byte, spooled bool) {
	s.out[Server].lent = text
	s.Trace.octets(toServer, len(text))
	if spooled {
		s.jobs.list = append(s.jobs.list, Job{Do: Write, Text: text})
	}
}

// Lends tells whether what FromClient has used up is to be written still: until it is, it
// must stay as it is.
func (r *Relay) Lends() bool { return r.shared.out[Server].lent != nil || r.shared.jobs.lent() }

// pending is how many octets are to be written to a side still.
func (s *shared) pending(to Side) int { return s.out[to].len() }

// setFate says what is to become of a connection.
func (s *shared) setFate(side Side, f Fate) {
	if f == Last && s.pending(side) == 0 {
		f = Closed
	}
	if f <= s.fate[side] {
		return
	}
	s.fate[side] = f
	if f == Mute || f == Closed {
		s.out[side].drop()
	}
}

// Take returns what is to be written to a side, nil if there is nothing, or if what was
// taken before is not written yet. It stays valid until Wrote.
func (r *Relay) Take(side Side) []byte {
	o := &r.shared.out[side]
	if o.writing != nil || o.lentTaken {
		return nil
	}
	if o.lent != nil {
		o.lentTaken = true
		return o.lent
	}
	if o.collected == nil {
		return nil
	}
	if len(*o.collected) == 0 {
		o.drop()
		return nil
	}
	o.writing, o.collected = o.collected, nil
	return *o.writing
}

// Wrote says that what Take returned was written, or that it could not be. A server
// that takes no more is no end yet: it may have said why. A client that does is one.
func (r *Relay) Wrote(side Side, err error) {
	o := &r.shared.out[side]
	if o.lentTaken {
		o.lent, o.lentTaken = nil, false
	} else {
		buffers.Put(o.writing)
		o.writing = nil
	}
	if err != nil {
		o.failed = true
		o.drop()
		if side == Client {
			r.shared.end("client")
		}
	}
	if r.shared.fate[side] == Last && o.len() == 0 {
		r.shared.fate[side] = Closed
	}
	r.client.run(nil)
}
