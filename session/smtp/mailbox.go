// This file owns the other reading of MAIL and RCPT arguments: that of servers
// which take an address as RFC 5322 has it in a header. It must never replace
// the one of Address: what is judged must pass in both.

package smtp

import "bytes"

// Mailbox returns the address that a lenient server may find in the argument of
// MAIL FROM: or RCPT TO:. Such servers skip comments, and blanks around dots and
// the @; they undo quoting, take what stands in angle brackets behind a phrase,
// and skip a source route, a group's name, and the dot at a domain's end. Postfix
// and Exim take <spam @x.example>, <spam@x.example(c)> and x<spam@x.example> all
// for spam@x.example.
func Mailbox(arg []byte) []byte {
	text, bare := unquote(arg)
	start, end := 0, len(text)
	special := func(i int, c byte) bool { return text[i] == c && bare[i] }
	blank := func(i int) bool { return isBlank(text[i]) && bare[i] }
	open := false
	for i := range text {
		switch {
		case special(i, '<') && (i == 0 || text[i-1] != '='): // AUTH=<> is a parameter
			start, open = i+1, true
		case special(i, '>') && open:
			end = i
		}
		if end == i {
			break
		}
	}
	box := make([]byte, 0, end-start)
	at, colon := -1, -1
	for i := start; i < end; i++ {
		switch {
		case blank(i) && !open && len(box) > 0 && !continues(box, text[i:end]):
			end = i
		case blank(i):
		default:
			switch {
			case special(i, '@'):
				at = len(box)
			case special(i, ':') && bytes.IndexByte(box, '[') < 0:
				colon = len(box)
			}
			box = append(box, text[i])
		}
	}
	if colon >= 0 && colon < at {
		box = bytes.TrimSuffix(box[colon+1:], []byte{';'})
	}
	if at >= 0 {
		box = bytes.TrimSuffix(box, []byte{'.'})
	}
	return box
}

// continues tells whether an address without brackets goes on behind a blank.
func continues(box, rest []byte) bool {
	rest = trimBlanksLeft(rest)
	last := box[len(box)-1]
	return last == '@' || last == '.' || len(rest) > 0 && (rest[0] == '@' || rest[0] == '.')
}

// unquote drops comments and quoting; bare tells of each octet that is left that
// it was not quoted. What is opened and never closed is ordinary text.
func unquote(arg []byte) (text []byte, bare []bool) {
	put := func(c byte, b bool) { text, bare = append(text, c), append(bare, b) }
	for i := 0; i < len(arg); i++ {
		switch c := arg[i]; {
		case c == '\\' && i+1 < len(arg):
			i++
			put(arg[i], false)
		case c == '"' && quoted(arg[i:]) > 1:
			for end := i + quoted(arg[i:]) - 1; i+1 < end; {
				if i++; arg[i] == '\\' {
					i++
				}
				put(arg[i], false)
			}
			i++
		case c == '(' && comment(arg[i:]) > 1:
			i += comment(arg[i:]) - 1
		default:
			put(c, true)
		}
	}
	return text, bare
}

// comment returns the length of the comment b begins with, 1 if it is not closed.
func comment(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 1
}
