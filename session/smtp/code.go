// This file owns the codes of the gateway's own replies and how such a reply is
// written. It must never write a line a client could read as two.

package smtp

import (
	"strconv"
	"unicode/utf8"
)

// Code is a reply of our own: a reply code (RFC 5321, 4.2) and the enhanced
// status code (RFC 3463) that goes with it.
type Code uint8

const (
	CodeGreeting     Code = iota // 220, our own greeting before a takeover
	CodeBye                      // 221
	CodeOK                       // 250
	CodeTimeout                  // 421, also protocol errors of the MSA: the connection ends
	CodeShutdown                 // 421, the daemon or this part of it goes away
	CodeTakeover                 // 451, MAIL in a takeover
	CodeSpool                    // 451, the spool cannot be made or written
	CodeScanner                  // 451, the scanner failed
	CodeUnavailable              // 451, another room does not answer
	CodeLateLock                 // 451, locked while the message was on its way
	CodeLogin                    // 450, the login has too many sessions
	CodeSyntax                   // 500, a command line that cannot be read
	CodeArgument                 // 501, a command argument that cannot be read
	CodeUnsupported              // 502
	CodeSequence                 // 503, a command out of order
	CodeNoTLS                    // 454, STARTTLS is forbidden: one bound to use it queues, and does not bounce
	CodeAuthRequired             // 530
	CodeEncryption               // 538, AUTH without TLS (RFC 4954, 6)
	CodeRefused                  // 550, policy: virus, spam, regex, DNSBL, SPF
	CodeSize                     // 552, the message is too large
	CodeQuota                    // 552, a quota is used up
	CodeRejected                 // 554, the connection is refused
	CodeParameter                // 555, a parameter of a masked extension
)

var codes = [...]struct {
	number   int
	enhanced string
}{
	// RFC 2034, 4: no enhanced code in a greeting.
	CodeGreeting:     {220, ""},
	CodeBye:          {221, "2.0.0"},
	CodeOK:           {250, "2.0.0"},
	CodeTimeout:      {421, "4.4.2"},
	CodeShutdown:     {421, "4.3.2"},
	CodeTakeover:     {451, "4.3.2"},
	CodeSpool:        {451, "4.3.1"},
	CodeScanner:      {451, "4.3.0"},
	CodeUnavailable:  {451, "4.3.0"},
	CodeLateLock:     {451, "4.4.0"},
	CodeLogin:        {450, "4.7.1"},
	CodeSyntax:       {500, "5.5.2"},
	CodeArgument:     {501, "5.5.4"},
	CodeUnsupported:  {502, "5.5.2"},
	CodeSequence:     {503, "5.5.1"},
	CodeNoTLS:        {454, "4.7.0"},
	CodeAuthRequired: {530, "5.7.1"},
	CodeEncryption:   {538, "5.7.11"},
	CodeRefused:      {550, "5.7.1"},
	CodeSize:         {552, "5.3.4"},
	CodeQuota:        {552, "5.3.2"},
	CodeRejected:     {554, "5.5.0"},
	CodeParameter:    {555, "5.5.4"},
}

// Number returns the three-digit reply code.
func (c Code) Number() int { return codes[c].number }

// Refuses tells whether the reply says no: for now, or for good.
func (c Code) Refuses() bool { return c.Number() >= 400 }

// OwnReplyLimit bounds a reply line of ours, in octets with CRLF: RFC 5321, 4.5.3.1.5.
const OwnReplyLimit = 512

// AppendReply appends one reply line of ours to dst: code, enhanced code if
// wanted, name of the gateway, text, CRLF. The enhanced code is wanted if the
// MSA offered ENHANCEDSTATUSCODES, but not in a reply to HELO or EHLO (RFC
// 2034, 4). An empty name is left out. Control characters in name and text
// become "#". The line ends in " (id)" if there is an id; if it is over OwnReplyLimit
// the text is cut before that, between two characters.
func AppendReply(dst []byte, c Code, enhanced bool, name, text, id string) []byte {
	start := len(dst)
	dst = strconv.AppendInt(dst, int64(codes[c].number), 10)
	dst = append(dst, ' ')
	if enhanced && codes[c].enhanced != "" {
		dst = append(dst, codes[c].enhanced...)
		dst = append(dst, ' ')
	}
	if name != "" {
		dst = appendText(dst, name)
		dst = append(dst, ' ')
	}
	dst = appendText(dst, text)
	end := start + OwnReplyLimit - len("\r\n")
	if id != "" {
		end -= len(" ()") + len(id)
	}
	if len(dst) > end {
		for range utf8.UTFMax - 1 {
			if utf8.RuneStart(dst[end]) {
				break
			}
			end--
		}
		dst = dst[:end]
	}
	if id != "" {
		dst = append(append(append(dst, " ("...), id...), ')')
	}
	return append(dst, "\r\n"...)
}

// appendText keeps octets above 0x7f: message texts may be UTF-8.
func appendText(dst []byte, s string) []byte {
	for _, c := range []byte(s) {
		if isControl(c) {
			c = '#'
		}
		dst = append(dst, c)
	}
	return dst
}
