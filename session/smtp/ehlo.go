// This file owns the writing anew of a reply to EHLO. It must never drop a line of
// the reply, only mask a keyword.

package smtp

import (
	"bytes"
	"strconv"
)

// Offer says how much of what an MSA offers in reply to EHLO the client gets to see.
type Offer struct {
	NoChunking bool  // chunking filter
	NoStartTLS bool  // it is not to be, or is done
	StartTLS   bool  // the gateway offers it, whether the server does or not
	NoAuth     bool  // a password would go in clear that the server asks for under TLS
	NoXClient  bool  // the gateway speaks XCLIENT itself
	NoBinding  bool  // client and server do not share one TLS
	SizeLimit  int64 // largest message the gateway takes, in octets; 0 = no limit
	Added      int64 // octets the gateway adds to each message, at most

	offered bool // STARTTLS, in the reply under way
}

// Append appends one line of a successful reply to EHLO (RFC 5321, 4.1.1.1) to
// dst as the client is to see it, with CRLF, and returns dst and what the line
// offered. The first line names the server and offers nothing. In a masked
// keyword the fourth letter is "*": the reply keeps its lines.
func (o *Offer) Append(dst []byte, r *Reply) ([]byte, Cap) {
	if !o.StartTLS {
		return o.append(dst, r)
	}
	if r.First {
		o.offered = false
	}
	o.offered = o.offered || OffersTLS(r)
	if r.Last && !r.First && !o.offered {
		dst = append(dst, "250-STARTTLS\r\n"...)
	}
	if r.First && r.Last {
		return append(append(append(dst, "250-"...), r.Text...), "\r\n250 STARTTLS\r\n"...), 0
	}
	return o.append(dst, r)
}

func (o *Offer) append(dst []byte, r *Reply) ([]byte, Cap) {
	at := len(dst) + len(r.Line) - len(r.Text)
	if !r.First && (o.NoBinding || o.NoAuth) && isAuth(r.Text) {
		dst = append(dst, r.Line[:len(r.Line)-len(r.Text)]...)
		if !o.NoAuth {
			return appendUnbound(dst, r.Text)
		}
		start := len(dst)
		dst = append(append(dst, trimBlanksLeft(r.Text)...), "\r\n"...)
		dst[start+3] = '*'
		return dst, 0
	}
	dst = append(dst, r.Line...)
	var noted Cap
	if x := findExtension(r.Text); x != nil && !r.First {
		noted = x.Cap
		switch {
		case o.masks(x.Treatment):
			at += len(r.Text) - len(trimBlanksLeft(r.Text))
			dst[at+3] = '*'
		case x.Treatment == Lower:
			if size := o.size(r.Text); size > 0 {
				dst = append(dst[:at], "SIZE "...)
				dst = strconv.AppendInt(dst, size, 10)
			}
		}
	}
	return append(dst, "\r\n"...), noted
}

// OffersTLS tells whether a line of a reply to EHLO offers STARTTLS (RFC 3207).
func OffersTLS(r *Reply) bool {
	x := findExtension(r.Text)
	return x != nil && !r.First && x.Treatment == MaskTLS
}

// isAuth tells whether the text of an EHLO line offers AUTH, in today's form or as before
// RFC 2554, with "=".
func isAuth(text []byte) bool {
	word, _ := nextWord(text)
	name, _, _ := bytes.Cut(word, []byte{'='})
	return equalFold(name, "AUTH")
}

// appendUnbound appends the text of an offer of AUTH without the mechanisms that are
// bound to a TLS that ends here, those in -PLUS (RFC 5802, 6): no client could use
// them. If nothing is left the keyword is masked. A client that knows of binding tells
// the server that it has not seen them; a server that offers them ends a log-in over
// that, and must be told to offer none.
func appendUnbound(dst, text []byte) ([]byte, Cap) {
	start := len(dst)
	text = trimBlanksLeft(text)
	const keyword = len("AUTH")
	dst, text = append(dst, text[:keyword]...), text[keyword:]
	offered := CapAuth
	separator := []byte{' '}
	if len(text) > 0 && text[0] == '=' {
		offered, separator, text = 0, []byte{'='}, text[1:]
	}
	left, dropped := len(dst), false
	for len(trimBlanksLeft(text)) > 0 {
		var word []byte
		if word, text = nextWord(text); isBound(word) {
			dropped = true
			continue
		}
		dst = append(append(dst, separator...), word...)
		separator = []byte{' '}
	}
	if dropped && len(dst) == left {
		dst[start+3], offered = '*', 0
	}
	return append(dst, "\r\n"...), offered
}

// isBound tells whether a mechanism is bound to the TLS it is used in.
func isBound(mechanism []byte) bool {
	const suffix = "-PLUS"
	n := len(mechanism) - len(suffix)
	return n > 0 && equalFold(mechanism[n:], suffix)
}

func (o *Offer) masks(t Treatment) bool {
	switch t {
	case Mask:
		return true
	case MaskChunked:
		return o.NoChunking
	case MaskTLS:
		return o.NoStartTLS
	case MaskXClient:
		return o.NoXClient
	}
	return false
}

// size returns the limit to declare in place of the one in a SIZE line, 0 if the
// line stays. The server counts what the gateway adds to a message, the client
// does not. Without a number, or with 0, no limit is declared (RFC 1870, 4).
func (o *Offer) size(text []byte) int64 {
	_, arg := nextWord(text)
	declared, _ := number(arg)
	size := declared
	if size > 0 {
		size = max(1, size-o.Added)
	}
	if o.SizeLimit > 0 && (size == 0 || size > o.SizeLimit) {
		size = o.SizeLimit
	}
	if size == declared {
		return 0
	}
	return size
}
