// This file owns the reading of the MSA's replies. It must never let through a
// line a client could read as two, or as another kind of reply.

package smtp

import (
	"bytes"
	"errors"
)

// ReplyLimit bounds one line of a reply, in octets with its line end. RFC 5321,
// 4.5.3.1.5 asks for 512; servers exceed it. A challenge may have AuthLimit.
const ReplyLimit = 4096

// What can be wrong with a reply. Each ends the session: 421 to the client.
var (
	ErrReplyTooLong = errors.New("reply line too long")
	ErrReplySyntax  = errors.New("not an SMTP reply")
	ErrReplyCode    = errors.New("lines of one reply carry different codes")
)

// Reply is one line of a reply (RFC 5321, 4.2). Its slices lie in the buffer it was read from.
type Reply struct {
	Code  int    // 200 to 599
	First bool   // the first line of a reply; set by ReplyScanner
	Last  bool   // the last line: no "-" behind the code
	Text  []byte // what follows the code and the octet behind it; may be empty
	Line  []byte // the whole line as the client is to see it, without CRLF
}

// ParseReply reads one line of a reply, given without its line end: three
// digits, then nothing, or a blank or "-" and text. Bare CR and NUL in the text
// become blanks, in place.
func ParseReply(line []byte) (Reply, error) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !isDigit(line[1]) || !isDigit(line[2]) {
		return Reply{}, ErrReplySyntax
	}
	r := Reply{
		Code: int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0'),
		Last: true,
		Line: line,
	}
	if len(line) == 3 {
		return r, nil
	}
	switch line[3] {
	case ' ':
	case '-':
		r.Last = false
	default:
		return Reply{}, ErrReplySyntax
	}
	r.Text = line[4:]
	for i, c := range r.Text {
		if c == '\r' || c == 0 {
			r.Text[i] = ' '
		}
	}
	return r, nil
}

// ReplyScanner cuts an MSA's octets into reply lines and sees to it that all
// lines of one reply carry one code. The zero value stands before a reply. It
// keeps no octets: the caller keeps what was not consumed, up to the limit.
type ReplyScanner struct {
	// Auth says that an AUTH is open: a line of 334 may have AuthLimit octets
	// (RFC 4954, 4). The caller's buffer must hold as much.
	Auth bool

	code int // of the reply under way, 0 between two
}

// Next reads one line, ended by CRLF or LF, at the start of buf, and returns it
// with the number of octets consumed: 0 if the line is not complete. After an
// error the stream cannot be read on.
func (s *ReplyScanner) Next(buf []byte) (r Reply, n int, err error) {
	lf := bytes.IndexByte(buf, '\n')
	limit := ReplyLimit
	if s.Auth && bytes.HasPrefix(buf, []byte("334")) {
		limit = AuthLimit
	}
	if lf >= limit || lf < 0 && len(buf) >= limit {
		return Reply{}, 0, ErrReplyTooLong
	}
	if lf < 0 {
		return Reply{}, 0, nil
	}
	line, _ := bytes.CutSuffix(buf[:lf], []byte{'\r'})
	r, err = ParseReply(line)
	if err != nil {
		return Reply{}, 0, err
	}
	if r.Code == 421 && s.code != 421 {
		s.code = 0 // RFC 5321, 3.8: it may come at any time
	}
	if s.code != 0 && r.Code != s.code {
		return Reply{}, 0, ErrReplyCode
	}
	r.First = s.code == 0
	s.code = r.Code
	if r.Last {
		s.code = 0
	}
	return r, lf + 1, nil
}

// Open tells whether a multi-line reply is under way.
func (s *ReplyScanner) Open() bool { return s.code != 0 }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
