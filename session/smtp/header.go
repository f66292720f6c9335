package smtp

import "bytes"

// This file owns the look at a message's header in passing: the fields that a report
// about the message names it by. It keeps what it finds and changes nothing.

// Fields are those that are looked for.
type Fields uint8

// The fields. Their order is that of fieldNames.
const (
	FieldMessageID Fields = 1 << iota
	FieldSubject
)

var fieldNames = [...]string{0: "message-id:", 1: "subject:"}

// FieldLimit is how much of a field is kept, in octets.
const FieldLimit = 998

// Header looks for the first of each of some fields in the text of a message that is
// shown to it piece by piece, as it stands on the wire (RFC 5322, 2.2). The zero Header
// looks for none.
type Header struct {
	Want Fields

	found [len(fieldNames)][]byte
	line  []byte // the start of a line that was shown in part
	field int    // whose value goes on, and one; 0: nobody's

	ended bool // the header is over
}

// longestName is how much of a line tells whether its field is wanted.
const longestName = len("message-id:")

// Show shows the next piece.
func (h *Header) Show(b []byte) {
	for len(b) > 0 && !h.ended && h.Want != 0 {
		end := bytes.IndexByte(b, '\n')
		piece := b
		if end >= 0 {
			piece = b[:end]
		}
		h.add(piece)
		if end < 0 {
			return
		}
		h.endLine()
		b = b[end+1:]
	}
}

// add takes octets of a line.
func (h *Header) add(b []byte) {
	if h.field > 0 && len(h.line) == 0 && len(b) > 0 {
		if b[0] != ' ' && b[0] != '\t' {
			h.field = 0 // another field begins
		}
	}
	if n := longestName - len(h.line); n > 0 { // as much as tells the field
		n = min(n, len(b))
		h.line = append(h.line, b[:n]...)
		if h.field > 0 {
			h.keep(b[:n])
		}
		b = b[n:]
		if h.field == 0 && len(h.line) == longestName {
			b = h.begin(b)
		}
	}
	if h.field > 0 {
		h.keep(b)
	}
}

// begin tells whose value a line begins, and keeps what of it is in the line's start.
func (h *Header) begin(rest []byte) []byte {
	for i, name := range fieldNames {
		if h.Want&(1<<i) != 0 && h.found[i] == nil && len(h.line) >= len(name) && bytes.EqualFold(h.line[:len(name)], []byte(name)) {
			h.field = i + 1
			h.found[i] = make([]byte, 0, 64)
			h.keep(h.line[len(name):])
			break
		}
	}
	return rest
}

func (h *Header) keep(b []byte) {
	v := &h.found[h.field-1]
	*v = append(*v, b[:min(len(b), FieldLimit-len(*v))]...)
}

// endLine is the end of a line; an empty one ends the header.
func (h *Header) endLine() {
	if h.field == 0 && len(h.line) < longestName {
		h.begin(nil) // a short one
	}
	if len(bytes.TrimRight(h.line, "\r")) == 0 {
		h.ended = true
	}
	h.line = h.line[:0]
}

// Value returns a field as far as it was shown, unfolded (RFC 5322, 2.2.3), without the
// blanks around it; nil if it was not.
func (h *Header) Value(f Fields) []byte {
	for i := range fieldNames {
		if f == 1<<i && h.found[i] != nil {
			v := bytes.ReplaceAll(h.found[i], []byte{'\r'}, nil)
			return bytes.Trim(v, " \t")
		}
	}
	return nil
}
