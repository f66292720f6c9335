// This file owns the ways a foreign string is made harmless for where it goes.
// It must never shorten one: cutting is the caller's choice.

package smtp

// AppendPrintable appends src to dst for a log line or an environment variable:
// control characters and octets above 0x7e become "#".
func AppendPrintable(dst, src []byte) []byte {
	for _, c := range src {
		if c < ' ' || c > '~' {
			c = '#'
		}
		dst = append(dst, c)
	}
	return dst
}

// AppendHeader appends src to dst as one word of a header line we write: what
// AppendPrintable changes, blanks, and the octets that delimit words in our
// headers or comments and strings in RFC 5322 become "#".
func AppendHeader(dst, src []byte) []byte {
	for _, c := range src {
		switch {
		case c <= ' ' || c > '~':
			c = '#'
		case c == '[' || c == ']' || c == '(' || c == ')' || c == '<' || c == '>' || c == ',' || c == ';' || c == '"':
			c = '#'
		}
		dst = append(dst, c)
	}
	return dst
}

// AppendXtext appends src to dst as xtext (RFC 3461, 4), for XCLIENT.
func AppendXtext(dst, src []byte) []byte {
	const hex = "0123456789ABCDEF"
	for _, c := range src {
		if c <= ' ' || c > '~' || c == '+' || c == '=' {
			dst = append(dst, '+', hex[c>>4], hex[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}
