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
	literal := false // an address literal has begun: its colons are its own
	solid := 0       // where the blanks end that were looked at last
	for i := start; i < end; i++ {
		if blank(i) {
			if open || len(box) == 0 {
				continue
			}
			for solid = max(solid, i); solid < end && isBlank(text[solid]); {
				solid++
			}
			if !continues(box, text[solid:end]) {
				end = i
			}
			continue
		}
		switch {
		case special(i, '@'):
			at = len(box)
		case special(i, ':') && !literal:
			colon = len(box)
		case text[i] == '[':
			literal = true
		}
		box = append(box, text[i])
	}
	if colon >= 0 && colon < at {
		box = bytes.TrimSuffix(box[colon+1:], []byte{';'})
	}
	if at >= 0 {
		box = bytes.TrimSuffix(box, []byte{'.'})
	}
	return box
}

// continues tells whether an address without brackets goes on with rest, which
// stands behind blanks.
func continues(box, rest []byte) bool {
	last := box[len(box)-1]
	return last == '@' || last == '.' || len(rest) > 0 && (rest[0] == '@' || rest[0] == '.')
}

// unquote drops comments and quoting; bare tells of each octet that is left that
// it was not quoted. What is opened and never closed is ordinary text.
func unquote(arg []byte) (text []byte, bare []bool) {
	ends := comments(arg)
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
		case c == '(' && ends[i] > 0:
			i = ends[i]
		default:
			put(c, true)
		}
	}
	return text, bare
}

// comments returns, for each octet, where the comment is closed that begins
// there; 0 if none is. All are found at once: a line of nothing but openings must
// not cost its length for each of them.
func comments(arg []byte) []int {
	if bytes.IndexByte(arg, '(') < 0 {
		return nil
	}
	ends := make([]int, len(arg))
	var open []int
	for i := 0; i < len(arg); i++ {
		switch arg[i] {
		case '\\':
			i++
		case '(':
			open = append(open, i)
		case ')':
			if last := len(open) - 1; last >= 0 {
				ends[open[last]], open = i, open[:last]
			}
		}
	}
	return ends
}
