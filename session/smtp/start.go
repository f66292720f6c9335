// This file owns the question how a message begins: with a header field, or with
// text that would become a part of a header put before it. It must never answer
// one way for one cutting of the octets and the other way for another.

package smtp

import "bytes"

// Start is how a message begins.
type Start uint8

const (
	StartUnknown Start = iota // more octets are needed
	StartField                // a header field, an empty line or nothing: a header of ours may stand before it
	StartText                 // text: an empty line has to part it from a header of ours (RFC 5322, 2.1)
)

// StartLimit is how many octets of a message are looked at. A line has no more
// (RFC 5322, 2.1.1), so that a name without a colon in them is none.
const StartLimit = 998

// Start tells how the message begins whose first octets are in, before Next has
// had any of it. It consumes nothing, and uses what scratch has room for.
func (b Body) Start(in, scratch []byte) Start {
	b.NoSpool = true
	_, text, _, ev := b.Next(in[:min(len(in), StartLimit)], scratch[:0], nil)
	// The dot that stuffs a line is no part of it.
	s := start(bytes.TrimPrefix(text, []byte{'.'}))
	switch {
	case s != StartUnknown:
		return s
	case ev != BodyMore: // the end, or the end of the session
		return StartField
	case len(in) >= StartLimit:
		return StartText
	}
	return StartUnknown
}

// ChunkStart tells the same of a message whose first chunk that is not empty
// begins with in; whole if that is all of it. That chunk decides alone, for what
// stands before it has to be sent before the next one comes.
func ChunkStart(in []byte, whole bool) Start {
	s := start(in[:min(len(in), StartLimit)])
	if s == StartUnknown && (whole || len(in) >= StartLimit) {
		return StartText
	}
	return s
}

// start looks for the name of a field (RFC 5322, 2.2), blanks, which the obsolete
// syntax allows (4.5), and a colon.
func start(text []byte) Start {
	if bytes.HasPrefix(text, []byte("\r\n")) {
		return StartField
	}
	if len(text) == 1 && text[0] == '\r' {
		return StartUnknown
	}
	name := 0
	for name < len(text) && text[name] > ' ' && text[name] < 0x7f && text[name] != ':' {
		name++
	}
	end := name
	for name > 0 && end < len(text) && isBlank(text[end]) {
		end++
	}
	switch {
	case end == len(text):
		return StartUnknown
	case name > 0 && text[end] == ':':
		return StartField
	}
	return StartText
}
