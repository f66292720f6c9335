// This file owns how a header of the PROXY protocol is known among commands. What one
// says package proxyheader reads.

package smtp

import "bytes"

// proxyV2 begins a header of version 2 (the PROXY protocol, 2.2): two empty lines, and then
// what no SMTP has.
const proxyV2 = "\r\n\r\n\x00"

// BeginsProxyV2 tells whether the first octets of a client are such a header's.
func BeginsProxyV2(in []byte) bool { return bytes.HasPrefix(in, []byte(proxyV2)) }

// SaysProxy tells whether a line is one of version 1, be it one that only a lenient
// server takes for such. It is no command: a server that waits for it
// believes it, if nothing came before it.
func SaysProxy(line []byte) bool {
	word, _ := nextWord(line)
	return equalFold(word, "PROXY")
}
