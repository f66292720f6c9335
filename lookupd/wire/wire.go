// Package wire is the two languages in which a proxy asks the helper on a router
// what a connection was meant for before the router translated it: a line of text
// over TCP (line.go) and a datagram (datagram.go). Both ends use it; it does no
// I/O. Both languages exist since long before us and are kept to the octet; what
// they cannot say, IPv6, is an extension that only our own two ends speak.
package wire

import (
	"errors"
	"net/netip"
)

// Port is where helpers listen, on TCP and UDP, unless told otherwise.
const Port = 114

// Answer is what a helper knows of a connection.
type Answer struct {
	Target netip.AddrPort // the server the client called
	Ident  string         // who called, if the caller's address does not say it
}

// Errors of both languages.
var (
	// ErrNotFound says that the helper does not know the connection.
	ErrNotFound = errors.New("connection is not known")
	// ErrMismatch says that what came is no answer to what was asked.
	ErrMismatch = errors.New("answer does not fit the question")
	// ErrMalformed says that an answer names no server that could be called.
	ErrMalformed = errors.New("answer names no usable address")
	// ErrIgnore says that what came is not for us and must not end the wait.
	ErrIgnore = errors.New("datagram is not for us")
	// ErrQuestion says that what came is no question.
	ErrQuestion = errors.New("question makes no sense")
)

// usable tells whether a mail server can be called at a. IPv4 must not come in
// the clothes of IPv6: it would escape what is compared with addresses of ours.
func usable(a netip.AddrPort) bool {
	ip := a.Addr()
	return ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() && !ip.Is4In6() && ip.Zone() == "" && a.Port() != 0
}

// clean makes an ident of at most n octets that is safe in a header, a file's
// name and a log: octets that are not printable ASCII become '#'.
func clean(ident []byte, n int) string {
	out := make([]byte, min(len(ident), n))
	for i := range out {
		if out[i] = ident[i]; out[i] <= ' ' || out[i] >= 0x7f {
			out[i] = '#'
		}
	}
	return string(out)
}
