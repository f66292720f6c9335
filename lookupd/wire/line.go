// The text language (mode remote), a relative of RFC 1413: one question, one
// answer, then the connection ends.
//
//	49152 , 9199
//	49152 , 9199 : ORIGIN : 198.51.100.25 : 25 : alice
//	49152 , 9199 : ERROR : NO-USER
//
// The numbers are the client's and the proxy's port; the addresses are those of
// the connection that carries the question. Our extension: an IPv6 target stands
// in brackets, and its ident may be longer.

package wire

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
)

const (
	// MaxLine bounds a question or an answer in octets, with its line end.
	MaxLine = 160

	maxIdent4 = 20 // octets of an ident in an answer about IPv4
	maxIdent6 = 32
)

// AppendQuestion appends the question about the connection between two ports.
func AppendQuestion(b []byte, client, proxy uint16) []byte {
	return fmt.Appendf(b, "%d , %d\r\n", client, proxy)
}

// ParseQuestion is the inverse of AppendQuestion. Blanks and the line end may be
// other than that writes them. Errors: ErrQuestion.
func ParseQuestion(line []byte) (client, proxy uint16, err error) {
	left, right, ok := bytes.Cut(line, []byte{','})
	client, ok1 := number(left)
	proxy, ok2 := number(right)
	if !ok || !ok1 || !ok2 {
		return 0, 0, ErrQuestion
	}
	return client, proxy, nil
}

// AppendAnswer appends the answer a to the question about client and proxy.
func AppendAnswer(b []byte, client, proxy uint16, a Answer) []byte {
	address, limit := a.Target.Addr().Unmap().String(), maxIdent4
	if a.Target.Addr().Unmap().Is6() {
		address, limit = "["+address+"]", maxIdent6
	}
	return fmt.Appendf(b, "%d , %d : ORIGIN : %s : %d : %s\r\n", client, proxy, address, a.Target.Port(), clean([]byte(a.Ident), limit))
}

// AppendNotFound appends the answer to a question about a connection that is not known.
func AppendNotFound(b []byte, client, proxy uint16) []byte {
	return fmt.Appendf(b, "%d , %d : ERROR : NO-USER\r\n", client, proxy)
}

// ParseAnswer reads the answer to the question about client and proxy. The line
// may end in CRLF, LF or nothing. Errors: ErrMismatch, ErrNotFound, ErrMalformed.
func ParseAnswer(line []byte, client, proxy uint16) (Answer, error) {
	ports, rest, _ := bytes.Cut(line, []byte{':'})
	if c, p, err := ParseQuestion(ports); err != nil || c != client || p != proxy {
		return Answer{}, ErrMismatch
	}
	word, rest, _ := bytes.Cut(rest, []byte{':'})
	switch string(bytes.TrimSpace(word)) {
	case "ORIGIN":
	case "ERROR":
		return Answer{}, ErrNotFound
	default:
		return Answer{}, ErrMismatch
	}
	address, rest, limit := bytes.TrimSpace(rest), []byte(nil), maxIdent4
	if inner, ok := bytes.CutPrefix(address, []byte{'['}); ok {
		address, rest, _ = bytes.Cut(inner, []byte{']'})
		blank, after, ok := bytes.Cut(rest, []byte{':'})
		if !ok || len(bytes.TrimSpace(blank)) > 0 {
			return Answer{}, ErrMalformed
		}
		rest, limit = after, maxIdent6
	} else {
		address, rest, _ = bytes.Cut(address, []byte{':'})
	}
	ip, err := netip.ParseAddr(string(bytes.TrimSpace(address)))
	// Only what stands in brackets is IPv6, and only that.
	if err != nil || ip.Is6() != (limit == maxIdent6) {
		return Answer{}, ErrMalformed
	}
	digits, ident, _ := bytes.Cut(rest, []byte{':'})
	port, _ := number(digits)
	a := Answer{netip.AddrPortFrom(ip, port), clean(bytes.TrimSpace(ident), limit)}
	if !usable(a.Target) {
		return Answer{}, ErrMalformed
	}
	return a, nil
}

// number reads a port that blanks may surround.
func number(b []byte) (uint16, bool) {
	n, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 16)
	if err != nil || n == 0 {
		return 0, false
	}
	return uint16(n), true
}
