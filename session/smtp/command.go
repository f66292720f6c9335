// This file owns the reading of one command line, and its writing anew. It
// must never judge order or syntax: that is the MSA's business.

package smtp

import (
	"errors"
	"slices"
)

// ErrControl says that a command holds a control character where none may be.
// The answer is 500, and the command is not forwarded.
var ErrControl = errors.New("control character in command")

// Command is one client command. Its slices lie in the line it was read from.
type Command struct {
	Verb Verb
	Line []byte // what goes to the MSA, without CRLF: verb as spelled, one blank, argument as spelled
	Arg  []byte // what follows the verb and its blanks; for MAIL FROM: and RCPT TO: what follows the colon, blanks kept
}

// ParseCommand reads one line a LineScanner returned. The line is rewritten in place.
//
// Blanks and tabs before the verb, between verb and argument, and at the end
// are no part of the command: some servers skip them and some do not, so what
// goes out has one blank behind the verb, and none elsewhere. Tabs behind the
// colon of MAIL FROM: or RCPT TO: become blanks. Any other control character
// is ErrControl. A known verb is known in any case, and without an argument
// too (RFC 5321, 2.4 and 4.1.1).
func ParseCommand(line []byte) (Command, error) {
	line = trimBlanks(line)
	end := 0
	for end < len(line) && !isBlank(line[end]) {
		end++
	}
	cmd := Command{Verb: lookupVerb(line[:end]), Line: line, Arg: trimBlanksLeft(line[end:])}
	if gap := len(line) - end - len(cmd.Arg); gap > 0 {
		// The verb moves up to its argument: it is the shorter of the two.
		copy(line[gap-1:], line[:end])
		line[gap-1+end] = ' '
		cmd.Line = line[gap-1:]
	}
	switch cmd.Verb {
	case MAIL:
		cmd.Arg = afterColon(cmd.Arg, "FROM")
	case RCPT:
		cmd.Arg = afterColon(cmd.Arg, "TO")
	}
	for i := 0; i < len(cmd.Arg) && isBlank(cmd.Arg[i]); i++ {
		cmd.Arg[i] = ' '
	}
	if slices.ContainsFunc(cmd.Line, isControl) {
		return Command{}, ErrControl
	}
	return cmd, nil
}

// afterColon returns what follows "word:" in arg, or arg if it does not begin
// so. A colon that is missing or stands behind blanks is forgiven: servers that
// do the same must not see an address we do not.
func afterColon(arg []byte, word string) []byte {
	if len(arg) < len(word) || !equalFold(arg[:len(word)], word) {
		return arg
	}
	rest := trimBlanksLeft(arg[len(word):])
	switch {
	case len(rest) > 0 && rest[0] == ':':
		return rest[1:]
	case len(arg) == len(word) || isBlank(arg[len(word)]) || rest[0] == '<':
		return rest
	}
	return arg
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func isControl(c byte) bool { return c < ' ' || c == 0x7f }

func trimBlanksLeft(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	return b
}

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return trimBlanksLeft(b)
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}

// equalFold compares b with an upper-case word. bytes.EqualFold would take
// U+017F for an S and U+212A for a K.
func equalFold(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if upper(c) != word[i] {
			return false
		}
	}
	return true
}
