package imsgtest

import "strings"

// ClientHello is what a client begins TLS with that asks for a server of this name: a
// message of RFC 8446, 4.1.2, in one record, with no more in it than there must be.
func ClientHello(server string) string {
	vector := func(width int, v string) string {
		return string([]byte{byte(len(v) >> 16), byte(len(v) >> 8), byte(len(v))}[3-width:]) + v
	}
	extension := "\x00\x00" + vector(2, vector(2, "\x00"+vector(2, server))) // RFC 6066, 3
	hello := "\x03\x03" + strings.Repeat("r", 32) + vector(1, "") + vector(2, "\x13\x01") + vector(1, "\x00") + vector(2, extension)
	return "\x16\x03\x01" + vector(2, "\x01"+vector(3, hello))
}
