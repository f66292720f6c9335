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

// Body reads the text of one message, from behind the 354 to its end, which is
// CRLF "." CRLF and nothing else (RFC 5321, 4.1.1.4), or "." CRLF at the very
// start. It makes two texts of it: wire is what the MSA gets, spool what the
// scanners get. Unless Bare is PassBare, every line of both ends in CRLF, and an
// MSA that reads wire, by whatever rule, ends up with spool.
//
// One leading dot is removed on the way in, from a line that began after CRLF,
// and a line that then begins with a dot gets one on the way out (RFC 5321,
// 4.5.2). So no line of wire begins with a single dot, not even one whose sender
// wrote it so: some servers remove a dot only from two, some take ". " for the
// end. A line that began after a bare LF was a line to some senders, and no line
// to others: a dot is removed from two, for who writes LF and stuffs behind it
// (Python's smtplib does) never writes a single one. That one is content, and so
// are a lone dot that a bare LF ends and a dot that only a stripped NUL put first.
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
	afterLF                    // after a bare LF that became a line end
	bareStart                  // nothing written of this line, and a dot here is content
	inLine
	heldCR    // CR seen, not written
	heldDot   // lineStart, "." seen, not written
	heldDotCR // lineStart, "." CR seen, not written
	heldLFDot // afterLF, "." seen, not written
)

// Next consumes octets of in, appends what they become to wire and spool, and
// returns how many it consumed, with the grown slices. It stops early only at
// an event. The end itself is appended to neither: that takes a verdict. At most two
// octets are held back between calls, and neither slice grows by more than
// 2*len(in)+2.
func (b *Body) Next(in, wire, spool []byte) (n int, wire2, spool2 []byte, ev BodyEvent) {
	out := bodyWriter{wire: wire, spool: spool, noSpool: b.NoSpool}
	at := newMarks()
	for ev == BodyMore {
		stop := b.run(in, n, &at)
		out.both(in[n:stop])
		n = stop
		if n == len(in) {
			break
		}
		var used bool
		used, ev = b.step(in[n], &out)
		if used {
			n++
		}
	}
	return n, out.wire, out.spool, ev
}

// Span consumes the longest start of in that is the same in input, wire and
// spool, and returns its length: the caller may write in[:n] to both without a
// copy. The rest goes to Next. It is 0 when octets are held back.
func (b *Body) Span(in []byte) int {
	at := newMarks()
	return b.run(in, 0, &at)
}

// run moves the machine from in[p] over octets that stay as they are and
// returns where it stopped: at an octet for step, or at the end of in.
func (b *Body) run(in []byte, p int, at *marks) int {
	if b.state > inLine {
		return p
	}
	for p < len(in) {
		if in[p] == '.' && b.state != inLine {
			return p
		}
		at.advance(in, p)
		q := min(at.cr, at.lf, at.nul)
		if q > p {
			b.state = inLine
		}
		if q+1 >= len(in) || q != at.cr || in[q+1] != '\n' {
			return q
		}
		p = q + 2
		b.state = lineStart
	}
	return p
}

// step takes the machine over one octet that needs a decision. It returns false
// if c is to be looked at again in the new state.
func (b *Body) step(c byte, out *bodyWriter) (used bool, ev BodyEvent) {
	switch b.state {
	case heldCR:
		if c == 0 && b.Bare == PassBare && b.NUL == StripNUL {
			return true, BodyMore // what passes must not become a CRLF that was none
		}
		return b.afterCR(c, out)
	case heldDot:
		return b.afterDot(c, out)
	case heldDotCR:
		if c == '\n' {
			b.state = lineStart
			return true, BodyEnd
		}
		b.state = heldCR
		return false, BodyMore
	case heldLFDot:
		out.dot()
		b.state = inLine
		return c == '.', BodyMore
	}
	switch {
	case c == '\r':
		b.state = heldCR
	case c == '\n':
		return true, b.bareLF(out)
	case c == 0 && b.NUL == RejectNUL:
		return true, BodyNUL
	case c == 0 && b.state <= afterLF:
		b.state = bareStart
	case c == '.' && b.state == lineStart:
		b.state = heldDot
	case c == '.' && b.state == afterLF:
		b.state = heldLFDot
	case c == '.':
		out.dot()
		b.state = inLine
	}
	return true, BodyMore
}

// afterCR decides on a CR by the octet behind it.
func (b *Body) afterCR(c byte, out *bodyWriter) (used bool, ev BodyEvent) {
	if c == '\n' {
		out.text("\r\n")
		b.state = lineStart
		return true, BodyMore
	}
	b.state = inLine
	switch b.Bare {
	case RejectBare:
		return false, BodyBare
	case PassBare:
		out.text("\r")
	default:
		out.text(" ")
	}
	return false, BodyMore
}

// afterDot decides on a dot at the start of a line by the octet behind it. A
// dot that was stuffing is dropped; what it protected is stuffed anew if it
// needs to be.
func (b *Body) afterDot(c byte, out *bodyWriter) (used bool, ev BodyEvent) {
	switch {
	case c == '\r':
		b.state = heldDotCR
		return true, BodyMore
	case c == '\n' && b.Bare == NormalizeBare:
		out.dot()
		return true, b.bareLF(out)
	}
	b.state = bareStart
	return false, BodyMore
}

func (b *Body) bareLF(out *bodyWriter) BodyEvent {
	switch b.Bare {
	case RejectBare:
		return BodyBare
	case PassBare:
		out.text("\n")
		b.state = inLine
	default:
		out.text("\r\n")
		b.state = afterLF
	}
	return BodyMore
}

// bodyWriter appends to the two texts of a message.
type bodyWriter struct {
	wire, spool []byte
	noSpool     bool
}

func (w *bodyWriter) both(p []byte) {
	w.wire = append(w.wire, p...)
	if !w.noSpool {
		w.spool = append(w.spool, p...)
	}
}

func (w *bodyWriter) text(s string) {
	w.wire = append(w.wire, s...)
	if !w.noSpool {
		w.spool = append(w.spool, s...)
	}
}

// dot writes a dot that begins a line.
func (w *bodyWriter) dot() {
	w.wire = append(w.wire, '.')
	w.text(".")
}

// marks remembers the next CR, LF and NUL of an input. Looking each up again
// from every stop would take quadratic time on input made for it.
type marks struct{ cr, lf, nul int }

func newMarks() marks { return marks{-1, -1, -1} }

func (m *marks) advance(in []byte, p int) {
	if m.cr < p {
		m.cr = indexFrom(in, p, '\r')
	}
	if m.lf < p {
		m.lf = indexFrom(in, p, '\n')
	}
	if m.nul < p {
		m.nul = indexFrom(in, p, 0)
	}
}

// indexFrom returns where c stands in in[p:], counted from the start of in, or len(in).
func indexFrom(in []byte, p int, c byte) int {
	if i := bytes.IndexByte(in[p:], c); i >= 0 {
		return p + i
	}
	return len(in)
}
