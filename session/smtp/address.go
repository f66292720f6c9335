// This file owns the reading of MAIL and RCPT arguments. It must never decide
// whether an address is good: it only says which octets are the address.

package smtp

import (
	"bytes"
	"math"
)

// Address splits the argument of MAIL FROM: or RCPT TO: into the address and
// the parameters behind it. Blanks, tabs and "<" before the address are
// skipped; it ends at ">", blank or tab, but not inside a quoted string
// (RFC 5321, 4.1.2: <"a b>"@example.org> is one address). A quote that is
// never closed is an ordinary character. Source routes are left in place. The
// null reverse-path has an empty address.
func Address(arg []byte) (addr, params []byte) {
	start := 0
	for start < len(arg) && (isBlank(arg[start]) || arg[start] == '<') {
		start++
	}
	end := start
	for end < len(arg) && !isBlank(arg[end]) && arg[end] != '>' {
		if arg[end] == '"' {
			end += quoted(arg[end:])
			continue
		}
		end++
	}
	params = arg[end:]
	for len(params) > 0 && params[0] == '>' {
		params = params[1:]
	}
	return arg[start:end], trimBlanks(params)
}

// quoted returns the length of the quoted string b begins with, 1 if it is not closed.
func quoted(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 1
}

// ParseSize finds the SIZE parameter of MAIL FROM (RFC 1870, 5), in octets. A
// number above the range of int64 counts as the largest one. It returns false
// if there is no such parameter, or none that is a number: the MSA judges that.
func ParseSize(params []byte) (int64, bool) {
	for len(params) > 0 {
		var word []byte
		word, params = nextWord(params)
		key, value, ok := bytes.Cut(word, []byte{'='})
		if ok && equalFold(key, "SIZE") {
			size, rest := number(value)
			return size, len(value) > 0 && len(rest) == 0
		}
	}
	return 0, false
}

// nextWord cuts the first word, which blanks or tabs end, off b.
func nextWord(b []byte) (word, rest []byte) {
	b = trimBlanksLeft(b)
	i := 0
	for i < len(b) && !isBlank(b[i]) {
		i++
	}
	return b[:i], trimBlanksLeft(b[i:])
}

// number reads the decimal digits b begins with and returns what follows them.
// Above the range of int64 it returns math.MaxInt64.
func number(b []byte) (n int64, rest []byte) {
	for len(b) > 0 && '0' <= b[0] && b[0] <= '9' {
		d := int64(b[0] - '0')
		if n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
		} else {
			n = n*10 + d
		}
		b = b[1:]
	}
	return n, b
}
