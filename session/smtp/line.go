// This file owns the cutting of a client's command stream into lines. It must
// never look past the line it returns: what follows may be message.

package smtp

import "bytes"

// Limits on a line of a client, in octets with its CRLF.
const (
	CommandLimit = 2048  // above RFC 5321, 4.5.3.1.4 (512), to leave room for parameters
	AuthLimit    = 12288 // AUTH and its responses: RFC 4954, 4
)

// BareNewline says what to do with a CR or LF that is not part of a CRLF
// (RFC 5321, 2.3.8 forbids both). The zero value is NormalizeBare.
type BareNewline uint8

const (
	NormalizeBare BareNewline = iota // command: LF ends the line, CR is refused; message: LF becomes CRLF, CR a blank
	RejectBare                       // LineBare, BodyBare: 554 and close
	PassBare                         // command: as NormalizeBare; message: both pass unchanged. Unsafe: the MSA may see another end of message
)

// LineStatus is what LineScanner.Next found.
type LineStatus uint8

const (
	LineMore    LineStatus = iota // no line end yet: read more
	LineOK                        // a line
	LineTooLong                   // a line over the limit has ended, swallowed: 500
	LineControl                   // a line with a control character other than tab, NUL and bare CR among them: 500
	LineBare                      // RejectBare only: a line with a bare CR, or ended by a bare LF: 554, close
)

// LineScanner cuts a client's command stream, and its AUTH responses, into
// lines. It keeps no octets: the caller keeps what was not consumed and calls
// again with more behind it. The zero value is ready to use.
type LineScanner struct {
	Bare BareNewline

	// Limit bounds the next line, in octets with CRLF; 0 means CommandLimit,
	// or AuthLimit for a line that begins with AUTH. Set it to AuthLimit while
	// a 334 is open, and back to 0 after it. The caller's buffer must hold as much.
	Limit int

	skipping bool // inside a line over the limit
	cr       bool // the last octet skipped was CR
}

// Next looks for one line at the start of buf and returns it without its line
// end, the number of octets consumed, and what it found. The line lies in buf;
// LineControl and LineBare come with it too, for the log; a line over the limit is nil.
// With LineMore n is 0, or all of buf while an overlong line is swallowed.
func (s *LineScanner) Next(buf []byte) (line []byte, n int, st LineStatus) {
	lf := bytes.IndexByte(buf, '\n')
	if s.skipping {
		return s.skip(buf, lf)
	}
	limit := s.limit(buf)
	if lf < 0 {
		if len(buf) < limit {
			return nil, 0, LineMore
		}
		s.skipping = true
		return s.skip(buf, lf)
	}
	line, n = buf[:lf], lf+1
	line, crlf := bytes.CutSuffix(line, []byte{'\r'})
	switch {
	case len(line)+len("\r\n") > limit:
		return nil, n, s.tooLong(crlf)
	case !crlf && s.Bare == RejectBare:
		return line, n, LineBare
	}
	st = LineOK
	for _, c := range line {
		switch {
		case c == '\r' && s.Bare == RejectBare:
			return line, n, LineBare
		case isControl(c) && c != '\t':
			st = LineControl
		}
	}
	return line, n, st
}

// skip swallows a line over the limit up to its LF, which is at lf, or -1.
func (s *LineScanner) skip(buf []byte, lf int) ([]byte, int, LineStatus) {
	if lf < 0 {
		if len(buf) > 0 {
			s.cr = buf[len(buf)-1] == '\r'
		}
		return nil, len(buf), LineMore
	}
	if lf > 0 {
		s.cr = buf[lf-1] == '\r'
	}
	s.skipping = false
	return nil, lf + 1, s.tooLong(s.cr)
}

func (s *LineScanner) tooLong(crlf bool) LineStatus {
	if !crlf && s.Bare == RejectBare {
		return LineBare
	}
	return LineTooLong
}

// limit returns the limit of the line buf begins with. It looks at the first
// CommandLimit octets only, so that it answers the same for every cutting.
func (s *LineScanner) limit(buf []byte) int {
	if s.Limit > 0 {
		return s.Limit
	}
	head := trimBlanksLeft(buf[:min(len(buf), CommandLimit)])
	const auth = "AUTH"
	if len(head) > len(auth) && isBlank(head[len(auth)]) && equalFold(head[:len(auth)], auth) {
		return AuthLimit
	}
	return CommandLimit
}
