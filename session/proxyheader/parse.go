// Package proxyheader is the header of the PROXY protocol, by which a load balancer says
// for whom it calls (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt). It
// reads and writes octets and knows no connection; whom to believe is its caller's to say.
package proxyheader

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"

	proxyproto "github.com/pires/go-proxyproto"
)

// This file owns the reading of a header: where it ends, and what it must have beyond what
// the library looks at. It must never look behind its end: what follows is the client's.

const (
	v1Begin = "PROXY "
	v2Begin = "\r\n\r\n\x00\r\nQUIT\n"

	// v1Limit is how long a line of version 1 is at most, with its CRLF (2.1).
	v1Limit = 107
	// v2Fixed is what each header of version 2 begins with: signature, version and command,
	// family and protocol, and the length of what follows (2.2).
	v2Fixed = 16
	// v2Limit is how much may follow, in octets: addresses, and TLVs. The library reads no
	// more either.
	v2Limit = 4096

	// MaxHeader is how long a header is at most, in octets.
	MaxHeader = v2Fixed + v2Limit
)

// Header is what a header says.
type Header struct {
	// Check tells that the balancer calls for itself: LOCAL, or for nobody it could name,
	// UNKNOWN. There are no addresses then.
	Check       bool
	Source      netip.AddrPort // the client
	Destination netip.AddrPort // where the client has called
}

// ErrShort is that the octets are the start of a header, and more are needed.
var ErrShort = errors.New("a header that is cut off")

// What a header may not be. Whatever else is wrong the library says.
var (
	errNoHeader  = errors.New("no header of the PROXY protocol")
	errTooLong   = errors.New("a header that is too long")
	errTransport = errors.New("a header for something else than TCP")
	errChecksum  = errors.New("a header whose checksum is wrong")
	errTLV       = errors.New("a header whose TLVs are no such")
)

// Parse reads the header that in begins with, and returns how many octets it has. The error
// is ErrShort, or says what is wrong with it; it repeats none of its octets that are not
// printable.
func Parse(in []byte) (h Header, n int, err error) {
	switch {
	case bytes.HasPrefix(in, []byte(v2Begin)):
		n, err = lengthV2(in)
	case bytes.HasPrefix(in, []byte(v1Begin)):
		n, err = lengthV1(in)
	case bytes.HasPrefix([]byte(v1Begin), in), bytes.HasPrefix([]byte(v2Begin), in):
		err = ErrShort
	default:
		err = errNoHeader
	}
	if err == nil {
		h, err = parse(in[:n])
	}
	if err != nil {
		return Header{}, 0, err
	}
	return h, n, nil
}

// lengthV1 is up to the line's end.
func lengthV1(in []byte) (n int, err error) {
	line := in[:min(len(in), v1Limit)]
	switch n = bytes.IndexByte(line, '\n') + 1; {
	case n > 0:
		return n, nil
	case len(in) >= v1Limit:
		return 0, errTooLong
	}
	return 0, ErrShort
}

// lengthV2 is as its first octets have it, which are looked at as soon as they are there: who
// says nonsense is not waited for.
func lengthV2(in []byte) (n int, err error) {
	if len(in) > 12 && in[12] != byte(proxyproto.LOCAL) && in[12] != byte(proxyproto.PROXY) {
		return 0, proxyproto.ErrUnsupportedProtocolVersionAndCommand
	}
	if len(in) < v2Fixed {
		return 0, ErrShort
	}
	n = int(binary.BigEndian.Uint16(in[v2Fixed-2:]))
	if n > v2Limit {
		return 0, errTooLong
	}
	if n += v2Fixed; len(in) < n {
		return 0, ErrShort
	}
	return n, nil
}

// parse reads a header that is whole.
func parse(in []byte) (h Header, err error) {
	if len(in) > v2Fixed-3 && in[0] == v2Begin[0] && in[13] == byte(proxyproto.UNSPEC) {
		// What command it is says nothing more: the library takes LOCAL alone, the
		// specification leaves PROXY to us.
		return Header{Check: true}, checksum(in, in[v2Fixed:])
	}
	read, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(in)))
	if err != nil {
		return h, fmt.Errorf("a header that is wrong: %w", err)
	}
	if read.Command.IsLocal() {
		// All that follows is to be left aside (2.2), but for a checksum.
		err = checksum(in, tlvs(in))
		if errors.Is(err, errTLV) {
			err = nil
		}
		return Header{Check: true}, err
	}
	source, destination, ok := read.TCPAddrs()
	if !ok {
		return h, errTransport
	}
	h.Source, h.Destination = plain(source.AddrPort()), plain(destination.AddrPort())
	return h, checksum(in, tlvs(in))
}

// plain is an address as we write it: an IPv4 one in IPv6's form is IPv4.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// tlvs is what a header has behind its addresses.
func tlvs(in []byte) []byte {
	if in[0] != v2Begin[0] {
		return nil
	}
	size := 12
	switch in[13] >> 4 {
	case 2:
		size = 36
	case 3:
		size = 216
	}
	return in[min(len(in), v2Fixed+size):]
}

// checksum walks through the TLVs of a header, and holds its checksum, if there is one,
// against its octets (2.2.3).
func checksum(in, rest []byte) error {
	for seen := false; len(rest) > 0; {
		if len(rest) < 3 {
			return errTLV
		}
		kind, size := proxyproto.PP2Type(rest[0]), int(binary.BigEndian.Uint16(rest[1:]))
		if rest = rest[3:]; size > len(rest) {
			return errTLV
		}
		if kind == proxyproto.PP2_TYPE_CRC32C {
			if size != 4 || seen {
				return errChecksum
			}
			seen = true
			at := len(in) - len(rest)
			sum := crc32.Update(0, castagnoli(), in[:at])
			sum = crc32.Update(sum, castagnoli(), make([]byte, 4))
			sum = crc32.Update(sum, castagnoli(), in[at+4:])
			if sum != binary.BigEndian.Uint32(rest) {
				return errChecksum
			}
		}
		rest = rest[size:]
	}
	return nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }
