// This file owns the text of a message sent with DATA: where lines begin, what
// a leading dot means, where the message ends. It must never let out an octet
// that could be part of the end of the message before it is known not to be.

package smtp

import "bytes"

// NUL says what to do with NUL octets in a message. The zero value is StripNUL.
type NUL uint8

const (
	StripNUL  NUL = iota // dropped from spool and stream alike
	RejectNUL            // BodyNUL: the message is refused
)

// BodyEvent is why Body.Next returned.
type BodyEvent uint8

const (
	BodyMore BodyEvent = iota // all input consumed
	BodyEnd                   // the end of the message; what follows in the input are commands
	BodyBare                  // RejectBare only: a bare CR or LF
	BodyNUL                   // RejectNUL only: a NUL
)

// EndOfData is what the caller sends to the MSA once the verdict is known. It
// always follows a CRLF, or nothing.
const EndOfData = ".\r\n"

// Body reads the text of one message, from behind the 354 to its end, which is
// CRLF "." CRLF and nothing else (RFC 5321, 4.1.1.4), or "." CRLF at the very
// start. It makes two texts of it: wire is what the MSA gets, spool what the
// scanners get. Every line of both ends in CRLF, and an MSA that reads wire, by
// whatever rule, ends up with spool.
//
// One leading dot is removed on the way into the spool, from a line that began
// after CRLF; on the wire it stays (RFC 5321, 4.5.2). A line that began after a
// bare LF was no line to its sender, who stuffed nothing: its dot is content,
// so it stays in the spool and is stuffed on the wire. The same holds for a lone
// dot that a bare LF ends, and for a dot that only a stripped NUL put first.
//
// The zero value stands at the start of a message; each message takes a fresh one.
type Body struct {
	Bare    BareNewline
	NUL     NUL
	NoSpool bool // no spool is kept: append to wire only; may change between calls

	state bodyState
}

type bodyState uint8

const (
	lineStart bodyState = iota // after CRLF, or at the start of the message
	bareStart                  // nothing written of this line yet, but a dot here is content
	inLine
	heldCR     // CR seen, not written
	heldDot    // lineStart, "." seen, not written
	heldDotCR  // lineStart, "." CR seen, not written
)

// Next consumes octets of in, appends what they become to wire and spool, and
// returns how many it consumed, with the grown slices. It stops early only at
// an event. The end itself is appended to neither: see EndOfData. At most two
// octets are held back between calls, and neither slice grows by more than
// 2*len(in)+2.
func (b *Body) Next(in, wire, spool []byte) (n int, wire2, spool2 []byte, ev BodyEvent) {
	out := bodyWriter{wire: wire, spool: spool, noSpool: b.NoSpool}
	at := newMarks()
	p := 0
	for {
		q := b.run(in, p, &at)
		out.both(in[p:q])
		if p = q; p == len(in) {
			return p, out.wire, out.spool, BodyMore
		}
		used, ev := b.step(in[p], &out)
		if used {
			p++
		}
		if ev != BodyMore {
			return p, out.wire, out.spool, ev
		}
	}
}

// Span consumes the longest start of in that is the same in input, wire and
// spool, and returns its length: the caller may write in[:n] to both without a
// copy. The rest goes to Next. It is 0 when octets are held back.
func (b *Body) Span(in []byte) int {
	at := newMarks()
	return b.run(in, 0, &at)
}
