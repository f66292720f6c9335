// The datagram language (mode remote-udp). All numbers are big-endian:
//
//	octet  0  magic u32 "RPHD"
//	       4  cookie u32, random, chosen by the proxy
//	       8  secret u32, known to both ends
//	      12  version u16
//	      14  flags u16
//	      16  source and destination address, 4 octets each (version 0x0402) or 16 (0x0601)
//	      24  source and destination port, u16 each         (48)
//	      28  ident, 32 octets, padded with NUL             (52)
//	      60  6 octets without use                          (84)
//	      66  end                                           (90)
//
// In a question the addresses are the client and the proxy as the proxy sees
// them; in an answer the destination is the server the client called.

package wire

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
)

// MaxDatagram is more than the longest datagram, so that one that is too long shows.
const MaxDatagram = 96

const (
	magic       = 0x52504844
	version4    = 0x0402
	version6    = 0x0601 // our extension
	headerLen   = 16
	identLen    = 32
	unusedLen   = 6
	datagram4   = headerLen + 2*4 + 2*2 + identLen + unusedLen
	datagram6   = headerLen + 2*16 + 2*2 + identLen + unusedLen
	flagQuery   = 0x01
	flagReply   = 0x02
	flagFound   = 0x10
	flagUnknown = 0x20
)

// Query is a question by datagram. Client and Proxy are of one family.
type Query struct {
	Cookie, Secret uint32
	Client, Proxy  netip.AddrPort
}

// Append appends the question.
func (q Query) Append(b []byte) []byte {
	return q.append(b, flagQuery, q.Client, q.Proxy, "")
}

// AppendFound appends the answer a, which is of the question's family.
func (q Query) AppendFound(b []byte, a Answer) []byte {
	return q.append(b, flagReply|flagFound, q.Client, a.Target, clean([]byte(a.Ident), identLen))
}

// AppendNotFound appends the answer for a connection that is not known.
func (q Query) AppendNotFound(b []byte) []byte {
	return q.append(b, flagReply|flagUnknown, q.Client, q.Proxy, "")
}

func (q Query) append(b []byte, flags uint16, src, dst netip.AddrPort, ident string) []byte {
	b = binary.BigEndian.AppendUint32(b, magic)
	b = binary.BigEndian.AppendUint32(b, q.Cookie)
	b = binary.BigEndian.AppendUint32(b, q.Secret)
	b = binary.BigEndian.AppendUint16(b, q.version())
	b = binary.BigEndian.AppendUint16(b, flags)
	b = append(b, src.Addr().Unmap().AsSlice()...)
	b = append(b, dst.Addr().Unmap().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = append(b, ident...)
	return append(b, make([]byte, identLen-len(ident)+unusedLen)...)
}

func (q Query) version() uint16 {
	if q.Client.Addr().Unmap().Is6() {
		return version6
	}
	return version4
}

// ParseQuery reads a question and, in constant time, holds its secret against
// secret. Errors: ErrIgnore for what is no question or of somebody who does not
// know the secret; it deserves no answer.
func ParseQuery(d []byte, secret uint32) (Query, error) {
	h, ok := parseHeader(d)
	if !ok || !h.knows(secret) || h.flags&(flagQuery|flagReply) != flagQuery || len(d) != h.size() {
		return Query{}, ErrIgnore
	}
	src, dst, _ := body(d)
	if !usable(src) || !usable(dst) {
		return Query{}, ErrIgnore
	}
	return Query{Cookie: h.cookie, Secret: secret, Client: src, Proxy: dst}, nil
}

// ParseReply reads the answer to q. Errors: ErrIgnore for what is not an answer to
// q at all, ErrMismatch, ErrNotFound, ErrMalformed.
func (q Query) ParseReply(d []byte) (Answer, error) {
	h, ok := parseHeader(d)
	if !ok || h.cookie != q.Cookie || !h.knows(q.Secret) {
		return Answer{}, ErrIgnore
	}
	switch {
	case h.version != q.version() || h.flags&flagReply == 0 || len(d) != h.size():
		return Answer{}, ErrMismatch
	case h.flags&flagFound == 0:
		return Answer{}, ErrNotFound
	}
	_, dst, ident := body(d)
	if !usable(dst) {
		return Answer{}, ErrMalformed
	}
	ident, _, _ = bytes.Cut(ident, []byte{0})
	return Answer{dst, clean(ident, identLen)}, nil
}

type header struct {
	cookie         uint32
	secret         [4]byte
	version, flags uint16
}

func parseHeader(d []byte) (h header, ok bool) {
	if len(d) < headerLen || binary.BigEndian.Uint32(d) != magic {
		return h, false
	}
	h.cookie = binary.BigEndian.Uint32(d[4:])
	h.secret = [4]byte(d[8:])
	h.version = binary.BigEndian.Uint16(d[12:])
	h.flags = binary.BigEndian.Uint16(d[14:])
	return h, true
}

// knows compares in constant time: an answer's delay shall not tell how much of a
// guess was right.
func (h header) knows(secret uint32) bool {
	return subtle.ConstantTimeCompare(h.secret[:], binary.BigEndian.AppendUint32(nil, secret)) == 1
}

// size is how long a datagram of this version is, 0 for one we do not know.
func (h header) size() int {
	switch h.version {
	case version4:
		return datagram4
	case version6:
		return datagram6
	}
	return 0
}

// body reads what follows the header of a datagram of the right size.
func body(d []byte) (src, dst netip.AddrPort, ident []byte) {
	n := 4
	if len(d) == datagram6 {
		n = 16
	}
	b := d[headerLen:]
	a1, _ := netip.AddrFromSlice(b[:n])
	a2, _ := netip.AddrFromSlice(b[n : 2*n])
	b = b[2*n:]
	return netip.AddrPortFrom(a1, binary.BigEndian.Uint16(b)), netip.AddrPortFrom(a2, binary.BigEndian.Uint16(b[2:])), b[4 : 4+identLen]
}
